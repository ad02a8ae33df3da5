//! `mcp-hub route`: splits traffic between the revisions of a hub, sticky per session.
//!
//! A request goes through `listen -> forward -> in_flight`. `forward` chooses a pod with the
//! `table` and `mcphub_hub_routing::decision`. The table follows the data plane state and `pods`.
//! The router does not read bodies.

mod drain;
mod forward;
mod in_flight;
mod listen;
mod metrics;
pub mod pods;
mod request_body;
mod responses;
mod table;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use axum::Router;
use mcphub_hub_listen::ConnectionMetrics;
use mcphub_hub_wire::dataplane::{Dataplane, SCHEMA};
use mcphub_hub_wire::keys::KeyRing;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::admin::{self, Admin};
use crate::dataplane::{self, DataplaneFollower, RuntimeConfigMap};
use crate::{args, keys};
use drain::Drain;
use forward::Forwarder;
use listen::Edge;
use metrics::Metrics;
use pods::{Discovery, ServiceNames};
use table::{Table, TableUpdater};

/// How long requests in flight may take after SIGTERM. The termination grace period of the pod is
/// its drain time plus 30 s.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(25);

/// The inputs of a router.
pub struct RouterInputs {
    pub names: ServiceNames,
    pub dataplane: watch::Receiver<Arc<Dataplane>>,
    /// The keys of session ids and admin tokens.
    pub keys: watch::Receiver<Arc<KeyRing>>,
    pub discovery: Discovery,
    /// The listener for clients.
    pub listener: TcpListener,
    pub admin_listener: TcpListener,
}

/// Routes until SIGTERM or SIGINT, and then until no request is in flight.
pub async fn run(args: args::Route) -> anyhow::Result<()> {
    let client = dataplane::in_cluster_client();
    let watched = client.clone().map(|client| RuntimeConfigMap {
        client,
        namespace: args.namespace.clone(),
        hub: args.hub.clone(),
    });
    let runtime = DataplaneFollower::start(Some(&args.runtime), watched);
    let bind = async |address| {
        TcpListener::bind(address).await.with_context(|| format!("failed to listen on {address}"))
    };
    let inputs = RouterInputs {
        dataplane: runtime.subscribe(),
        keys: keys::follow(&args.keys)?,
        discovery: client.map_or(Discovery::None, |client| Discovery::Cluster {
            client,
            namespace: args.namespace.clone(),
        }),
        names: ServiceNames { hub: args.hub, namespace: args.namespace },
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
    let (listen, admin) = (inputs.listener.local_addr()?, inputs.admin_listener.local_addr()?);
    tracing::info!(%listen, %admin, "router started");
    serve(inputs, stop).await
}

/// Routes until `stop` resolves, and then until no request is in flight.
pub async fn serve(inputs: RouterInputs, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    let RouterInputs { names, dataplane, keys, discovery, listener, admin_listener } = inputs;
    let metrics = Arc::new(Metrics::new(&names.namespace, &names.hub)?);
    let drain = Arc::new(Drain::new(metrics.in_flight.clone()));
    let initial = Arc::new(Dataplane { schema: SCHEMA, generation: 0, revisions: [].into() });
    let table = Arc::new(ArcSwap::from_pointee(Table::empty(Arc::clone(&initial))));
    let (in_force, generation) = watch::channel(initial);

    let pods = discovery.start(&names.hub).await;
    let updater =
        TableUpdater { table: Arc::clone(&table), in_force, metrics: Arc::clone(&metrics), names };
    let updating = tokio::spawn(updater.run(dataplane, pods));

    let ready = readiness(Arc::clone(&table), Arc::clone(&drain));
    let admin = Admin {
        metrics: metrics.registry(),
        keys: keys.clone(),
        dataplane: generation,
        allows_host: Box::new(|_| false),
        ready: Box::new(ready.clone()),
        drain: Box::new({
            let drain = Arc::clone(&drain);
            move || drain.start()
        }),
    };
    let admin = tokio::spawn(admin::serve(
        admin_listener,
        admin::router(admin, Router::new(), Router::new()),
        ConnectionMetrics::register(&metrics.registry(), "mcp_router_admin")?,
    ));
    let edge = Edge {
        forwarder: Forwarder::new(table, keys, Arc::clone(&metrics)),
        drain: Arc::clone(&drain),
        ready: Box::new(move || ready().is_ok()),
        connections: metrics.connections.clone(),
    };
    let stopped = async {
        stop.await;
        drain.finish(DRAIN_TIMEOUT).await;
    };
    Arc::new(edge).serve(listener, stopped).await;
    admin.abort();
    updating.abort();
    Ok(())
}

/// Once ready, a router stays ready until it drains. With all pods of the hub down, its 503 with
/// Retry-After tells clients more than a refused connection.
fn readiness(
    table: Arc<ArcSwap<Table>>,
    drain: Arc<Drain>,
) -> impl Fn() -> Result<(), String> + Clone + Send + Sync + 'static {
    let was_ready = Arc::new(std::sync::OnceLock::new());
    move || {
        if drain.has_started() {
            return Err("the router is draining".into());
        }
        if was_ready.get().is_some() {
            return Ok(());
        }
        let table = table.load();
        if table.dataplane.generation == 0 {
            return Err("no data plane state was read yet".into());
        }
        if !table.has_pod() {
            return Err("no pod of the hub is ready yet".into());
        }
        was_ready.get_or_init(|| ());
        Ok(())
    }
}
