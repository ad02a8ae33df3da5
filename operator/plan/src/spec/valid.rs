//! A spec that was accepted. Builders take these types, and cannot fail.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{
    Affinity, ConfigMap, EnvFromSource, EnvVar, ResourceRequirements, Toleration,
    TopologySpreadConstraint, Volume, VolumeMount,
};
use mcphub_crds::McpHubSpec;
use mcphub_crds::container::{Sandbox, Strategy};
use mcphub_crds::remote::Remote;
use mcphub_crds::servers::Server;

use super::revision_content::RevisionContent;
use crate::rollout::policy::Policy;

/// A spec that was accepted.
#[derive(Debug, Clone)]
pub struct ValidHub {
    pub revision: ValidRevision,
    pub live: ValidLive,
}

/// The part of the spec that makes a revision.
#[derive(Debug, Clone)]
pub struct ValidRevision {
    pub content: RevisionContent,
    /// Image of hub pods.
    pub image: String,
    pub pull_policy: String,
    pub pull_secrets: Vec<String>,
    pub resources: Option<ResourceRequirements>,
    pub pods: ValidPods,
    /// How long a terminating pod keeps its sessions.
    pub drain: Duration,
    /// In the order of the resource.
    pub servers: Vec<ValidServer>,
    /// Contents of the ConfigMaps that container servers refer to.
    pub config_maps: BTreeMap<String, Option<ConfigMap>>,
    /// Everything else, for the compiled config.
    pub spec: McpHubSpec,
}

/// The part of the spec that is applied at once, with defaults filled in.
#[derive(Debug, Clone)]
pub struct ValidLive {
    /// How a change is rolled out, evaluated and rolled back.
    pub policy: Policy,
    pub router_replicas: u32,
    pub router_resources: Option<ResourceRequirements>,
    pub service: ValidService,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidService {
    /// Type of the Service.
    pub kind: &'static str,
    pub port: u16,
    /// Annotations, for example for load balancers.
    pub annotations: BTreeMap<String, String>,
}

/// The user's settings for hub pods.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ValidPods {
    /// None of the operator's own labels is among them.
    pub labels: BTreeMap<String, String>,
    /// None of the operator's own annotations is among them.
    pub annotations: BTreeMap<String, String>,
    pub node_selector: BTreeMap<String, String>,
    pub tolerations: Vec<Toleration>,
    pub affinity: Option<Affinity>,
    /// Empty means the operator's own constraints.
    pub spread: Vec<TopologySpreadConstraint>,
    pub priority_class: Option<String>,
    /// `None` means the ServiceAccount of the operator.
    pub service_account: Option<String>,
}

/// One MCP server.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidServer {
    /// The server as it was written, for the compiled config.
    pub server: Server,
    pub upstream: Upstream,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Upstream {
    /// The server runs elsewhere.
    Remote(Remote),
    /// The server runs in a Deployment of the operator.
    Container(Box<ValidContainer>),
}

/// A server that the operator runs, with defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidContainer {
    pub name: String,
    pub image: String,
    pub command: Vec<String>,
    pub args: Vec<String>,
    pub speaks: Speaks,
    pub env: Vec<EnvVar>,
    /// Environment from Secrets and ConfigMaps.
    pub env_from: Vec<EnvFromSource>,
    pub volumes: Vec<Volume>,
    pub mounts: Vec<VolumeMount>,
    pub strategy: Strategy,
    /// `None` means the default.
    pub resources: Option<ResourceRequirements>,
    /// Maximum duration of a tool call.
    pub max_execution: Duration,
    pub sandbox: Sandbox,
}

/// The transport of a container server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Speaks {
    /// MCP over standard input and output, behind the bridge.
    Stdio {
        /// Maximum number of child processes.
        max_processes: u32,
        /// A child process without a call for this time is stopped.
        idle: Duration,
    },
    Http {
        port: u16,
        path: String,
    },
}

/// Default of `maxProcesses`: maximum number of upstream sessions, and of processes for Stdio.
pub const MAX_PROCESSES: u32 = 20;
