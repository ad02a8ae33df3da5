//! The hub's shared state, and what keeps it up to date.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use dashmap::DashMap;
use mcphub_hub_catalog::flags;
use mcphub_hub_catalog::visibility::RuntimeInputs;
use mcphub_hub_protocol::message::Params;
use mcphub_hub_routing::session_id::{self, RawJson, SessionClaims};
use mcphub_hub_wire::config::{HubConfig, Server};
use mcphub_hub_wire::dataplane::{Dataplane, Revision};
use mcphub_hub_wire::flags::HIERARCHICAL_TOOLS;
use mcphub_hub_wire::keys::KeyRing;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::selector::{self, Selector};
use crate::serve::http::mcp::Ctx;
use crate::serve::metrics::Metrics;
use crate::serve::metrics::client_limits;
use crate::serve::metrics::list_cost;
use crate::serve::state::additions::Additions;
use crate::serve::state::in_flight::Places;
use crate::serve::state::sessions::{Opened, Session, Sessions};
use crate::serve::state::snapshot::{Live, Slot};
use crate::serve::state::validation::Judging;
use crate::serve::tasks::categories::{self, Categories};
use crate::serve::upstream::{Key, Upstream};

/// A session's first list waits so long for servers that are still starting: some clients never ask again.
const FIRST_LIST_WAIT: Duration = Duration::from_secs(5);
/// Instructions that name no server are of little use; a client that times out has none at all.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(2);
const EXPIRY_PERIOD: Duration = Duration::from_secs(10);
/// Until then routers may not have heard that this pod is leaving, and send to it.
const SETTLE: Duration = Duration::from_secs(3);

/// Which hub this process is.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// Name and namespace of the McpHub; `None` standalone.
    pub hub: Option<String>,
    /// Its namespace.
    pub namespace: Option<String>,
    /// Revision that this pod belongs to.
    pub revision: Option<Revision>,
    /// Name of this pod.
    pub pod: String,
}

/// The hub's shared state.
pub struct Hub {
    /// Which hub this is.
    pub identity: Identity,
    /// What is measured.
    pub metrics: Metrics,
    /// The legacy sessions of this pod.
    pub sessions: Sessions,
    /// Requests that are under way.
    pub places: Places,
    /// Only names of this machine are taken as Host.
    pub loopback_only: bool,
    /// Cancelled when the process goes: streams end.
    pub stopping: CancellationToken,
    /// What ranks tools for prompts.
    pub selector: Arc<Selector>,
    /// What the language model says of categories.
    pub(in crate::serve) categories: Categories,
    /// What judges the arguments of calls.
    pub(in crate::serve) judging: Judging,
    /// What was added to the lists of a view where its sessions share that.
    pub(in crate::serve) shared_additions: DashMap<Option<String>, Arc<Additions>>,
    live: watch::Sender<Arc<Live>>,
    flags: ArcSwap<BTreeMap<String, bool>>,
    keys: watch::Receiver<Arc<KeyRing>>,
    dataplane: watch::Receiver<Arc<Dataplane>>,
    changed: Arc<Notify>,
    startup_over: watch::Sender<bool>,
    draining: OnceLock<Instant>,
}

impl Hub {
    /// A hub of this config, whose servers are being connected to.
    pub fn start(
        identity: Identity,
        config: HubConfig,
        keys: watch::Receiver<Arc<KeyRing>>,
        dataplane: watch::Receiver<Arc<Dataplane>>,
        loopback_only: bool,
    ) -> anyhow::Result<Arc<Self>> {
        let metrics = Metrics::new(labels(&identity))?;
        let changed = Arc::new(Notify::new());
        let slots = slots(&config, &[], &changed);
        let startup = Duration::from_millis(config.startup_timeout_ms);
        let flags =
            flags::effective(&config.flags, &dataplane.borrow(), identity.revision.as_ref());
        let hierarchical = flags::configured(&flags, HIERARCHICAL_TOOLS);
        let selector = Arc::new(Selector::new(&metrics.registry)?);
        selector.obey(&config.filtering);
        let inputs = RuntimeInputs { hierarchical, ..RuntimeInputs::default() };
        let live = Live::of(Arc::new(config), slots, inputs, None, &metrics);
        let judging = Judging::new(&metrics.registry)?;
        let hub = Arc::new(Self {
            identity,
            metrics,
            judging,
            selector,
            categories: Categories::default(),
            shared_additions: DashMap::new(),
            sessions: Sessions::default(),
            places: Places::default(),
            loopback_only,
            stopping: CancellationToken::new(),
            live: watch::Sender::new(Arc::new(live)),
            flags: ArcSwap::from_pointee(flags),
            keys,
            dataplane,
            changed,
            startup_over: watch::Sender::new(false),
            draining: OnceLock::new(),
        });
        hub.obey_dataplane();
        tokio::spawn(Arc::clone(&hub).keep_live(startup));
        tokio::spawn(Arc::clone(&hub).keep_flags());
        tokio::spawn(Arc::clone(&hub).keep_sessions());
        tokio::spawn(list_cost::keep(Arc::clone(&hub)));
        tokio::spawn(client_limits::keep(Arc::clone(&hub)));
        tokio::spawn(selector::keep(Arc::clone(&hub)));
        tokio::spawn(categories::keep(Arc::clone(&hub)));
        Ok(hub)
    }

