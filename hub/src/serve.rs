//! `mcp-hub serve`: many MCP servers behind one `/mcp`.
//!
//! A request goes through [`http`] (checks, sessions, protocol version), [`methods`] (what MCP asks for) and [`upstream`]
//! (the server that answers), and back. All of them read [`state`], which [`tasks`] keep up to date; [`metrics`] counts.

pub mod http;
pub mod methods;
pub mod metrics;
pub mod state;
pub mod tasks;
pub mod upstream;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::serve::ListenerExt as _;
use mcphub_hub_catalog::config;
use mcphub_hub_wire::config::HubConfig;
use mcphub_hub_wire::keys::{HubKey, KeyRing};
use mcphub_hub_wire::paths::{ADMIN_PORT, PORT};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::upstream::Upstream;
use crate::admin::{self, Admin, Drained};
use crate::dataplane::{self, Runtime, Watched};
use crate::learned_state::Shared;
use crate::serve::http::{edge, explain, self_check};
use crate::serve::state::hub::{Hub, Identity};
use crate::serve::state::snapshot::Slot;
use crate::{args, keys, mounted_files};

/// Calls that are under way when the process stops get this long: with the last words it is less than the 30 s that a
/// pod has after its drain time.
const LAST_CALLS: Duration = Duration::from_secs(25);
/// Telling the servers that their sessions are over takes no longer.
const LAST_WORDS: Duration = Duration::from_secs(2);
const DRAIN_LOOK: Duration = Duration::from_millis(200);

/// A hub that serves.
pub struct Serving {
    /// Its state.
    pub hub: Arc<Hub>,
    /// Where `/mcp` is.
    pub address: SocketAddr,
    /// Where metrics and self-check are.
    pub admin_address: SocketAddr,
    server: JoinHandle<std::io::Result<()>>,
    _runtime: Runtime,
}

/// Serves until told to stop.
pub async fn run(args: args::Serve) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let serving = start(args).await?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    serving.stop().await
}

/// Reads the config, listens, and begins to connect to the servers.
pub async fn start(args: args::Serve) -> anyhow::Result<Serving> {
    let standalone = args.hub.is_none();
    // First: what is written between the two readings is then read again, not missed.
    let known = std::fs::read(&args.config).ok();
    let config = read(&args.config, standalone)?;
    let identity = Identity {
        pod: args.pod.clone().unwrap_or_else(|| "standalone".into()),
        hub: args.hub,
        namespace: args.namespace,
        revision: args.revision,
    };
    let keys = match &args.keys {
        Some(dir) => keys::follow(dir)?,
        None => watch::channel(Arc::new(KeyRing::new(HubKey::new(1, rand::random())))).1,
    };
    let watched = match (&identity.hub, &identity.namespace) {
        (Some(hub), Some(namespace)) => dataplane::in_cluster().map(|client| Watched {
            client,
            namespace: namespace.clone(),
            hub: hub.clone(),
        }),
        _ => None,
    };
    let shared = watched.as_ref().map(|watched| Shared {
        client: watched.client.clone(),
        namespace: watched.namespace.clone(),
        hub: watched.hub.clone(),
        pod: identity.pod.clone(),
    });
    let runtime = Runtime::start(args.runtime.as_deref(), watched);
    let ip = if standalone { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
    let listener = bind(args.listen.unwrap_or(SocketAddr::new(ip.into(), PORT))).await?;
    let admin_listener =
        bind(args.admin_listen.unwrap_or(SocketAddr::new(ip.into(), ADMIN_PORT))).await?;
    let (address, admin_address) = (listener.local_addr()?, admin_listener.local_addr()?);
    let hub = Hub::start(
        identity,
        config,
        keys.clone(),
        runtime.subscribe(),
        address.ip().is_loopback(),
    )?;
    match shared {
        Some(shared) => drop(tokio::spawn(shared.keep(Arc::clone(&hub.selector)))),
        None => hub.selector.shared_is_read(),
    }
    if standalone {
        tokio::spawn(follow(args.config, known, Arc::clone(&hub)));
    }
    let admin = admin_of(&hub, keys, &runtime);
    let admin = admin::router(
        admin,
        self_check::router(Arc::clone(&hub), address),
        explain::router(Arc::clone(&hub)),
    );
    // The admin port answers as long as the process lives: metrics of the last requests are wanted too.
    tokio::spawn(admin::serve(admin_listener, admin, std::future::pending()));
    let listener = listener.tap_io(|stream| {
        // Without it a small answer waits for the client's delayed acknowledgement: 40 ms.
        stream.set_nodelay(true).ok();
    });
    let stopping = hub.stopping.clone().cancelled_owned();
    let server =
        axum::serve(listener, edge::router(Arc::clone(&hub))).with_graceful_shutdown(stopping);
    let server = tokio::spawn(async move { server.await });
    tracing::info!(%address, %admin_address, version = env!("CARGO_PKG_VERSION"), "serving");
    Ok(Serving { hub, address, admin_address, server, _runtime: runtime })
}

impl Serving {
    /// Drains, ends streams, lets calls under way finish, and closes the sessions upstream.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.hub.drain();
        if self.hub.identity.hub.is_some() {
            while self.hub.drain() > 0 && !self.hub.drain_is_over() {
                tokio::time::sleep(DRAIN_LOOK).await;
            }
        }
        self.hub.stopping.cancel();
        let stopped = tokio::time::timeout(LAST_CALLS, self.server).await;
        // A server that is not told keeps the session, and a stdio child with it.
        let live = self.hub.live();
        let closing = live.servers.iter().filter_map(Slot::upstream).flat_map(Upstream::close);
        tokio::time::timeout(LAST_WORDS, futures::future::join_all(closing)).await.ok();
        if let Ok(served) = stopped {
            return Ok(served??);
        }
        tracing::warn!("calls under way were cut after {} s", LAST_CALLS.as_secs());
        Ok(())
    }
}

/// The config of a file, or what is wrong with it.
pub fn read(file: &Path, standalone: bool) -> anyhow::Result<HubConfig> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("{}: cannot be read", file.display()))?;
    parsed(&text, standalone).map_err(|problems| {
        let count = problems.0.len();
        anyhow::anyhow!(
            "{}: {count} problem{}\n{problems}",
            file.display(),
            if count == 1 { "" } else { "s" }
        )
    })
}

fn parsed(text: &str, standalone: bool) -> Result<HubConfig, config::ConfigErrors> {
    // What the operator compiled must mean the same in every pod, whatever its environment.
    if standalone {
        config::parse(text, &|name| std::env::var(name).ok())
    } else {
        config::parse_compiled(text)
    }
}

/// Puts every good new content of the file in force.
async fn follow(file: PathBuf, known: Option<Vec<u8>>, hub: Arc<Hub>) {
    mounted_files::follow(file, known, move |content| {
        match parsed(&String::from_utf8_lossy(content), true) {
            Ok(config) => {
                tracing::info!(servers = config.servers.len(), "config read again");
                hub.reload(config);
            }
            Err(problems) => tracing::error!(
                "the new config is not served, the last good one stays:\n{problems}"
            ),
        }
    })
    .await;
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

fn admin_of(hub: &Arc<Hub>, keys: watch::Receiver<Arc<KeyRing>>, runtime: &Runtime) -> Admin {
    let (ready, drain) = (Arc::clone(hub), Arc::clone(hub));
    Admin {
        metrics: hub.metrics.registry.clone(),
        keys,
        dataplane: runtime.subscribe(),
        ready: Box::new(move || ready.ready()),
        drain: Box::new(move || Drained { left: drain.drain() }),
    }
}
