//! The hub's shared state. [`crate::serve::tasks`] keep it up to date.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use dashmap::DashMap;
use mcphub_hub_catalog::arguments::ValidationOptions;
use mcphub_hub_catalog::catalog::Tool;
use mcphub_hub_catalog::flags;
use mcphub_hub_catalog::principal::Principal;
use mcphub_hub_catalog::visibility::RuntimeInputs;
use mcphub_hub_routing::session_id::{self, RawJson, SessionClaims};
use mcphub_hub_wire::config::{HubConfig, Isolation, Server};
use mcphub_hub_wire::dataplane::{Dataplane, Revision};
use mcphub_hub_wire::flags::{
    AUTO_CORRECTION, ENHANCED_ERROR_MESSAGES, ENUM_DESCRIPTIONS_VALIDATION, HIERARCHICAL_TOOLS,
};
use mcphub_hub_wire::keys::KeyRing;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::additions::Additions;
use super::in_flight::InFlight;
use super::llm_categories::LlmCategoryStore;
use super::sessions::{Session, Sessions};
use super::snapshot::{HubSnapshot, ServerSlot};
use super::validation::{Validated, Validator};
use crate::selector::Selector;
use crate::serve::metrics::{Breakers, Metrics};
use crate::serve::upstream::{Error, SessionKey, Upstream};

/// How long the first list of a session waits for servers that are still starting. Some clients
/// never ask again.
const FIRST_LIST_WAIT: Duration = Duration::from_secs(5);
/// How long a handshake waits. Instructions that name no server are of little use, but a client
/// that times out has none.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(2);
/// How long routers may take to notice that this pod is leaving. Until then they may send to it.
const SETTLE: Duration = Duration::from_secs(3);

/// Which hub this process is.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// The name of the McpHub; `None` standalone.
    pub hub: Option<String>,
    /// The namespace of the McpHub.
    pub namespace: Option<String>,
    /// The revision that this pod belongs to.
    pub revision: Option<Revision>,
    /// The name of this pod.
    pub pod: String,
}

/// What the hub is started with.
pub struct HubInputs {
    pub identity: Identity,
    pub config: HubConfig,
    pub keys: watch::Receiver<Arc<KeyRing>>,
    pub dataplane: watch::Receiver<Arc<Dataplane>>,
}

/// The hub's shared state.
pub struct Hub {
    pub identity: Identity,
    /// The principal of every caller as long as there is no authentication, and of the hub's own
    /// requests.
    pub principal: Arc<Principal>,
    pub metrics: Metrics,
    pub sessions: Sessions,
    pub in_flight: InFlight,
    /// Requests whose body is still arriving. They have no permit of `in_flight` yet.
    pub arriving: InFlight,
    /// Exchanges whose client has disconnected, and that go on.
    pub outliving: TaskTracker,
    /// Cancelled when the process stops. All streams end then.
    pub stopping: CancellationToken,
    pub selector: Arc<Selector>,
    pub llm_categories: LlmCategoryStore,
    pub validator: Validator,
    /// The additions to the list of each view, if its sessions share them.
    shared_additions: DashMap<Option<String>, Arc<Additions>>,
    snapshot: watch::Sender<Arc<HubSnapshot>>,
    flags: ArcSwap<BTreeMap<String, bool>>,
    keys: watch::Receiver<Arc<KeyRing>>,
    dataplane: watch::Receiver<Arc<Dataplane>>,
    /// Notified when a new snapshot is needed.
    changed: Arc<Notify>,
    startup_over: watch::Sender<bool>,
    draining: OnceLock<Instant>,
}

/// A session that a client opens.
pub struct NewSession<'a> {
    /// The negotiated version.
    pub version: &'static str,
    pub principal: &'a Arc<Principal>,
    /// The view that the session is bound to.
    pub view: Option<String>,
    /// `clientInfo` and `capabilities` as JSON text.
    pub client_info: Option<&'a str>,
    pub capabilities: Option<&'a str>,
    /// Whether the hub itself opens the session.
    pub internal: bool,
}

