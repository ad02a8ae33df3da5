//! From a spec to the compiled config that `serve` reads. Every default is filled in, and every
//! reference is resolved: Secrets become the files that they are mounted as.

mod filtering;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mcphub_crds::refs::KeyRef;
use mcphub_crds::remote::{Remote, RemoteTransport};
use mcphub_crds::servers::{Isolation as SpecIsolation, Server as SpecServer};
use mcphub_crds::{McpHubSpec, values};
use mcphub_hub_wire::config::{
    self, ConnectionPool, Header, HeaderValue, HubConfig, Isolation, Limits, Server, Sessions,
    ToolRules, Transport,
};
use mcphub_hub_wire::paths::SECRETS_DIR;

use crate::spec::valid::{
    MAX_PROCESSES, Speaks, Upstream, ValidContainer, ValidRevision, ValidServer,
};

/// Compiles the config of a revision. `service` has the name and the namespace of the Service that
/// users call. `endpoint` returns the URL of a container server.
pub fn compile(
    revision: &ValidRevision,
    service: (&str, &str),
    endpoint: impl Fn(&ValidContainer) -> String,
) -> HubConfig {
    let spec = &revision.spec;
    HubConfig {
        schema: config::SCHEMA,
        servers: revision.servers.iter().map(|server| compile_server(server, &endpoint)).collect(),
        filtering: filtering::filtering(spec),
        access: filtering::access(spec),
        flags: super::flags::flags(spec),
        sessions: sessions(spec),
        limits: limits(spec),
        connection_pool: connection_pool(spec),
        allowed_origins: spec.allowed_origins.clone(),
        allowed_hosts: allowed_hosts(revision, service),
        startup_timeout_ms: spec.startup_timeout.as_ref().map_or(10_000, millis),
        drain_timeout_ms: to_millis(revision.drain),
    }
}

/// The names of the Service, and those of the spec. A cluster with another domain than
/// `cluster.local` must list the full name in the spec: a name that only starts like the Service
/// could belong to anybody.
fn allowed_hosts(revision: &ValidRevision, (name, namespace): (&str, &str)) -> Vec<String> {
    let mut hosts = vec![
        name.to_owned(),
        format!("{name}.{namespace}"),
        format!("{name}.{namespace}.svc"),
        format!("{name}.{namespace}.svc.cluster.local"),
    ];
    hosts.extend(revision.spec.allowed_hosts.iter().cloned());
    hosts
}

/// Keys of Secrets that hub pods need as files, by Secret.
pub fn secrets(revision: &ValidRevision) -> BTreeMap<String, BTreeSet<String>> {
    let mut keys: Vec<&KeyRef> = Vec::new();
    for server in &revision.servers {
        let Upstream::Remote(remote) = &server.upstream else { continue };
        let headers = remote.headers.iter().filter_map(|header| header.value_from.as_ref());
        keys.extend(headers.map(|from| &from.secret_key_ref));
        keys.extend(remote.tls.as_ref().and_then(|tls| tls.ca_secret_ref.as_ref()));
    }
    let llm = revision.spec.filtering.as_ref().and_then(|filtering| filtering.llm.as_ref());
    keys.extend(llm.map(|llm| &llm.api_key_secret_ref));
    let mut secrets: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for key in keys {
        secrets.entry(key.name.clone()).or_default().insert(key.key.clone());
    }
    secrets
}

fn file(key: &KeyRef) -> String {
    format!("{SECRETS_DIR}/{}/{}", key.name, key.key)
}

fn millis(duration: &values::Duration) -> u64 {
    to_millis(duration.get())
}