    /// What is in force now.
    pub fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live.borrow())
    }

    /// What is in force, and every later state.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Live>> {
        self.live.subscribe()
    }

    /// What is in force, when no server is starting any more or the wait for a first list is over.
    pub async fn live_after_start(&self) -> Arc<Live> {
        self.live_within(FIRST_LIST_WAIT).await
    }

    /// The same; a handshake waits less long, and the list that follows waits again.
    pub async fn live_for_handshake(&self) -> Arc<Live> {
        self.live_within(HANDSHAKE_WAIT).await
    }

    async fn live_within(&self, wait: Duration) -> Arc<Live> {
        let mut over = self.startup_over.subscribe();
        if !*over.borrow() {
            tokio::time::timeout(wait, over.wait_for(|over| *over)).await.ok();
        }
        self.live()
    }

    /// Puts another config in force. Servers that it does not change keep their sessions.
    pub fn reload(&self, config: HubConfig) {
        let old = self.live();
        let slots = slots(&config, &old.servers, &self.changed);
        let kept: Vec<&Arc<Upstream>> = slots.iter().filter_map(Slot::upstream).collect();
        for upstream in old.servers.iter().filter_map(Slot::upstream) {
            if !kept.iter().any(|kept| Arc::ptr_eq(kept, upstream)) {
                drop(upstream.close());
            }
        }
        let flags = self.flags_of(&config);
        let hierarchical = flags::configured(&flags, HIERARCHICAL_TOOLS);
        self.selector.obey(&config.filtering);
        let llm_categories = self.categories.given(&config.filtering);
        let inputs = RuntimeInputs { hierarchical, llm_categories };
        let live = Live::of(Arc::new(config), slots, inputs, Some(&old), &self.metrics);
        self.live.send_replace(Arc::new(live));
        self.obey_dataplane();
    }

    /// What is in force is to be made anew of what servers list and a language model says.
    pub(in crate::serve) fn renew(&self) {
        self.changed.notify_one();
    }

    /// A new session of this version for a client that said this of itself.
    pub fn open_session(
        &self,
        ctx: &Ctx,
        version: &'static str,
        params: &Params<'_>,
    ) -> Arc<Session> {
        let json = |text: Option<&str>| text.and_then(|text| RawJson::parse(text.to_owned()).ok());
        let claims = SessionClaims {
            unique: rand::random(),
            revision: self.identity.revision.clone(),
            pod: self.identity.pod.clone(),
            protocol_version: version.to_owned(),
            client_info: json(params.client_info),
            capabilities: json(params.capabilities),
            principal: anonymous(),
            view: ctx.view.clone(),
        };
        let id = session_id::seal(&self.keys.borrow(), &claims, rand::random());
        let now = Instant::now();
        let SessionClaims { unique, principal, view, .. } = claims;
        let opened = Opened { id, unique, version, view, principal, internal: !ctx.counted };
        let session = Session::new(opened, now);
        let gone = self.sessions.add(Arc::clone(&session), &self.live().config.sessions, now);
        self.ended(&gone);
        self.count_sessions();
        session
    }

    /// Ends the session of this id. False: there is none.
    pub fn end_session(&self, id: &str) -> bool {
        let ended = self.sessions.end(id);
        let found = ended.is_some();
        self.ended(ended.as_slice());
        self.count_sessions();
        found
    }

    /// Whether the flag is on.
    pub fn flag(&self, flag: &str) -> bool {
        self.flags.load().get(flag).copied().unwrap_or_default()
    }

    /// Leaves from now on; says what is left to wait for. It stays Ready: Kubernetes gives a terminating pod no new
    /// traffic, and one that is not Ready besides counts as gone, its sessions with it.
    pub fn drain(&self) -> u64 {
        let since = self.draining.get_or_init(|| {
            tracing::info!(sessions = self.sessions.len(), "draining");
            Instant::now()
        });
        let settling = since.elapsed() < SETTLE;
        u64::try_from(self.sessions.len()).unwrap_or(u64::MAX).max(settling.into())
    }

    /// Whether it was told to drain.
    pub fn is_draining(&self) -> bool {
        self.draining.get().is_some()
    }

    /// Whether it has drained for as long as sessions are kept.
    pub fn drain_is_over(&self) -> bool {
        let most = Duration::from_millis(self.live().config.drain_timeout_ms);
        self.draining.get().is_some_and(|since| since.elapsed() >= most)
    }

    /// `Err` says why not.
    pub fn ready(&self) -> Result<(), String> {
        if *self.startup_over.borrow() { Ok(()) } else { Err("servers are still starting".into()) }
    }

    /// Generation of the data plane state in force.
    pub fn generation(&self) -> u64 {
        self.dataplane.borrow().generation
    }

    fn ended(&self, sessions: &[Arc<Session>]) {
        let live = self.live();
        for session in sessions {
            for upstream in live.servers.iter().filter_map(Slot::upstream) {
                upstream.end_session(session.unique);
            }
        }
    }

    fn count_sessions(&self) {
        self.metrics.sessions.set(i64::try_from(self.sessions.len()).unwrap_or(i64::MAX));
    }

    fn flags_of(&self, config: &HubConfig) -> BTreeMap<String, bool> {
        flags::effective(&config.flags, &self.dataplane.borrow(), self.identity.revision.as_ref())
    }

    #[allow(clippy::cast_precision_loss)] // generations stay far below 2^53
    fn obey_dataplane(&self) {
        let live = self.live();
        let flags = self.flags_of(&live.config);
        self.metrics.flags(&flags);
        self.metrics.generation.set(self.generation() as f64);
        self.flags.store(Arc::new(flags));
        if self.flag(HIERARCHICAL_TOOLS) != live.visibility.is_hierarchical() {
            // Every list is to be another one, and sessions with a stream are told when it is.
            self.changed.notify_one();
        }
    }

    async fn keep_flags(self: Arc<Self>) {
        let mut dataplane = self.dataplane.clone();
        while dataplane.changed().await.is_ok() {
            self.obey_dataplane();
        }
    }

    async fn keep_live(self: Arc<Self>, startup: Duration) {
        let mut timeout = std::pin::pin!(tokio::time::sleep(startup));
        loop {
            if !self.live().is_starting() {
                self.startup_over.send_replace(true);
            }
            let waiting = !*self.startup_over.borrow();
            tokio::select! {
                () = self.changed.notified() => {
                    let old = self.live();
                    let config = Arc::clone(&old.config);
                    let inputs = RuntimeInputs {
                        hierarchical: self.flag(HIERARCHICAL_TOOLS),
                        llm_categories: self.categories.given(&config.filtering),
                    };
                    let servers = old.servers.clone();
                    let new = Live::of(config, servers, inputs, Some(&old), &self.metrics);
                    // A config that was put in force meanwhile wins; its servers tell their changes anew.
                    self.live.send_if_modified(|live| {
                        let current = Arc::ptr_eq(live, &old);
                        if current {
                            *live = Arc::new(new);
                        } else {
                            self.changed.notify_one();
                        }
                        current
                    });
                }
                () = &mut timeout, if waiting => {
                    tracing::warn!("not every server could be reached within startupTimeout; serving without them");
                    self.startup_over.send_replace(true);
                }
            }
        }
    }

    async fn keep_sessions(self: Arc<Self>) {
        let mut period = tokio::time::interval(EXPIRY_PERIOD);
        loop {
            period.tick().await;
            let ttl = Duration::from_millis(self.live().config.sessions.ttl_ms);
            let gone = self.sessions.expire(ttl, Instant::now());
            if !gone.is_empty() {
                self.ended(&gone);
                self.count_sessions();
            }
        }
    }
}

/// Hash of the principal of everybody while there is no authentication.
pub fn anonymous() -> [u8; 32] {
    Sha256::digest(b"anonymous").into()
}

/// The servers of a config, of which those that are as before are kept.
fn slots(config: &HubConfig, before: &[Slot], changed: &Arc<Notify>) -> Vec<Slot> {
    let kept = |server: &Server| {
        let running = before.iter().filter_map(Slot::upstream);
        running
            .into_iter()
            .find(|upstream| upstream.is_for(server, &config.connection_pool))
            .cloned()
    };
    let start = |server: &Server| {
        let base = match server.isolation {
            mcphub_hub_wire::config::Isolation::Shared => Key::Pod,
            _ => Key::Principal(anonymous()),
        };
        match Upstream::start(server.clone(), config, base, Arc::clone(changed)) {
            Ok(upstream) => Slot::Running(upstream),
            Err(error) => {
                tracing::error!(server = %server.name, %error, "server cannot be used");
                Slot::Broken(error.to_string())
            }
        }
    };
    let slot = |server: &Server| {
        if server.disabled {
            return Slot::Disabled;
        }
        kept(server).map_or_else(|| start(server), Slot::Running)
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