impl Hub {
    /// Starts to connect to the servers of the config.
    pub fn new(inputs: HubInputs) -> anyhow::Result<Arc<Self>> {
        let HubInputs { identity, config, keys, dataplane } = inputs;
        let metrics = Metrics::new(labels(&identity))?;
        let principal = Arc::new(Principal::anonymous());
        let changed = Arc::new(Notify::new());
        let servers = server_slots(&config, &[], &principal, &changed, &metrics.breakers);
        let flags =
            flags::effective(&config.flags, &dataplane.borrow(), identity.revision.as_ref());
        let hierarchical = flags::configured(&flags, HIERARCHICAL_TOOLS);
        let selector = Arc::new(Selector::new(&metrics.registry)?);
        selector.configure(&config.filtering);
        let inputs = RuntimeInputs { hierarchical, ..RuntimeInputs::default() };
        let config = Arc::new(config);
        let snapshot = HubSnapshot::new(config, servers, inputs, None, &principal, &metrics);
        let hub = Arc::new(Self {
            identity,
            principal,
            validator: Validator::register(&metrics.registry)?,
            metrics,
            selector,
            llm_categories: LlmCategoryStore::default(),
            shared_additions: DashMap::new(),
            sessions: Sessions::default(),
            in_flight: InFlight::default(),
            arriving: InFlight::default(),
            outliving: TaskTracker::new(),
            stopping: CancellationToken::new(),
            snapshot: watch::Sender::new(Arc::new(snapshot)),
            flags: ArcSwap::from_pointee(flags),
            keys,
            dataplane,
            changed,
            startup_over: watch::Sender::new(false),
            draining: OnceLock::new(),
        });
        hub.apply_dataplane();
        Ok(hub)
    }
}

/// Snapshots.
impl Hub {
    pub fn snapshot(&self) -> Arc<HubSnapshot> {
        Arc::clone(&self.snapshot.borrow())
    }

    /// The current snapshot and every later one.
    pub fn subscribe(&self) -> watch::Receiver<Arc<HubSnapshot>> {
        self.snapshot.subscribe()
    }

    /// The snapshot for a first list: waits for servers that are still starting, but not for long.
    pub async fn snapshot_after_startup(&self) -> Arc<HubSnapshot> {
        self.snapshot_within(FIRST_LIST_WAIT).await
    }

    /// The snapshot for a handshake, which waits less long. The list that follows waits again.
    pub async fn snapshot_for_handshake(&self) -> Arc<HubSnapshot> {
        self.snapshot_within(HANDSHAKE_WAIT).await
    }

    async fn snapshot_within(&self, wait: Duration) -> Arc<HubSnapshot> {
        let mut over = self.startup_over.subscribe();
        if !*over.borrow() {
            tokio::time::timeout(wait, over.wait_for(|over| *over)).await.ok();
        }
        self.snapshot()
    }

    /// Puts another config in force. Servers that it does not change keep their sessions.
    pub fn reload(&self, config: HubConfig) {
        let old = self.snapshot();
        let breakers = &self.metrics.breakers;
        let servers = server_slots(&config, &old.servers, &self.principal, &self.changed, breakers);
        let running: Vec<Arc<Upstream>> =
            servers.iter().filter_map(ServerSlot::upstream).cloned().collect();
        let hierarchical = flags::configured(&self.effective_flags(&config), HIERARCHICAL_TOOLS);
        self.selector.configure(&config.filtering);
        let llm_categories = self.llm_categories.get(&config.filtering);
        let inputs = RuntimeInputs { hierarchical, llm_categories };
        let snapshot = HubSnapshot::new(
            Arc::new(config),
            servers,
            inputs,
            Some(&old),
            &self.principal,
            &self.metrics,
        );
        self.snapshot.send_replace(Arc::new(snapshot));
        // Only now, so that no call looks for a server that is closed already.
        for upstream in old.servers.iter().filter_map(ServerSlot::upstream) {
            if !running.iter().any(|running| Arc::ptr_eq(running, upstream)) {
                drop(upstream.close());
            }
        }
        self.apply_dataplane();
    }

    /// Asks for a new snapshot, because an input of it has changed.
    pub fn request_refresh(&self) {
        self.changed.notify_one();
    }

    /// Completes when a new snapshot is needed.
    pub async fn refresh_requested(&self) {
        self.changed.notified().await;
    }

