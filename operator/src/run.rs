//! Starts everything, and stops it in the order that finishes the work in progress and releases the
//! Lease.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use kube::{Client, Config as KubeConfig};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OnceCell, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::admin::{self, Admin};
use crate::apply::{DriftConflicts, SecretsWritten, Writer};
use crate::args::{Args, InvalidTiming};
use crate::backoff::Backoff;
use crate::config::{self, Config};
use crate::controller;
use crate::lease::{self, Election};
use crate::metrics::Metrics;
use crate::observe::{Observer, PendingQueries, Pods, Prometheus, RuntimeReads};
use crate::reconcile::{Context, OperatorContext};
use crate::report::Reporter;
use crate::stores::{HubName, Scope, Stores};

/// Longest wait for the reconciles in progress at shutdown. The kubelet kills the process after 30
/// s.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(15);
/// Hubs that wait for the work queue because their Prometheus has answered. The task that has asked
/// for one more hub waits.
const ANSWERED: usize = 64;
/// Longest wait for the API server's response to a request that is not a watch.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Timing(#[from] InvalidTiming),
    #[error(transparent)]
    Config(#[from] config::Error),
    #[error("failed to find the API server's address and credentials")]
    Infer(#[source] kube::config::InferConfigError),
    #[error("failed to create a Kubernetes client")]
    Client(#[source] kube::Error),
    #[error("failed to create an HTTP client")]
    Http(#[from] reqwest::Error),
    #[error("failed to register metrics")]
    Metrics(#[from] prometheus::Error),
    /// Binding the admin port or installing the signal handlers failed.
    #[error("system error")]
    System(#[from] std::io::Error),
}

/// Runs until SIGTERM or SIGINT.
pub async fn run(args: Args) -> Result<(), Error> {
    let timing = args.timing()?;
    let config = Config::read(&args.config)?;
    let (watch_client, request_client) = clients().await?;
    let metrics = Arc::new(Metrics::new(config.prometheus.keys())?);
    let (stop_queue, stop_lease, stop_admin) =
        (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());

    // A restarted container has the same pod name, but it must not take the Lease for its own.
    let identity = format!("{}_{:08x}", args.pod, rand::random::<u32>());
    let settings = lease::Settings {
        name: args.lease.clone(),
        namespace: args.namespace.clone(),
        identity,
        timing,
    };
    let (election, lease) =
        lease::start(request_client.clone(), settings, metrics.clone(), stop_lease.clone());

    let contexts = contexts(&args, config, &request_client, &election, &metrics)?;
    let admin = Admin {
        metrics,
        stores: contexts.iter().map(|(_, context, _)| context.stores.clone()).collect(),
    };
    let listener = TcpListener::bind(args.admin_listen).await?;
    let connections = admin.metrics.connections()?;
    let admin = tokio::spawn(admin::serve(listener, admin, connections, stop_admin.clone()));
    let controllers = contexts.into_iter().map(|(scope, context, answered)| {
        tokio::spawn(controller::run(
            watch_client.clone(),
            scope,
            context,
            answered,
            args.concurrency,
            stop_queue.clone(),
        ))
    });
    let mut controllers = join_all(controllers);
    info!(version = env!("CARGO_PKG_VERSION"), namespace = args.namespace, "started");

    tokio::select! {
        () = shutdown_signal()? => info!("stopping"),
        _ = &mut controllers => warn!("the work queues have ended"),
    }
    stop_queue.cancel();
    if timeout(SHUTDOWN_GRACE, controllers).await.is_err() {
        warn!("shutdown deadline reached with reconciles in progress");
    }
    stop_lease.cancel(); // after the last write
    let _ = lease.await;
    stop_admin.cancel();
    let _ = timeout(Duration::from_secs(2), admin).await;
    info!("stopped");
    Ok(())
}

/// A client for watches, which can be silent for minutes, and one whose requests time out.
async fn clients() -> Result<(Client, Client), Error> {
    let config = KubeConfig::infer().await.map_err(Error::Infer)?;
    let mut bounded = config.clone();
    bounded.connect_timeout = Some(REQUEST_TIMEOUT / 2);
    bounded.read_timeout = Some(REQUEST_TIMEOUT);
    bounded.write_timeout = Some(REQUEST_TIMEOUT);
    // Only the caller knows how to retry; see the error policy of the reconciler.
    bounded.default_retry = false;
    Ok((
        Client::try_from(config).map_err(Error::Client)?,
        Client::try_from(bounded).map_err(Error::Client)?,
    ))
}

/// A scope, its context, and the hubs in it whose Prometheus has answered.
type Scoped = (Scope, Arc<Context>, mpsc::Receiver<HubName>);

fn contexts(
    args: &Args,
    config: Config,
    client: &Client,
    election: &Election,
    metrics: &Arc<Metrics>,
) -> Result<Vec<Scoped>, Error> {
    let prometheus = Prometheus::new(&config.prometheus, metrics.clone())?;
    let observer = Arc::new(Observer {
        client: client.clone(),
        pods: Pods::new()?,
        queries: Arc::new(PendingQueries::new(prometheus)),
        runtime_reads: RuntimeReads::default(),
        metrics: metrics.clone(),
    });
    let writer = Arc::new(Writer {
        client: client.clone(),
        secrets: SecretsWritten::default(),
        conflicts: DriftConflicts::default(),
    });
    let reporter = Arc::new(Reporter::new(client.clone(), args.pod.clone(), metrics.clone()));
    let scopes = config.scopes.clone();
    let operator = Arc::new(OperatorContext {
        config,
        namespace: args.namespace.clone(),
        master_key: OnceCell::new(),
    });
    let permits = Arc::new(Semaphore::new(usize::from(args.concurrency)));
    let context = |answered| Context {
        stores: Arc::new(Stores::default()),
        observer: observer.clone(),
        writer: writer.clone(),
        reporter: reporter.clone(),
        election: election.clone(),
        operator: operator.clone(),
        backoff: Backoff::default(),
        permits: permits.clone(),
        answered,
        metrics: metrics.clone(),
    };
    let with_context = |scope| {
        let (answered, hubs) = mpsc::channel(ANSWERED);
        (scope, Arc::new(context(answered)), hubs)
    };
    Ok(scopes.into_iter().map(with_context).collect())
}

fn shutdown_signal() -> std::io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    })
}
