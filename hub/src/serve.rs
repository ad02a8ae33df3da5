//! `mcp-hub serve`: many MCP servers behind one `/mcp`.
//!
//! A request goes through [`http`] (checks, session, protocol version), [`methods`] (what MCP asks
//! for) and [`upstream`] (the server that answers), and back. All of them read [`state`], which
//! [`tasks`] keep up to date; [`metrics`] counts. Decisions are in the pure crates; what is here
//! needs the network or a clock. No lock is held across an await.

mod http;
mod methods;
mod metrics;
pub mod state;
mod tasks;
mod upstream;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use mcphub_hub_catalog::config::Loaded;
use mcphub_hub_listen::{ConnectionMetrics, Limits};
use mcphub_hub_wire::dataplane::Dataplane;
use mcphub_hub_wire::keys::{HubKey, KeyRing};
use mcphub_hub_wire::paths::{ADMIN_PORT, PORT};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::http::{explain, self_check};
use self::state::hub::{Hub, HubInputs, Identity};
use self::state::snapshot::ServerSlot;
use self::upstream::Upstream;
use crate::admin::{self, Admin, DrainStatus};
use crate::config_file::ConfigFiles;
use crate::connect::{self, Peer};
use crate::dataplane::{self, DataplaneFollower, RuntimeConfigMap};
use crate::learned_state::LearnedState;
use crate::local_service::LocalService;
use crate::{args, keys, stdio};

/// How long calls in flight may take when the process stops. Together with `CLOSE_TIMEOUT` it is
/// less than the 30 s that a pod has after its drain timeout.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(25);
/// How long closing the sessions with the servers may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
const DRAIN_POLL: Duration = Duration::from_millis(200);

/// A hub that serves.
pub struct HubServer {
    pub hub: Arc<Hub>,
    /// Where `/mcp` is.
    pub address: SocketAddr,
    /// Where metrics and self-check are.
    pub admin_address: SocketAddr,
    server: JoinHandle<()>,
    _dataplane: DataplaneFollower,
}

/// Serves until the process gets SIGTERM or SIGINT, or until a client on stdin is gone.
pub async fn run(args: args::Serve) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    if args.hub.is_none() {
        stdio::guard::enable();
    }
    let stopped = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    if args.stdio && args.listen.is_none() {
        let StartedHub { hub, dataplane: _follower, .. } = start_hub(&args)?;
        let front = serve_stdio(&hub);
        tokio::select! {
            () = front => {}
            () = stopped => {}
        }
        hub.drain();
        hub.stopping.cancel();
        close_servers(&hub).await;
        return Ok(());
    }
    let with_stdio = args.stdio;
    let server = start(args).await?;
    let hub = Arc::clone(&server.hub);
    tokio::select! {
        () = serve_stdio(&hub), if with_stdio => {}
        () = stopped => {}
    }
    server.stop().await
}

/// Serves one client on stdin and stdout, through the same handlers as a client of the port.
async fn serve_stdio(hub: &Arc<Hub>) {
    let service = LocalService::new(http::router(Arc::clone(hub)));
    connect::serve_stdio(Peer::Local(service)).await;
}

/// Reads the config, listens, and starts to connect to the servers.
pub async fn start(args: args::Serve) -> anyhow::Result<HubServer> {
    let (listener, admin_listener) = listen(&args, args.hub.is_none()).await?;
    let (address, admin_address) = (listener.local_addr()?, admin_listener.local_addr()?);
    let StartedHub { hub, keys, dataplane } = start_hub(&args)?;
    let admin = admin::router(
        admin_state(&hub, keys, dataplane.subscribe()),
        self_check::router(Arc::clone(&hub), address),
        explain::router(Arc::clone(&hub)),
    );
    let connections = |prefix| ConnectionMetrics::register(&hub.metrics.registry, prefix);
    tokio::spawn(admin::serve(admin_listener, admin, connections("mcp_hub_admin")?));
    let server = tokio::spawn(serve(listener, Arc::clone(&hub), connections("mcp_hub")?));
    tracing::info!(%address, %admin_address, version = env!("CARGO_PKG_VERSION"), "serving");
    Ok(HubServer { hub, address, admin_address, server, _dataplane: dataplane })
}

/// A hub that no port serves yet.
struct StartedHub {
    hub: Arc<Hub>,
    keys: watch::Receiver<Arc<KeyRing>>,
    dataplane: DataplaneFollower,
}

