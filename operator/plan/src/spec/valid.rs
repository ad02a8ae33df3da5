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

/// A spec that can be done.
#[derive(Debug, Clone)]
pub struct ValidHub {
    /// What a new revision is made of.
    pub revision: ValidRevision,
    /// What is applied at once.
    pub live: ValidLive,
}

/// The part of the spec that is a revision.
#[derive(Debug, Clone)]
pub struct ValidRevision {
    /// What its hash is taken over.
    pub content: RevisionContent,
    /// Image of hub pods.
    pub image: String,
    /// When it is pulled.
    pub pull_policy: String,
    /// Secrets for private registries.
    pub pull_secrets: Vec<String>,
    /// Requests and limits of the hub container.
    pub resources: Option<ResourceRequirements>,
    /// What else hub pods carry.
    pub pods: ValidPods,
    /// How long a pod that goes keeps its sessions.
    pub drain: Duration,
    /// The MCP servers, in the order of the resource.
    pub servers: Vec<ValidServer>,
    /// What the container servers' ConfigMaps say.
    pub config_maps: BTreeMap<String, Option<ConfigMap>>,
    /// Everything else, for the compiled config.
    pub spec: McpHubSpec,
}

/// The part of the spec that is applied at once, defaults filled in.
#[derive(Debug, Clone)]
pub struct ValidLive {
    /// How a change is tried, judged and taken back.
    pub policy: Policy,
    /// Router pods.
    pub router_replicas: u32,
    /// Requests and limits of the router container.
    pub router_resources: Option<ResourceRequirements>,
    /// The Service that users call.
    pub service: ValidService,
}

/// The Service that users call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidService {
    /// Type, as Kubernetes spells it.
    pub kind: &'static str,
    /// Port.
    pub port: u16,
    /// Annotations, for load balancers.
    pub annotations: BTreeMap<String, String>,
}

/// What hub pods carry besides what every hub pod does.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ValidPods {
    /// Labels; none of ours among them.
    pub labels: BTreeMap<String, String>,
    /// Annotations; none of ours among them.
    pub annotations: BTreeMap<String, String>,
    /// Labels that a node must have.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that are tolerated.
    pub tolerations: Vec<Toleration>,
    /// Affinity.
    pub affinity: Option<Affinity>,
    /// Spread over nodes and zones; empty: ours.
    pub spread: Vec<TopologySpreadConstraint>,
    /// PriorityClass.
    pub priority_class: Option<String>,
    /// ServiceAccount; `None`: the one that the operator makes.
    pub service_account: Option<String>,
}

/// One MCP server.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidServer {
    /// As written, for the compiled config.
    pub server: Server,
    /// Where it runs.
    pub upstream: Upstream,
}

/// Where a server runs.
#[derive(Debug, Clone, PartialEq)]
pub enum Upstream {
    /// Elsewhere.
    Remote(Remote),
    /// In a Deployment that the operator makes.
    Container(Box<ValidContainer>),
}

/// A server that the operator runs, defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidContainer {
    /// Name of the server.
    pub name: String,
    /// Image with the server inside.
    pub image: String,
    /// Program and first arguments.
    pub command: Vec<String>,
    /// Arguments after `command`.
    pub args: Vec<String>,
    /// What the server speaks, and what belongs to that.
    pub speaks: Speaks,
    /// Environment.
    pub env: Vec<EnvVar>,
    /// Environment from Secrets and ConfigMaps.
    pub env_from: Vec<EnvFromSource>,
    /// Volumes.
    pub volumes: Vec<Volume>,
    /// Where they are mounted.
    pub mounts: Vec<VolumeMount>,
    /// How its Deployment is updated.
    pub strategy: Strategy,
    /// Requests and limits; `None`: the default.
    pub resources: Option<ResourceRequirements>,
    /// Longest tool call.
    pub max_execution: Duration,
    /// How it is confined.
    pub sandbox: Sandbox,
}

/// What a container server speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Speaks {
    /// MCP over standard input and output, behind the bridge.
    Stdio {
        /// Most child processes at a time.
        max_processes: u32,
        /// A child without a call for so long is stopped.
        idle: Duration,
    },
    /// Streamable HTTP.
    Http {
        /// Port it listens on.
        port: u16,
        /// Path of its endpoint.
        path: String,
    },
}

/// Most upstream sessions, and for Stdio processes, at a time.
pub const MAX_PROCESSES: u32 = 20;
