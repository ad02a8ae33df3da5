//! Copies of the ConfigMaps that a container server refers to. Their content is part of the
//! revision, so the pods of the revision must keep reading it after the user has changed the
//! original. Otherwise a stable pod that restarts would read what only the canary should have.

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;

use super::Surroundings;
use crate::api::{canonical, labels, names};
use crate::spec::revision_content;
use crate::spec::valid::ValidContainer;

/// Returns the container with every reference replaced by its copy, and the copies. A missing
/// ConfigMap, whose reference is optional, has a name but no copy.
pub(crate) fn own_copies(
    container: &ValidContainer,
    around: Surroundings<'_>,
) -> (ValidContainer, Vec<ConfigMap>) {
    let mut container = container.clone();
    let mut copies: Vec<ConfigMap> = Vec::new();
    let server = container.name.clone();
    let mut turn = |name: &mut String| {
        let original = around.config_maps.get(name.as_str()).and_then(Option::as_ref);
        let hash = canonical::hash8(
            &json!({"name": name, "content": original.map(revision_content::contents)}),
        );
        let copy = names::server(around.hub, &server, &hash);
        let known = copies.iter().any(|made| made.metadata.name.as_deref() == Some(&copy));
        if let (Some(original), false) = (original, known) {
            let labels = super::labels_of(around.hub, &server, &hash, around.version);
            copies.push(ConfigMap {
                metadata: labels::meta(copy.clone(), labels),
                immutable: Some(true),
                data: original.data.clone(),
                binary_data: original.binary_data.clone(),
            });
        }
        *name = copy;
    };
    for env in &mut container.env {
        if let Some(key) = env.value_from.as_mut().and_then(|from| from.config_map_key_ref.as_mut())
        {
            turn(&mut key.name);
        }
    }
    for map in container.env_from.iter_mut().filter_map(|source| source.config_map_ref.as_mut()) {
        turn(&mut map.name);
    }
    for volume in &mut container.volumes {
        if let Some(map) = &mut volume.config_map {
            turn(&mut map.name);
        }
        let sources = volume.projected.as_mut().and_then(|projected| projected.sources.as_mut());
        for map in sources.into_iter().flatten().filter_map(|source| source.config_map.as_mut()) {
            turn(&mut map.name);
        }
    }
    (container, copies)
}
