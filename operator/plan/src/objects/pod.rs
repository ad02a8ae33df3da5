//! Settings that all pods of a hub have in common.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapVolumeSource, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource,
    ExecAction, HTTPGetAction, KeyToPath, Lifecycle, LifecycleHandler, LocalObjectReference,
    ObjectFieldSelector, PodSecurityContext, Probe, ProjectedVolumeSource, SeccompProfile,
    SecretProjection, SecretVolumeSource, SecurityContext, TopologySpreadConstraint, Volume,
    VolumeMount, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use mcphub_hub_wire::paths::{ADMIN_PORT, DATAPLANE_FILE, KEYS_DIR, PORT, RUNTIME_DIR};

/// Path of the program in the hub image.
pub(crate) const BINARY: &str = "/mcp-hub";
/// User id of the pods. It is not root, and no node has such a user.
pub(crate) const USER: i64 = 65532;

/// The pod settings that the restricted Pod Security Standard requires.
pub(crate) fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        fs_group: Some(USER),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".into(),
            localhost_profile: None,
        }),
        ..PodSecurityContext::default()
    }
}

/// The container settings that the restricted Pod Security Standard requires.
pub(crate) fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { add: None, drop: Some(vec!["ALL".into()]) }),
        read_only_root_filesystem: Some(true),
        ..SecurityContext::default()
    }
}

/// `POD_NAME` and `POD_NAMESPACE`.
pub(crate) fn identity() -> Vec<EnvVar> {
    let field = |name: &str, path: &str| EnvVar {
        name: name.into(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: Some("v1".into()),
                field_path: path.into(),
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    };
    vec![field("POD_NAME", "metadata.name"), field("POD_NAMESPACE", "metadata.namespace")]
}

pub(crate) fn port(name: &str, number: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.into()),
        container_port: number.into(),
        protocol: Some("TCP".into()),
        ..ContainerPort::default()
    }
}

/// The ports of hub and router pods.
pub(crate) fn ports() -> Vec<ContainerPort> {
    vec![port("mcp", PORT), port("admin", ADMIN_PORT)]
}

/// Probes of hub and router: startup, readiness, liveness. Readiness asks the port that clients
/// use.
pub(crate) fn probes() -> [Probe; 3] {
    let http = |path: &str, port: u16| Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.into()),
            port: IntOrString::Int(port.into()),
            ..HTTPGetAction::default()
        }),
        ..Probe::default()
    };
    let startup = Probe {
        period_seconds: Some(1),
        failure_threshold: Some(60),
        ..http("/healthz", ADMIN_PORT)
    };
    let readiness = Probe {
        period_seconds: Some(2),
        timeout_seconds: Some(2),
        failure_threshold: Some(2),
        ..http("/ready", PORT)
    };
    let liveness = Probe {
        period_seconds: Some(10),
        timeout_seconds: Some(5),
        failure_threshold: Some(3),
        ..http("/healthz", ADMIN_PORT)
    };
    [startup, readiness, liveness]
}

/// A preStop hook that waits for sessions to end before the process is stopped.
pub(crate) fn drain(seconds: u64) -> Lifecycle {
    let command =
        [BINARY, "drain", "--timeout", &format!("{seconds}s")].map(ToOwned::to_owned).to_vec();
    Lifecycle {
        pre_stop: Some(LifecycleHandler {
            exec: Some(ExecAction { command: Some(command) }),
            ..LifecycleHandler::default()
        }),
        ..Lifecycle::default()
    }
}

/// Grace period in seconds: the time of the drain, and 30 s for the process to stop.
pub(crate) fn grace(drain_seconds: u64) -> i64 {
    i64::try_from(drain_seconds).unwrap_or(i64::MAX).saturating_add(30)
}

/// Spreads pods over nodes as far as possible.
pub(crate) fn spread(selector: &BTreeMap<String, String>) -> Vec<TopologySpreadConstraint> {
    vec![TopologySpreadConstraint {
        max_skew: 1,
        topology_key: "kubernetes.io/hostname".into(),
        when_unsatisfiable: "ScheduleAnyway".into(),
        label_selector: Some(LabelSelector {
            match_labels: Some(selector.clone()),
            ..LabelSelector::default()
        }),
        ..TopologySpreadConstraint::default()
    }]
}

/// Annotations that say where Prometheus scrapes a pod.
pub(crate) fn scraped() -> BTreeMap<String, String> {
    BTreeMap::from([
        ("prometheus.io/scrape".into(), "true".into()),
        ("prometheus.io/port".into(), ADMIN_PORT.to_string()),
    ])
}

pub(crate) fn pull_secrets(names: &[String]) -> Option<Vec<LocalObjectReference>> {
    let references: Vec<_> =
        names.iter().map(|name| LocalObjectReference { name: name.clone() }).collect();
    (!references.is_empty()).then_some(references)
}

/// A read-only mount.
pub(crate) fn read_only(volume: &str, path: &str) -> VolumeMount {
    VolumeMount { read_only: Some(true), ..writable(volume, path) }
}

/// A writable mount.
pub(crate) fn writable(volume: &str, path: &str) -> VolumeMount {
    VolumeMount { name: volume.into(), mount_path: path.into(), ..VolumeMount::default() }
}

/// An empty directory that is deleted with the pod.
pub(crate) fn empty(name: &str) -> Volume {
    Volume {
        name: name.into(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    }
}

/// All keys of a ConfigMap as files.
pub(crate) fn config_map(volume: &str, name: String) -> Volume {
    let source = ConfigMapVolumeSource { name, ..ConfigMapVolumeSource::default() };
    Volume { name: volume.into(), config_map: Some(source), ..Volume::default() }
}

/// The runtime ConfigMap and the keys, with their mounts. Only the part of the runtime ConfigMap
/// that pods read is mounted: the operator writes its own state there every few seconds, and the
/// kubelet would rewrite the directory as often.
pub(crate) fn runtime_and_keys(runtime: String, keys: String) -> [(Volume, VolumeMount); 2] {
    let item = KeyToPath { key: DATAPLANE_FILE.into(), path: DATAPLANE_FILE.into(), mode: None };
    let runtime = Volume {
        name: "runtime".into(),
        config_map: Some(ConfigMapVolumeSource {
            name: runtime,
            items: Some(vec![item]),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    };
    let keys = Volume {
        name: "keys".into(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(keys),
            default_mode: Some(0o440),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    };
    [(runtime, read_only("runtime", RUNTIME_DIR)), (keys, read_only("keys", KEYS_DIR))]
}

/// Some keys of some Secrets as `<secret>/<key>`. They are optional: a missing Secret must fail
/// only the server that needs it (its self-check says so) and not keep the whole pod from starting.
pub(crate) fn secret_files<'a>(
    volume: &str,
    secrets: impl Iterator<Item = (&'a String, Vec<&'a String>)>,
) -> Volume {
    let projection = |(secret, keys): (&String, Vec<&String>)| VolumeProjection {
        secret: Some(SecretProjection {
            name: secret.clone(),
            items: Some(
                keys.into_iter()
                    .map(|key| KeyToPath {
                        key: key.clone(),
                        path: format!("{secret}/{key}"),
                        mode: None,
                    })
                    .collect(),
            ),
            optional: Some(true),
        }),
        ..VolumeProjection::default()
    };
    let sources = secrets.map(projection).collect();
    let projected = ProjectedVolumeSource { sources: Some(sources), default_mode: Some(0o440) };
    Volume { name: volume.into(), projected: Some(projected), ..Volume::default() }
}
