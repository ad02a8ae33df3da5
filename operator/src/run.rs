//! Starts everything, and stops it in the order that leaves no half-done work and a free Lease.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use kube::{Client, Config as KubeConfig};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::OnceCell;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::admin::{self, Admin};
use crate::apply::{Contest, SecretsWritten, Writer};
use crate::args::{Args, BadTiming};
use crate::backoff::Backoff;
use crate::config::{self, Config};
use crate::controller;
use crate::lease::{self, Election};
use crate::metrics::Metrics;
use crate::observe::{Observer, Pods, Prometheus, Read};
use crate::reconcile::{Brings, Context};
use crate::report::Reporter;
use crate::stores::{Scope, Stores};

/// Longest wait for reconciles that run when we are told to stop; the kubelet kills after 30 s.
const GRACE: Duration = Duration::from_secs(15);
/// Longest silence of the API server in one request that is not a watch.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why the operator can't run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line.
    #[error(transparent)]
    Timing(#[from] BadTiming),
    /// The settings file.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// How to reach the API server.
    #[error("the API server's address and credentials are not known")]
    Infer(#[source] kube::config::InferConfigError),
    /// The client.
    #[error("a client of the API server cannot be made")]
    Client(#[source] kube::Error),
    /// The other clients.
    #[error("an HTTP client cannot be made")]
    Http(#[from] reqwest::Error),
    /// Metrics.
    #[error("metrics cannot be made")]
    Metrics(#[from] prometheus::Error),
    /// The admin port, or signals.
    #[error("the operating system refuses")]
    System(#[from] std::io::Error),
}

/// Runs until SIGTERM or SIGINT.
pub async fn run(args: Args) -> Result<(), Error> {
    let timing = args.timing()?;
    let config = Config::read(&args.config)?;
    let (watching, asking) = clients().await?;
    let metrics = Arc::new(Metrics::new(config.prometheus.keys())?);
    let (stop_queue, stop_lease, stop_admin) =
        (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());

    // A restarted container has the pod's name too, but is another process: it must not think the Lease its own.
    let identity = format!("{}_{:08x}", args.pod, rand::random::<u32>());
    let settings = lease::Settings {
        name: args.lease.clone(),
        namespace: args.namespace.clone(),
        identity,
        timing,
    };
    let (election, lease) =
        lease::stand(asking.clone(), settings, metrics.clone(), stop_lease.clone());

    let contexts = contexts(&args, config, &asking, &election, &metrics)?;
    let admin = Admin {
        metrics,
        stores: contexts.iter().map(|(_, context)| context.stores.clone()).collect(),
    };
    let listener = TcpListener::bind(args.admin_listen).await?;
    let admin = tokio::spawn(admin::serve(listener, admin, stop_admin.clone()));
    let controllers = contexts.into_iter().map(|(scope, context)| {
        tokio::spawn(controller::run(
            watching.clone(),
            scope,
            context,
            args.concurrency,
            stop_queue.clone(),
        ))
    });
    let mut controllers = join_all(controllers);
    info!(version = env!("CARGO_PKG_VERSION"), namespace = args.namespace, "started");

    tokio::select! {
        () = told_to_stop()? => info!("stopping"),
        _ = &mut controllers => warn!("the queue has ended"),
    }
    stop_queue.cancel();
    if timeout(GRACE, controllers).await.is_err() {
        warn!("some reconciles did not finish in time and are dropped");
    }
    stop_lease.cancel(); // after the last write
    let _ = lease.await;
    stop_admin.cancel();
    let _ = timeout(Duration::from_secs(2), admin).await;
    info!("stopped");
    Ok(())
}

/// Two clients: watches are silent for minutes, everything else must answer or fail.
async fn clients() -> Result<(Client, Client), Error> {
    let config = KubeConfig::infer().await.map_err(Error::Infer)?;
    let mut impatient = config.clone();
    impatient.connect_timeout = Some(PATIENCE / 2);
    impatient.read_timeout = Some(PATIENCE);
    impatient.write_timeout = Some(PATIENCE);
    impatient.default_retry = false; // who retries must know what it was for; see reconcile::again
    Ok((
        Client::try_from(config).map_err(Error::Client)?,
        Client::try_from(impatient).map_err(Error::Client)?,
    ))
}

fn contexts(
    args: &Args,
    config: Config,
    client: &Client,
    election: &Election,
    metrics: &Arc<Metrics>,
) -> Result<Vec<(Scope, Arc<Context>)>, Error> {
    let observer = Arc::new(Observer {
        client: client.clone(),
        pods: Pods::new()?,
        prometheus: Prometheus::new(&config.prometheus, metrics.clone())?,
        read: Read::default(),
    });
    let writer = Arc::new(Writer {
        client: client.clone(),
        secrets: SecretsWritten::default(),
        contest: Contest::default(),
    });
    let reporter = Arc::new(Reporter::new(client.clone(), args.pod.clone()));
    let scopes = config.scopes.clone();
    let operator =
        Arc::new(Brings { config, namespace: args.namespace.clone(), master_key: OnceCell::new() });
    let context = || Context {
        stores: Arc::new(Stores::default()),
        observer: observer.clone(),
        writer: writer.clone(),
        reporter: reporter.clone(),
        election: election.clone(),
        operator: operator.clone(),
        backoff: Backoff::default(),
        metrics: metrics.clone(),
    };
    Ok(scopes.into_iter().map(|scope| (scope, Arc::new(context()))).collect())
}

fn told_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    })
}