fn to_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn compile_server(valid: &ValidServer, endpoint: &impl Fn(&ValidContainer) -> String) -> Server {
    let SpecServer {
        name,
        remote: _,
        container: _,
        timeout,
        disabled,
        isolation,
        max_processes,
        tool_prefix,
        tools: _,
    } = &valid.server;
    let timeout = timeout.as_ref().map(values::Duration::get);
    let mut server = Server {
        name: name.clone(),
        prefix: Some(tool_prefix.clone().unwrap_or_else(|| name.clone()))
            .filter(|prefix| !prefix.is_empty()),
        url: String::new(),
        command: None,
        transport: Transport::StreamableHttp,
        headers: Vec::new(),
        ca_file: None,
        insecure_skip_verify: false,
        timeout_ms: to_millis(timeout.unwrap_or(Duration::from_mins(1))),
        isolation: match isolation.unwrap_or(SpecIsolation::PerPrincipal) {
            SpecIsolation::PerPrincipal => Isolation::PerPrincipal,
            SpecIsolation::Shared => Isolation::Shared,
            SpecIsolation::PerSession => Isolation::PerSession,
        },
        max_sessions: max_processes.unwrap_or(MAX_PROCESSES),
        disabled: disabled.unwrap_or_default(),
        tools: tool_rules(&valid.server),
    };
    match &valid.upstream {
        Upstream::Remote(remote) => compile_remote(&mut server, remote),
        Upstream::Container(container) => {
            server.url = endpoint(container);
            server.timeout_ms = to_millis(container_timeout(container, timeout));
        }
    }
    server
}

/// The bridge ends a call that takes too long. The hub waits a little longer, so that callers see
/// the bridge's answer. An Http server has no bridge, so the hub ends the call itself.
fn container_timeout(container: &ValidContainer, timeout: Option<Duration>) -> Duration {
    let longest = container.max_execution;
    match container.speaks {
        Speaks::Stdio { .. } => timeout.unwrap_or(longest + Duration::from_secs(5)),
        Speaks::Http { .. } => timeout.map_or(longest, |timeout| timeout.min(longest)),
    }
}

fn compile_remote(server: &mut Server, remote: &Remote) {
    // `auth` is Static or unset: the schema rejects the other values for now.
    let Remote { url, transport, auth: _, headers, tls } = remote;
    server.url.clone_from(url);
    server.transport = match transport.unwrap_or(RemoteTransport::Auto) {
        RemoteTransport::Auto => Transport::Auto,
        RemoteTransport::StreamableHttp => Transport::StreamableHttp,
        RemoteTransport::Sse => Transport::Sse,
    };
    server.headers = headers
        .iter()
        .map(|header| Header {
            name: header.name.clone(),
            value: match &header.value_from {
                Some(from) => HeaderValue::File(file(&from.secret_key_ref)),
                None => HeaderValue::Value(header.value.clone().unwrap_or_default()),
            },
        })
        .collect();
    server.ca_file = tls.as_ref().and_then(|tls| tls.ca_secret_ref.as_ref()).map(file);
    server.insecure_skip_verify =
        tls.as_ref().and_then(|tls| tls.insecure_skip_verify).unwrap_or_default();
}

fn tool_rules(server: &SpecServer) -> ToolRules {
    let rules = server.tools.clone().unwrap_or_default();
    ToolRules {
        allow: rules.allow,
        deny: rules.deny,
        rename: rules.rename,
        describe: rules.describe,
        timeout_ms: rules
            .timeout
            .iter()
            .map(|(tool, timeout)| (tool.clone(), millis(timeout)))
            .collect(),
    }
}

fn sessions(spec: &McpHubSpec) -> Sessions {
    let defaults = Sessions::default();
    let Some(sessions) = &spec.sessions else { return defaults };
    Sessions {
        require_id: sessions.require_id.unwrap_or(defaults.require_id),
        ttl_ms: sessions.ttl.as_ref().map_or(defaults.ttl_ms, millis),
        max: defaults.max,
    }
}

fn limits(spec: &McpHubSpec) -> Limits {
    let defaults = Limits::default();
    let Some(limits) = &spec.limits else { return defaults };
    Limits {
        max_request_bytes: limits
            .max_request_bytes
            .as_ref()
            .map_or(defaults.max_request_bytes, values::ByteSize::get),
        max_concurrent: limits.max_concurrent.unwrap_or(defaults.max_concurrent),
    }
}

fn connection_pool(spec: &McpHubSpec) -> ConnectionPool {
    let defaults = ConnectionPool::default();
    let Some(pool) = &spec.connection_pool else { return defaults };
    ConnectionPool {
        keep_alive_ms: pool.keep_alive.as_ref().map_or(defaults.keep_alive_ms, millis),
        max_connections: pool.max_connections.unwrap_or(defaults.max_connections),
    }
}
