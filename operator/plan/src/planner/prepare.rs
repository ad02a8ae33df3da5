//! From a desired object to a write or a delete with its preconditions.

use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};

use crate::api::{Delete, Object, ObjectWrite, Prepared, drift, labels};
use crate::revisions::ATTEMPT;

/// Adds the hash, and preconditions where a write that is based on a stale cache would do harm.
pub(super) fn prepare(mut object: Object, there: Option<&Object>) -> ObjectWrite<Prepared> {
    keep_version(&mut object, there);
    stamp(&mut object);
    let Some(there) = there else {
        return match &object {
            // The cache may be stale. An apply would overwrite what a newer leader wrote.
            Object::ConfigMap(map) if map.immutable != Some(true) => ObjectWrite::create(object),
            Object::ControllerRevision(revision) if !was_attempted(revision) => {
                ObjectWrite::create(object)
            }
            _ => ObjectWrite::prepare(object),
        };
    };
    if let (Object::Deployment(ours), Object::Deployment(there)) = (&mut object, there)
        && replicas(there) > replicas(ours)
    {
        ours.metadata.uid.clone_from(&there.metadata.uid);
        ours.metadata.resource_version.clone_from(&there.metadata.resource_version);
    }
    ObjectWrite::prepare(object)
}

/// The version label says which release made the object. Otherwise every upgrade would write every
/// object of every hub. The objects of a revision have it from their record.
fn keep_version(object: &mut Object, there: Option<&Object>) {
    let made = there.and_then(|there| there.meta().labels.as_ref()?.get(labels::VERSION));
    let ours = object.meta_mut().labels.as_mut();
    let recorded = [labels::REVISION, labels::SERVER];
    let ours = ours.filter(|all| recorded.iter().all(|label| !all.contains_key(*label)));
    if let Some((ours, made)) = ours.and_then(|all| all.get_mut(labels::VERSION)).zip(made) {
        ours.clone_from(made);
    }
}

fn was_attempted(revision: &ControllerRevision) -> bool {
    revision.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(ATTEMPT))
}

/// The hash covers the desired object without its preconditions.
pub(super) fn stamp(object: &mut Object) {
    let meta = object.meta_mut();
    let (uid, version) = (meta.uid.take(), meta.resource_version.take());
    drift::stamp(object);
    let meta = object.meta_mut();
    meta.uid = uid;
    meta.resource_version = version;
}

fn replicas(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// `None` for an object that has never been on the API server.
pub(super) fn delete(object: &Object) -> Option<Delete> {
    let meta = object.meta();
    Some(Delete {
        object: object.object_name(),
        uid: meta.uid.clone()?,
        resource_version: meta.resource_version.clone()?,
    })
}

pub(super) fn with_replicas(deployment: &Deployment, replicas: u32) -> Deployment {
    let mut deployment = deployment.clone();
    if let Some(spec) = &mut deployment.spec {
        spec.replicas = Some(i32::try_from(replicas).unwrap_or(i32::MAX));
    }
    deployment
}