    /// Replaces the snapshot with one of the same config and the current state of servers, flags
    /// and LLM answers.
    pub fn refresh_snapshot(&self) {
        let old = self.snapshot();
        let config = Arc::clone(&old.config);
        let llm_categories = self.llm_categories.get(&config.filtering);
        let inputs = RuntimeInputs { hierarchical: self.flag(HIERARCHICAL_TOOLS), llm_categories };
        let servers = old.servers.clone();
        let new =
            HubSnapshot::new(config, servers, inputs, Some(&old), &self.principal, &self.metrics);
        // A config that was reloaded meanwhile wins. Its servers may have changed, so refresh
        // again.
        self.snapshot.send_if_modified(|snapshot| {
            let current = Arc::ptr_eq(snapshot, &old);
            if current {
                *snapshot = Arc::new(new);
            } else {
                self.changed.notify_one();
            }
            current
        });
    }

    /// Whether `allowedHosts` has this name.
    pub fn allows_host(&self, host: &str) -> bool {
        let snapshot = self.snapshot();
        snapshot.config.allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host))
    }

    /// From now on no list waits for servers that are starting.
    pub fn finish_startup(&self) {
        self.startup_over.send_replace(true);
    }

    pub fn startup_is_over(&self) -> bool {
        *self.startup_over.borrow()
    }

    /// Whether the hub is ready. `Err` says why not.
    pub fn ready(&self) -> Result<(), String> {
        if self.startup_is_over() { Ok(()) } else { Err("servers are still starting".into()) }
    }
}

/// Sessions.
impl Hub {
    pub fn open_session(&self, new: NewSession<'_>) -> Arc<Session> {
        let NewSession { version, principal, view, client_info, capabilities, internal } = new;
        let json = |text: Option<&str>| text.and_then(|text| RawJson::parse(text.to_owned()).ok());
        let claims = SessionClaims {
            unique: rand::random(),
            revision: self.identity.revision.clone(),
            pod: self.identity.pod.clone(),
            protocol_version: version.to_owned(),
            client_info: json(client_info),
            capabilities: json(capabilities),
            principal: principal.hash(),
            view,
        };
        let id = session_id::seal(&self.keys.borrow(), &claims, rand::random());
        let now = Instant::now();
        let SessionClaims { unique, view, .. } = claims;
        let principal = Arc::clone(principal);
        let session = Session::new(id, unique, version, principal, view, internal, now);
        let evicted =
            self.sessions.add(Arc::clone(&session), &self.snapshot().config.sessions, now);
        self.close_upstream_sessions(&evicted);
        self.count_sessions();
        session
    }

    /// Ends the session with this id. False if there is none.
    pub fn end_session(&self, id: &str) -> bool {
        let ended = self.sessions.end(id);
        let found = ended.is_some();
        self.close_upstream_sessions(ended.as_slice());
        self.count_sessions();
        found
    }

    /// Ends the sessions that have been idle for too long.
    pub fn expire_sessions(&self) {
        let ttl = Duration::from_millis(self.snapshot().config.sessions.ttl_ms);
        let expired = self.sessions.expire(ttl, Instant::now());
        if !expired.is_empty() {
            self.close_upstream_sessions(&expired);
            self.count_sessions();
        }
    }

    /// The additions to the list of a session: its own, or those that all sessions of its view
    /// share.
    pub fn additions(&self, session: &Session) -> Arc<Additions> {
        if session.internal || self.snapshot().config.filtering.prompt_based.session_isolation {
            return Arc::clone(&session.additions);
        }
        Arc::clone(&self.shared_additions.entry(session.view.clone()).or_default())
    }

    fn close_upstream_sessions(&self, sessions: &[Arc<Session>]) {
        let snapshot = self.snapshot();
        for session in sessions {
            for upstream in snapshot.servers.iter().filter_map(ServerSlot::upstream) {
                upstream.end_session(session.unique);
            }
        }
    }

    fn count_sessions(&self) {
        self.metrics.sessions.set(i64::try_from(self.sessions.count()).unwrap_or(i64::MAX));
    }
}

/// Draining.
impl Hub {
    /// Starts to drain, and returns how many sessions are left. The pod stays Ready: Kubernetes
    /// sends a terminating pod no new traffic, but one that is also not Ready counts as gone, and
    /// its sessions with it.
    pub fn drain(&self) -> u64 {
        let since = self.draining.get_or_init(|| {
            tracing::info!(sessions = self.sessions.count(), "draining");
            Instant::now()
        });
        let settling = since.elapsed() < SETTLE;
        u64::try_from(self.sessions.count()).unwrap_or(u64::MAX).max(settling.into())
    }