/// Reads the config, and starts to connect to the servers.
fn start_hub(args: &args::Serve) -> anyhow::Result<StartedHub> {
    let standalone = args.hub.is_none();
    let files = ConfigFiles::locate(&args.config, standalone, own_port(args))?;
    // Before the config is parsed: a change between the two reads is then noticed later, and not
    // missed.
    let known = files.paths.iter().map(|path| std::fs::read(path).ok()).collect();
    let Loaded { config, warnings } = files.read()?;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let startup_timeout = Duration::from_millis(config.startup_timeout_ms);
    let keys = match &args.keys {
        Some(dir) => keys::follow(dir)?,
        None => watch::channel(Arc::new(KeyRing::new(HubKey::new(1, rand::random())))).1,
    };
    let identity = identity(args);
    let cluster = in_cluster(&identity);
    let learned = cluster.clone().map(|runtime| LearnedState::new(runtime, identity.pod.clone()));
    let follower = DataplaneFollower::start(args.runtime.as_deref(), cluster);
    let hub = Hub::new(HubInputs {
        identity,
        config,
        keys: keys.clone(),
        dataplane: follower.subscribe(),
    })?;
    tasks::spawn_all(&hub, startup_timeout);
    match learned {
        Some(learned) => drop(tokio::spawn(learned.run(Arc::clone(&hub.selector)))),
        None => hub.selector.shared_state_read(),
    }
    if standalone {
        tokio::spawn(tasks::follow_config_files(files, known, warnings, Arc::clone(&hub)));
        if !args.skip_llm_check {
            tokio::spawn(tasks::verify_language_model(Arc::clone(&hub)));
        }
    }
    Ok(StartedHub { hub, keys, dataplane: follower })
}

/// Ends the sessions with the servers. Without a DELETE, a server keeps the session, and a stdio
/// child with it.
async fn close_servers(hub: &Hub) {
    let snapshot = hub.snapshot();
    let upstreams = || snapshot.servers.iter().filter_map(ServerSlot::upstream);
    let closing = upstreams().flat_map(Upstream::close);
    tokio::time::timeout(CLOSE_TIMEOUT, futures::future::join_all(closing)).await.ok();
    futures::future::join_all(upstreams().map(|upstream| upstream.stop_processes())).await;
}

impl HubServer {
    /// Drains, ends streams, waits for calls in flight, and closes the sessions with the servers.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.hub.drain();
        if self.hub.identity.hub.is_some() {
            while self.hub.drain() > 0 && !self.hub.drain_timed_out() {
                tokio::time::sleep(DRAIN_POLL).await;
            }
        }
        self.hub.stopping.cancel();
        let outliving = &self.hub.outliving;
        let stopped = async {
            self.server.await.ok();
            outliving.close();
            outliving.wait().await;
        };
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, stopped).await.is_err() {
            let seconds = SHUTDOWN_TIMEOUT.as_secs();
            tracing::warn!(seconds, "shutdown deadline reached with calls in flight");
        }
        close_servers(&self.hub).await;
        Ok(())
    }
}

/// Serves the hub's port until the hub stops.
async fn serve(listener: TcpListener, hub: Arc<Hub>, connections: ConnectionMetrics) {
    let stopping = hub.stopping.clone().cancelled_owned();
    let limits = Limits { close_timeout: SHUTDOWN_TIMEOUT, ..Limits::default() };
    let handler = mcphub_hub_listen::router(http::router(hub));
    mcphub_hub_listen::serve(listener, handler, limits, connections, stopping).await;
}

fn identity(args: &args::Serve) -> Identity {
    Identity {
        pod: args.pod.clone().unwrap_or_else(|| "standalone".into()),
        hub: args.hub.clone(),
        namespace: args.namespace.clone(),
        revision: args.revision.clone(),
    }
}

/// `None` standalone and outside of a cluster.
fn in_cluster(identity: &Identity) -> Option<RuntimeConfigMap> {
    let (hub, namespace) = (identity.hub.clone()?, identity.namespace.clone()?);
    Some(RuntimeConfigMap { client: dataplane::in_cluster_client()?, namespace, hub })
}

/// The port of the hub itself. A hub on stdio has none.
fn own_port(args: &args::Serve) -> u16 {
    let default = if args.stdio { 0 } else { PORT };
    args.listen.map_or(default, |address| address.port())
}

async fn listen(
    args: &args::Serve,
    standalone: bool,
) -> anyhow::Result<(TcpListener, TcpListener)> {
    let ip = if standalone { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
    let listener = bind(args.listen.unwrap_or(SocketAddr::new(ip.into(), PORT))).await?;
    let admin_listener =
        bind(args.admin_listen.unwrap_or(SocketAddr::new(ip.into(), ADMIN_PORT))).await?;
    Ok((listener, admin_listener))
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("failed to listen on {address}"))
}

fn admin_state(
    hub: &Arc<Hub>,
    keys: watch::Receiver<Arc<KeyRing>>,
    dataplane: watch::Receiver<Arc<Dataplane>>,
) -> Admin {
    let (hosts, ready, drain) = (Arc::clone(hub), Arc::clone(hub), Arc::clone(hub));
    Admin {
        metrics: hub.metrics.registry.clone(),
        keys,
        dataplane,
        allows_host: Box::new(move |host| hosts.allows_host(host)),
        ready: Box::new(move || ready.ready()),
        drain: Box::new(move || DrainStatus { left: drain.drain() }),
    }
}
