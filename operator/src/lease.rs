//! Leader election on one `coordination.k8s.io` Lease.
//!
//! * `spec.leaseTransitions` is the **term**. Whoever takes the Lease over raises it, so no term is
//!   used twice. A leader writes its term into a hub's runtime ConfigMap before it changes anything
//!   else of the hub. If it finds a higher term there, its leadership is over.
//! * A leader acts until [`Timing::renew_deadline`] after it *sent* its last successful renewal. A
//!   follower takes over when it has *observed* the Lease unchanged for [`Timing::lease_duration`].
//! * If somebody deletes the Lease, the terms start at 1 again. The new leader then finds a higher
//!   term in the first hub, resigns, and takes part again with a term above it.

mod elector;

use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

pub(crate) use self::elector::Timing;
use self::elector::{Action, Elector, Leadership};
use crate::error_chain;
use crate::metrics::Metrics;

/// What a replica needs to take part in the election.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Name of the Lease.
    pub(crate) name: String,
    /// Namespace of the Lease, which is the operator's own.
    pub(crate) namespace: String,
    /// Identifies this process. It must differ from that of every other process, also of later
    /// ones.
    pub(crate) identity: String,
    /// The periods of the election.
    pub(crate) timing: Timing,
}

/// The election as the rest of the operator sees it.
#[derive(Debug, Clone)]
pub(crate) struct Election {
    leadership: watch::Receiver<Option<Leadership>>,
    resignations: mpsc::Sender<u64>,
}

impl Election {
    /// The term of our leadership, if we lead at this instant.
    pub(crate) fn term(&self) -> Option<u64> {
        self.leadership.borrow().filter(Leadership::is_valid).map(|leadership| leadership.term)
    }

    /// Waits until the leadership of `term` has been lost, has expired or has been resigned.
    pub(crate) async fn lost(&self, term: u64) {
        let mut receiver = self.leadership.clone();
        loop {
            let current = *receiver.borrow_and_update();
            let Some(leadership) =
                current.filter(|leadership| leadership.term == term && leadership.is_valid())
            else {
                return;
            };
            let expiry = std::pin::pin!(sleep_until(leadership.until));
            let change = std::pin::pin!(receiver.changed());
            if let Either::Right((Err(_), _)) = select(expiry, change).await {
                return;
            }
        }
    }

    /// Waits for a leadership whose term is not `last` and returns its term.
    ///
    /// `None` means that the election has stopped.
    pub(crate) async fn new_term(&self, last: Option<u64>) -> Option<u64> {
        let mut receiver = self.leadership.clone();
        let is_new = |leadership: &Option<Leadership>| {
            leadership.is_some_and(|leadership| Some(leadership.term) != last)
        };
        let leadership = *receiver.wait_for(is_new).await.ok()?;
        leadership.map(|leadership| leadership.term)
    }

    /// Resigns because another leader has acted with the term `higher`.
    pub(crate) fn resign(&self, higher: u64) {
        // If the channel is full, a resignation is already pending.
        let _ = self.resignations.try_send(higher);
    }
}

/// Takes part in the election until `stop` is cancelled. The task then releases the Lease and ends.
pub(crate) fn start(
    client: Client,
    settings: Settings,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> (Election, JoinHandle<()>) {
    let (publisher, leadership) = watch::channel(None);
    let (resignations, resigned) = mpsc::channel(1);
    let replica = Replica {
        leases: Api::namespaced(client, &settings.namespace),
        elector: Elector::new(settings.identity.clone(), settings.timing),
        settings,
        publisher,
        metrics,
        in_sync: false,
    };
    (Election { leadership, resignations }, tokio::spawn(replica.run(resigned, stop)))
}

struct Replica {
    leases: Api<Lease>,
    settings: Settings,
    elector: Elector,
    publisher: watch::Sender<Option<Leadership>>,
    metrics: Arc<Metrics>,
    /// The elector has the Lease as it is now, so it need not be read first.
    in_sync: bool,
}

impl Replica {
    async fn run(mut self, mut resigned: mpsc::Receiver<u64>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(error) = self.try_acquire_or_renew().await {
                self.in_sync = false;
                self.metrics.record_error("lease");
                warn!(error = error_chain::join(&error), "failed to read or write the Lease");
            }
            self.publish();
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(self.retry_delay()) => {}
                Some(higher) = resigned.recv() => {
                    warn!(higher, "another leader has a higher term, resigning");
                    self.release(Some(higher)).await;
                }
            }
        }
        self.release(None).await;
    }

    async fn try_acquire_or_renew(&mut self) -> Result<(), Error> {
        let limit = self.request_timeout();
        if !self.in_sync {
            let lease = timeout(limit, self.leases.get_opt(&self.settings.name))
                .await
                .map_err(|_| Error::Timeout)??;
            self.elector.observe(lease, Instant::now());
        }
        let sent_at = Instant::now();
        let response = match self.elector.next_action(sent_at, Timestamp::now()) {
            Action::Wait => return Ok(()),
            Action::Create(mut lease) => {
                lease.metadata.name = Some(self.settings.name.clone());
                timeout(limit, self.leases.create(&PostParams::default(), &lease)).await
            }
            Action::Replace(lease) => {
                timeout(
                    limit,
                    self.leases.replace(&self.settings.name, &PostParams::default(), &lease),
                )
                .await
            }
        };
        match response.map_err(|_| Error::Timeout)? {
            Ok(lease) => {
                self.in_sync = true;
                self.elector.acquire(lease, sent_at);
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {
                self.in_sync = false;
                debug!("another replica wrote the Lease first");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Publishes the leadership to the rest of the operator.
    fn publish(&self) {
        let current = self.elector.leadership(Instant::now());
        let previous = self.publisher.send_replace(current);
        self.metrics.leader.set(i64::from(current.is_some()));
        match (
            previous.map(|leadership| leadership.term),
            current.map(|leadership| leadership.term),
        ) {
            (previous, Some(term)) if previous != Some(term) => info!(term, "started leading"),
            (Some(term), None) => warn!(term, "stopped leading"),
            _ => {}
        }
    }

    async fn release(&mut self, min_term: Option<u64>) {
        self.metrics.leader.set(0);
        // Before the request, so that nothing is written while the release is on its way.
        self.publisher.send_replace(None);
        self.in_sync = false;
        let Some(lease) = self.elector.resign(min_term, Instant::now()) else { return };
        match timeout(
            self.request_timeout(),
            self.leases.replace(&self.settings.name, &PostParams::default(), &lease),
        )
        .await
        {
            Ok(Ok(_)) => info!("released the Lease"),
            Ok(Err(error)) => {
                let error = error_chain::join(&error);
                warn!(error, "failed to release the Lease, it will expire");
            }
            Err(_) => warn!("timed out releasing the Lease, it will expire"),
        }
    }

    /// A request that hangs must leave time for another one before the deadline.
    fn request_timeout(&self) -> Duration {
        self.settings.timing.renew_deadline / 2
    }

    fn retry_delay(&self) -> Duration {
        let period = self.settings.timing.retry_period;
        if self.elector.leadership(Instant::now()).is_some() {
            return period;
        }
        // Followers that check at the same moment would race for a free Lease.
        period.mul_f64(1.0 + 0.2 * rand::random::<f64>())
    }
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("timed out waiting for the API server")]
    Timeout,
    #[error(transparent)]
    Kube(#[from] kube::Error),
}
