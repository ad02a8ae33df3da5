//! The MCP servers of a spec.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use mcphub_crds::container::{Container, ContainerTransport, Strategy};
use mcphub_crds::servers::{Server, ToolRules};
use mcphub_crds::values;

use super::pods::{list, one};
use crate::spec::problem::{Problem, Reason};
use crate::spec::reserved::{BRIDGE_DIR, OWN_VOLUME_PREFIX};
use crate::spec::valid::{MAX_PROCESSES, Speaks, Upstream, ValidContainer, ValidServer};

pub(super) fn servers(
    servers: &[Server],
    config_maps: &BTreeMap<String, Option<ConfigMap>>,
) -> Result<Vec<ValidServer>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut valid = Vec::new();
    for (at, server) in servers.iter().enumerate() {
        let field = format!("servers[{at}] \"{}\"", server.name);
        patterns(&field, server.tools.as_ref(), &mut problems);
        let upstream = match (&server.remote, &server.container) {
            (Some(remote), None) => Some(Upstream::Remote(remote.clone())),
            (None, Some(container)) => {
                let container = valid_container(&field, server, container, &mut problems);
                missing_config_maps(&field, &container, config_maps, &mut problems);
                Some(Upstream::Container(Box::new(container)))
            }
            (Some(_), Some(_)) => {
                problems.push(Problem::invalid(format!(
                    "{field}: both remote and container are set; keep one"
                )));
                None
            }
            (None, None) => {
                problems.push(Problem::invalid(format!(
                    "{field}: neither remote nor container is set; set one"
                )));
                None
            }
        };
        valid.extend(upstream.map(|upstream| ValidServer { server: server.clone(), upstream }));
    }
    if problems.is_empty() { Ok(valid) } else { Err(problems) }
}

fn valid_container(
    field: &str,
    server: &Server,
    container: &Container,
    problems: &mut Vec<Problem>,
) -> ValidContainer {
    let Container {
        image,
        command,
        args,
        transport,
        port,
        path,
        env,
        env_from,
        volumes,
        volume_mounts,
        replicas: _,
        strategy,
        resources,
        max_execution_time,
        idle_timeout,
        sandbox,
        egress: _,
    } = container;
    let speaks = match transport.unwrap_or(ContainerTransport::Stdio) {
        ContainerTransport::Stdio => Speaks::Stdio {
            max_processes: server.max_processes.unwrap_or(MAX_PROCESSES),
            idle: idle_timeout.as_ref().map_or(Duration::from_mins(15), values::Duration::get),
        },
        ContainerTransport::Http => Speaks::Http {
            port: port.unwrap_or(mcphub_hub_wire::paths::BRIDGE_PORT),
            path: path.clone().unwrap_or_else(|| "/mcp".into()),
        },
    };
    let valid = ValidContainer {
        name: server.name.clone(),
        image: image.clone(),
        command: command.clone(),
        args: args.clone(),
        speaks,
        env: list(&format!("{field}.container.env"), env, problems),
        env_from: list(&format!("{field}.container.envFrom"), env_from, problems),
        volumes: list(&format!("{field}.container.volumes"), volumes, problems),
        mounts: list(&format!("{field}.container.volumeMounts"), volume_mounts, problems),
        strategy: strategy.unwrap_or(Strategy::RollingUpdate),
        resources: resources
            .as_ref()
            .and_then(|r| one(&format!("{field}.container.resources"), r, problems)),
        max_execution: max_execution_time
            .as_ref()
            .map_or(Duration::from_secs(30), values::Duration::get),
        sandbox: sandbox.clone().unwrap_or_default(),
    };
    volumes_are_the_users(field, &valid, problems);
    if strategy.is_none() {
        shared_volumes(field, &valid, problems);
    }
    valid
}

/// Reports volumes and mounts that collide with the operator's own ones in the pod.
fn volumes_are_the_users(field: &str, container: &ValidContainer, problems: &mut Vec<Problem>) {
    for volume in
        container.volumes.iter().filter(|volume| volume.name.starts_with(OWN_VOLUME_PREFIX))
    {
        let name = &volume.name;
        problems.push(Problem::invalid(format!(
            "{field}.container.volumes: \"{name}\" starts with \"{OWN_VOLUME_PREFIX}\", which is \
             reserved for the operator; rename it"
        )));
    }
    for mount in
        container.mounts.iter().filter(|mount| mount.mount_path.trim_end_matches('/') == BRIDGE_DIR)
    {
        let name = &mount.name;
        problems.push(Problem::invalid(format!(
            "{field}.container.volumeMounts: \"{name}\" is mounted at {BRIDGE_DIR}, where the \
             bridge is; choose another path"
        )));
    }
}

