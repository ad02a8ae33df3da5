//! The Deployment of one container server, with its sandbox.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy};
use k8s_openapi::api::core::v1::{
    AppArmorProfile, Container, EnvVar, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
    ResourceRequirements, SeccompProfile, SecurityContext, TCPSocketAction, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use mcphub_crds::container::{Sandbox, Strategy};
use mcphub_hub_wire::paths::BRIDGE_PORT;

use super::Surroundings;
use crate::api::labels::{self, Component};
use crate::objects::pod;
use crate::objects::revision_deployment::surge_first;
use crate::spec::reserved::BRIDGE_DIR;
use crate::spec::valid::{Speaks, ValidContainer};

/// A server says why it ends in its log. With this policy, the status of its pod says so too.
const LAST_LOG_LINES: &str = "FallbackToLogsOnError";
/// Home directory of the server's user. It is writable, while the rest of the image is not.
const HOME: &str = "/home/mcp";

/// The Deployment without replicas, which are set when it is planned.
pub(crate) fn build(
    metadata: ObjectMeta,
    selector: BTreeMap<String, String>,
    mut template: PodTemplateSpec,
    strategy: Strategy,
) -> Deployment {
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.extend(selector.clone());
    let strategy = match strategy {
        Strategy::RollingUpdate => surge_first(),
        Strategy::Recreate => {
            DeploymentStrategy { type_: Some("Recreate".into()), rolling_update: None }
        }
    };
    Deployment {
        metadata,
        spec: Some(DeploymentSpec {
            revision_history_limit: Some(1),
            selector: LabelSelector { match_labels: Some(selector), ..LabelSelector::default() },
            strategy: Some(strategy),
            template,
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

/// The pod template without the label with its own hash, and without the operator's version. With
/// the version, the first revision after an upgrade would restart every server.
pub(crate) fn template(container: &ValidContainer, around: Surroundings<'_>) -> PodTemplateSpec {
    let mut labels = labels::labels(around.hub, Component::Server, "");
    labels.remove("app.kubernetes.io/version");
    labels.insert(labels::SERVER.into(), container.name.clone());
    let user = container.sandbox.run_as_user.unwrap_or(pod::USER);
    PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(labels), ..ObjectMeta::default() }),
        spec: Some(PodSpec {
            automount_service_account_token: Some(false),
            containers: vec![main(container, around)],
            enable_service_links: Some(false),
            image_pull_secrets: pod::pull_secrets(around.pull_secrets),
            init_containers: matches!(container.speaks, Speaks::Stdio { .. })
                .then(|| vec![install_bridge(container, around)]),
            runtime_class_name: container.sandbox.runtime_class_name.clone(),
            security_context: Some(pod_security(&container.sandbox, user)),
            volumes: Some(volumes(container)),
            ..PodSpec::default()
        }),
    }
}

/// Copies the bridge into the pod. Its resources are the server's own: a quota of the namespace
/// refuses a pod with a container that has none, and a pod needs only the highest of its init
/// containers and the sum of the others, so this asks for nothing more.
fn install_bridge(container: &ValidContainer, around: Surroundings<'_>) -> Container {
    Container {
        name: "install-bridge".into(),
        image: Some(around.bridge_image.into()),
        image_pull_policy: Some(around.bridge_pull_policy.into()),
        command: Some(vec![pod::BINARY.into()]),
        args: Some(vec!["install-bridge".into(), bridge()]),
        resources: Some(resources(container)),
        security_context: Some(pod::container_security()),
        termination_message_policy: Some(LAST_LOG_LINES.into()),
        volume_mounts: Some(vec![pod::writable("mcphub-bridge", BRIDGE_DIR)]),
        ..Container::default()
    }
}

fn bridge() -> String {
    format!("{BRIDGE_DIR}/mcp-hub")
}

fn main(container: &ValidContainer, around: Surroundings<'_>) -> Container {
    let port = super::port(&container.speaks);
    let (command, args) = command(container);
    Container {
        name: "server".into(),
        image: Some(container.image.clone()),
        image_pull_policy: Some(around.pull_policy.into()),
        command,
        args,
        env: Some(env(container)),
        env_from: Some(container.env_from.clone()).filter(|sources| !sources.is_empty()),
        ports: Some(vec![pod::port("mcp", port)]),
        startup_probe: Some(Probe {
            period_seconds: Some(1),
            failure_threshold: Some(120),
            ..listening(port)
        }),
        readiness_probe: Some(Probe {
            period_seconds: Some(5),
            failure_threshold: Some(2),
            ..listening(port)
        }),
        liveness_probe: Some(Probe {
            period_seconds: Some(10),
            failure_threshold: Some(3),
            ..listening(port)
        }),
        resources: Some(resources(container)),
        security_context: Some(SecurityContext {
            read_only_root_filesystem: Some(
                container.sandbox.read_only_root_filesystem.unwrap_or(true),
            ),
            ..pod::container_security()
        }),
        termination_message_policy: Some(LAST_LOG_LINES.into()),
        volume_mounts: Some(mounts(container)),
        ..Container::default()
    }
}

/// Checks that the server accepts connections. Third-party servers have no health endpoint.
fn listening(port: u16) -> Probe {
    Probe {
        tcp_socket: Some(TCPSocketAction { host: None, port: IntOrString::Int(port.into()) }),
        ..Probe::default()
    }
}

fn command(container: &ValidContainer) -> (Option<Vec<String>>, Option<Vec<String>>) {
    let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
    match &container.speaks {
        Speaks::Http { .. } => (some(container.command.clone()), some(container.args.clone())),
        Speaks::Stdio { max_processes, idle } => {
            let call = millis(container.max_execution);
            let mut args =
                vec!["bridge".to_owned(), "--listen".into(), format!("0.0.0.0:{BRIDGE_PORT}")];
            args.extend(["--max-processes".into(), max_processes.to_string()]);
            args.extend([
                "--idle-timeout".into(),
                millis(*idle),
                "--call-timeout".into(),
                call,
                "--".into(),
            ]);
            args.extend(container.command.iter().chain(&container.args).cloned());
            (Some(vec![bridge()]), Some(args))
        }
    }
}

fn millis(duration: Duration) -> String {
    match duration.as_millis() {
        whole if whole % 1000 == 0 => format!("{}s", whole / 1000),
        millis => format!("{millis}ms"),
    }
}

fn env(container: &ValidContainer) -> Vec<EnvVar> {
    let mut env = container.env.clone();
    if !env.iter().any(|variable| variable.name == "HOME") {
        env.push(EnvVar { name: "HOME".into(), value: Some(HOME.into()), value_from: None });
    }
    env
}

fn resources(container: &ValidContainer) -> ResourceRequirements {
    container.resources.clone().unwrap_or_else(default_resources)
}

fn default_resources() -> ResourceRequirements {
    let quantities = |list: &[(&str, &str)]| {
        Some(
            list.iter()
                .map(|(name, amount)| ((*name).to_owned(), Quantity((*amount).to_owned())))
                .collect(),
        )
    };
    ResourceRequirements {
        limits: quantities(&[("memory", "512Mi")]),
        requests: quantities(&[("cpu", "10m"), ("memory", "64Mi")]),
        ..ResourceRequirements::default()
    }
}

/// Directories that stay writable, unless the user mounts something there.
fn own_folders(container: &ValidContainer) -> Vec<(&'static str, &'static str)> {
    let taken = |path: &str| {
        container.mounts.iter().any(|mount| mount.mount_path.trim_end_matches('/') == path)
    };
    [("mcphub-tmp", "/tmp"), ("mcphub-home", HOME)]
        .into_iter()
        .filter(|(_, path)| !taken(path))
        .collect()
}

fn volumes(container: &ValidContainer) -> Vec<Volume> {
    let mut volumes = container.volumes.clone();
    volumes.extend(own_folders(container).into_iter().map(|(name, _)| pod::empty(name)));
    if matches!(container.speaks, Speaks::Stdio { .. }) {
        volumes.push(pod::empty("mcphub-bridge"));
    }
    volumes
}

fn mounts(container: &ValidContainer) -> Vec<VolumeMount> {
    let mut mounts = container.mounts.clone();
    mounts.extend(own_folders(container).into_iter().map(|(name, path)| pod::writable(name, path)));
    if matches!(container.speaks, Speaks::Stdio { .. }) {
        mounts.push(pod::read_only("mcphub-bridge", BRIDGE_DIR));
    }
    mounts
}

fn pod_security(sandbox: &Sandbox, user: i64) -> PodSecurityContext {
    let Sandbox {
        runtime_class_name: _,
        seccomp_profile,
        app_armor_profile,
        read_only_root_filesystem: _,
        run_as_non_root,
        run_as_user: _,
    } = sandbox;
    let (seccomp, seccomp_file) = profile(seccomp_profile.as_deref().unwrap_or("RuntimeDefault"));
    PodSecurityContext {
        run_as_non_root: Some(run_as_non_root.unwrap_or(true)),
        run_as_user: Some(user),
        run_as_group: Some(user),
        fs_group: Some(user),
        seccomp_profile: Some(SeccompProfile { type_: seccomp, localhost_profile: seccomp_file }),
        app_armor_profile: app_armor_profile
            .as_deref()
            .map(profile)
            .map(|(type_, localhost_profile)| AppArmorProfile { type_, localhost_profile }),
        ..PodSecurityContext::default()
    }
}

/// Parses `Localhost/FILE`, or a type alone.
fn profile(text: &str) -> (String, Option<String>) {
    match text.split_once('/') {
        Some((kind, file)) => (kind.into(), Some(file.into())),
        None => (text.into(), None),
    }
}
