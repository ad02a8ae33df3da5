//! `mcp-hub route`: splits traffic between the revisions of a hub, sticky per session. Passes bytes.
//!
//! `listen -> forward (table, mcphub_hub_routing::weights) -> ticket`; `table` is renewed from `runtime` and `pods`.

mod answers;
mod forward;
mod leaving;
mod listen;
mod metrics;
pub mod pods;
mod request_body;
mod table;
mod ticket;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use axum::Router;
use mcphub_hub_wire::dataplane::{Dataplane, SCHEMA};
use mcphub_hub_wire::keys::KeyRing;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::admin::{self, Admin};
use crate::dataplane::{self, Runtime, Watched};
use crate::{args, keys};
use forward::Forwarder;
use leaving::Leaving;
use listen::Edge;
use metrics::Metrics;
use pods::{Discovery, Names};
use table::{Keeper, Table};

/// After SIGTERM, for what is under way: the pod's grace period is its drain time and 30 s.
const LAST_CALLS: Duration = Duration::from_secs(25);

/// What a router is made of.
pub struct Parts {
    /// The hub.
    pub names: Names,
    /// Live data plane state.
    pub dataplane: watch::Receiver<Arc<Dataplane>>,
    /// Keys of session ids and admin tokens.
    pub keys: watch::Receiver<Arc<KeyRing>>,
    /// What tells which pods there are.
    pub discovery: Discovery,
    /// Clients come here.
    pub listener: TcpListener,
    /// The admin port.
    pub admin_listener: TcpListener,
}

/// Routes until SIGTERM or SIGINT, and then until nothing is under way.
pub async fn run(args: args::Route) -> anyhow::Result<()> {
    let client = dataplane::in_cluster();
    let watched = client.clone().map(|client| Watched {
        client,
        namespace: args.namespace.clone(),
        hub: args.hub.clone(),
    });
    let runtime = Runtime::start(Some(&args.runtime), watched);
    let bind = async |address| {
        TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
    };
    let parts = Parts {
        dataplane: runtime.subscribe(),
        keys: keys::follow(&args.keys)?,
        discovery: client.map_or(Discovery::None, |client| Discovery::Cluster {
            client,
            namespace: args.namespace.clone(),
        }),
        names: Names { hub: args.hub, namespace: args.namespace },
        listener: bind(args.listen).await?,
        admin_listener: bind(args.admin_listen).await?,
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let (listen, admin) = (parts.listener.local_addr()?, parts.admin_listener.local_addr()?);
    tracing::info!(%listen, %admin, "router starts");
    serve(parts, stop).await
}

/// Routes until `stop` ends, and then until nothing is under way.
pub async fn serve(parts: Parts, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    let Parts { names, dataplane, keys, discovery, listener, admin_listener } = parts;
    let metrics = Arc::new(Metrics::new(&names.namespace, &names.hub)?);
    let leaving = Arc::new(Leaving::new(metrics.in_flight.clone()));
    let nothing = Arc::new(Dataplane { schema: SCHEMA, generation: 0, revisions: [].into() });
    let table = Arc::new(ArcSwap::from_pointee(Table::empty(Arc::clone(&nothing))));
    let (obeyed, generation) = watch::channel(nothing);

    let listed = discovery.start(&names.hub).await;
    let keeper = Keeper { table: Arc::clone(&table), obeyed, metrics: Arc::clone(&metrics), names };
    let keeping = tokio::spawn(keeper.keep(dataplane, listed));

    let ready = readiness(Arc::clone(&table), Arc::clone(&leaving));
    let admin = Admin {
        metrics: metrics.registry(),
        keys: keys.clone(),
        dataplane: generation,
        ready: Box::new(ready.clone()),
        drain: Box::new({
            let leaving = Arc::clone(&leaving);
            move || leaving.leave()
        }),
    };
    let admin = tokio::spawn(admin::serve(
        admin_listener,
        admin::router(admin, Router::new(), Router::new()),
        std::future::pending(),
    ));
    let edge = Edge {
        forwarder: Forwarder::new(table, keys, Arc::clone(&metrics)),
        leaving: Arc::clone(&leaving),
        ready: Box::new(move || ready().is_ok()),
        connections: metrics.connections.clone(),
    };
    let stopped = async {
        stop.await;
        leaving.left(LAST_CALLS).await;
    };
    Arc::new(edge).serve(listener, stopped).await;
    admin.abort();
    keeping.abort();
    Ok(())
}

/// Once ready, a router stays so until it leaves: with all pods of the hub down, its 503 with Retry-After says more
/// than a refused connection.
fn readiness(
    table: Arc<ArcSwap<Table>>,
    leaving: Arc<Leaving>,
) -> impl Fn() -> Result<(), String> + Clone + Send + Sync + 'static {
    let was_ready = Arc::new(std::sync::OnceLock::new());
    move || {
        if leaving.is_leaving() {
            return Err("leaving".into());
        }
        if was_ready.get().is_some() {
            return Ok(());
        }
        let table = table.load();
        if table.dataplane.generation == 0 {
            return Err("no data plane state has been read yet".into());
        }
        if !table.has_pod() {
            return Err("no pod of the hub is ready yet".into());
        }
        was_ready.get_or_init(|| ());
        Ok(())
    }
}