/// Reports a writable volume claim without a strategy. Two revisions of a server run side by side
/// unless the strategy is Recreate, and a ReadWriteOnce volume would keep the new pod waiting for
/// the old pod's node forever. The operator cannot read claims, so the user must say which it is.
fn shared_volumes(field: &str, container: &ValidContainer, problems: &mut Vec<Problem>) {
    let claims =
        container.volumes.iter().filter_map(|volume| volume.persistent_volume_claim.as_ref());
    for claim in claims.filter(|claim| claim.read_only != Some(true)) {
        let name = &claim.claim_name;
        problems.push(Problem::invalid(format!(
            "{field}.container.strategy is not set, but the server writes to the claim \"{name}\"; \
             write Recreate if the claim is ReadWriteOnce, RollingUpdate if it is ReadWriteMany"
        )));
    }
}

fn patterns(field: &str, rules: Option<&ToolRules>, problems: &mut Vec<Problem>) {
    let Some(rules) = rules else { return };
    let all = rules
        .allow
        .iter()
        .map(|pattern| ("allow", pattern))
        .chain(rules.deny.iter().map(|p| ("deny", p)));
    for (list, pattern) in
        all.filter(|(_, pattern)| pattern.contains(['^', '$', '(', '[', '{', '|', '\\', '+']))
    {
        problems.push(Problem::invalid(format!(
            "{field}.tools.{list}: \"{pattern}\" looks like a regular expression; patterns support \
             only * and ?"
        )));
    }
}

/// Reports required ConfigMaps that do not exist or lack a key.
fn missing_config_maps(
    field: &str,
    container: &ValidContainer,
    config_maps: &BTreeMap<String, Option<ConfigMap>>,
    problems: &mut Vec<Problem>,
) {
    for (name, key) in required_config_maps(container) {
        let map = config_maps.get(&name).and_then(Option::as_ref);
        let message = match (map, key) {
            (None, _) => format!(
                "{field}: there is no ConfigMap \"{name}\" in this namespace; create it, or mark \
                 the reference as optional"
            ),
            (Some(map), Some(key)) if !has_key(map, &key) => {
                format!(
                    "{field}: the ConfigMap \"{name}\" has no key \"{key}\"; add it, or mark the \
                     reference as optional"
                )
            }
            (Some(_), _) => continue,
        };
        problems.push(Problem::new(Reason::ConfigMapMissing, message));
    }
}

fn has_key(map: &ConfigMap, key: &str) -> bool {
    let text = map.data.as_ref().is_some_and(|data| data.contains_key(key));
    text || map.binary_data.as_ref().is_some_and(|data| data.contains_key(key))
}

fn required_config_maps(container: &ValidContainer) -> Vec<(String, Option<String>)> {
    let needed = |optional: Option<bool>| optional != Some(true);
    let keys =
        container.env.iter().filter_map(|env| env.value_from.as_ref()?.config_map_key_ref.as_ref());
    let keys = keys.filter(|r| needed(r.optional)).map(|r| (r.name.clone(), Some(r.key.clone())));
    let all = container.env_from.iter().filter_map(|source| source.config_map_ref.as_ref());
    let all = all.filter(|r| needed(r.optional)).map(|r| (r.name.clone(), None));
    let volumes = container.volumes.iter().filter_map(|volume| volume.config_map.as_ref());
    let volumes = volumes.filter(|r| needed(r.optional)).map(|r| (r.name.clone(), None));
    let projected =
        container.volumes.iter().filter_map(|volume| volume.projected.as_ref()?.sources.as_ref());
    let projected = projected.flatten().filter_map(|source| source.config_map.as_ref());
    let projected = projected.filter(|r| needed(r.optional)).map(|r| (r.name.clone(), None));
    keys.chain(all).chain(volumes).chain(projected).filter(|(name, _)| !name.is_empty()).collect()
}