    pub fn is_draining(&self) -> bool {
        self.draining.get().is_some()
    }

    /// Whether the hub has drained for `drainTimeout`.
    pub fn drain_timed_out(&self) -> bool {
        let timeout = Duration::from_millis(self.snapshot().config.drain_timeout_ms);
        self.draining.get().is_some_and(|since| since.elapsed() >= timeout)
    }
}

/// Flags, and what depends on them.
impl Hub {
    pub fn flag(&self, flag: &str) -> bool {
        self.flags.load().get(flag).copied().unwrap_or_default()
    }

    /// The generation of the data plane state in force.
    pub fn generation(&self) -> u64 {
        self.dataplane.borrow().generation
    }

    /// The data plane state, and every later one.
    pub fn dataplane(&self) -> watch::Receiver<Arc<Dataplane>> {
        self.dataplane.clone()
    }

    /// Puts the flags of the data plane state in force.
    #[allow(clippy::cast_precision_loss)] // generations stay far below 2^53
    pub fn apply_dataplane(&self) {
        let snapshot = self.snapshot();
        let flags = self.effective_flags(&snapshot.config);
        self.metrics.set_flags(&flags);
        self.metrics.generation.set(self.generation() as f64);
        self.flags.store(Arc::new(flags));
        if self.flag(HIERARCHICAL_TOOLS) != snapshot.visibility.is_hierarchical() {
            // Every list changes. Sessions with a stream are notified when the new snapshot is in
            // force.
            self.request_refresh();
        }
    }

    /// Validates the arguments of a call as the flags say.
    pub fn validate(&self, tool: &Tool, arguments: Option<&str>) -> Validated {
        let options = ValidationOptions {
            validate: self.flag(ENUM_DESCRIPTIONS_VALIDATION),
            correct: self.flag(AUTO_CORRECTION),
        };
        self.validator.validate(tool, arguments, options, self.flag(ENHANCED_ERROR_MESSAGES))
    }

    fn effective_flags(&self, config: &HubConfig) -> BTreeMap<String, bool> {
        flags::effective(&config.flags, &self.dataplane.borrow(), self.identity.revision.as_ref())
    }
}

/// The servers of a config. A server whose config has not changed keeps running.
fn server_slots(
    config: &HubConfig,
    before: &[ServerSlot],
    principal: &Principal,
    changed: &Arc<Notify>,
    breakers: &Breakers,
) -> Vec<ServerSlot> {
    breakers.retain(&config.servers.iter().map(|server| server.name.as_str()).collect());
    let running = |server: &Server| {
        before
            .iter()
            .filter_map(ServerSlot::upstream)
            .find(|upstream| upstream.is_for(server, &config.connection_pool))
            .cloned()
    };
    let start = |server: &Server| {
        let list_key = match server.isolation {
            Isolation::Shared => SessionKey::Pod,
            _ => SessionKey::Principal(principal.hash()),
        };
        // Its tools stay listed while the new settings take effect.
        let same = before.iter().filter_map(ServerSlot::upstream);
        let same = same.into_iter().find(|upstream| upstream.is_same_server(server));
        let state = same.map(|upstream| upstream.state()).unwrap_or_default();
        let changed = Arc::clone(changed);
        let started = breakers.gauge(&server.name).map_err(Error::from).and_then(|breaker| {
            Upstream::start(server.clone(), config, list_key, state, changed, breaker)
        });
        match started {
            Ok(upstream) => ServerSlot::Running(upstream),
            Err(error) => {
                tracing::error!(server = %server.name, %error, "failed to start server");
                ServerSlot::Broken(error.to_string())
            }
        }
    };
    let slot = |server: &Server| {
        if server.disabled {
            return ServerSlot::Disabled;
        }
        running(server).map_or_else(|| start(server), ServerSlot::Running)
    };
    config.servers.iter().map(slot).collect()
}

fn labels(identity: &Identity) -> HashMap<String, String> {
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    HashMap::from([
        label("namespace", identity.namespace.as_deref().unwrap_or_default()),
        label("hub", identity.hub.as_deref().unwrap_or_default()),
        label("revision", identity.revision.as_ref().map_or("", Revision::as_str)),
    ])
}
