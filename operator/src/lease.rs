//! Leader election on one `coordination.k8s.io` Lease.
//!
//! * `spec.leaseTransitions` is the **term**: raised by whoever takes the Lease over, never reused. It is written into
//!   each hub's runtime ConfigMap before anything else is done there; a higher one found there ends a leadership.
//! * A leader acts until [`Timing::renew_deadline`] after the *sending* of its last successful renewal, others take
//!   over after [`Timing::lease`] without a change *as they saw it*.
//! * A Lease that was deleted starts at 1 again; the leader then meets a higher term in the first hub, resigns, and
//!   stands again with a term above it.

mod candidate;

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

use self::candidate::{Candidate, Move};
pub use self::candidate::{Leadership, Timing};
use crate::metrics::Metrics;
use crate::words;

/// What a replica needs to stand for election.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Name of the Lease.
    pub name: String,
    /// Namespace of the Lease: the operator's own.
    pub namespace: String,
    /// This process; no other and no later one has the same.
    pub identity: String,
    /// The periods.
    pub timing: Timing,
}

/// What others see of the election: who asks gets the term, as long as it may be acted upon.
#[derive(Debug, Clone)]
pub struct Election {
    state: watch::Receiver<Option<Leadership>>,
    resignations: mpsc::Sender<u64>,
}

impl Election {
    /// Term of our leadership, if we lead at this instant.
    pub fn term(&self) -> Option<u64> {
        self.state.borrow().filter(|held| Instant::now() < held.until).map(|held| held.term)
    }

    /// Waits until the leadership of `term` is over, be it lost, expired or given up.
    pub async fn lost(&self, term: u64) {
        let mut state = self.state.clone();
        loop {
            let held = *state.borrow_and_update();
            let Some(held) = held.filter(|held| held.term == term && Instant::now() < held.until)
            else {
                return;
            };
            let expiry = std::pin::pin!(sleep_until(held.until));
            let change = std::pin::pin!(state.changed());
            if let Either::Right((Err(_), _)) = select(expiry, change).await {
                return;
            }
        }
    }

    /// Waits for a leadership other than that of the term `known`, and answers its term.
    pub async fn won(&self, known: Option<u64>) -> Option<u64> {
        let mut state = self.state.clone();
        let held =
            state.wait_for(|held| held.is_some_and(|held| Some(held.term) != known)).await.ok()?;
        held.map(|held| held.term)
    }

    /// Gives leadership up because somebody acted with the term `higher`.
    pub fn resign(&self, higher: u64) {
        let _ = self.resignations.try_send(higher); // one that waits already does the same
    }
}

/// Starts standing. The task ends after `stop`, when the Lease has been released.
pub fn stand(
    client: Client,
    settings: Settings,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> (Election, JoinHandle<()>) {
    let (publish, state) = watch::channel(None);
    let (resignations, resigned) = mpsc::channel(1);
    let replica = Replica {
        leases: Api::namespaced(client, &settings.namespace),
        candidate: Candidate::new(settings.identity.clone(), settings.timing),
        settings,
        publish,
        metrics,
        in_sync: false,
    };
    (Election { state, resignations }, tokio::spawn(replica.run(resigned, stop)))
}

struct Replica {
    leases: Api<Lease>,
    settings: Settings,
    candidate: Candidate,
    publish: watch::Sender<Option<Leadership>>,
    metrics: Arc<Metrics>,
    /// The candidate has seen the Lease as it is now, so that it need not be read first.
    in_sync: bool,
}

impl Replica {
    async fn run(mut self, mut resigned: mpsc::Receiver<u64>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(error) = self.turn().await {
                self.in_sync = false;
                self.metrics.error("lease");
                warn!(error = words::of(&error), "the Lease cannot be read or written");
            }
            self.tell();
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(self.pause()) => {}
                Some(higher) = resigned.recv() => {
                    warn!(higher, "somebody leads with a higher term: giving leadership up");
                    self.release(Some(higher)).await;
                }
            }
        }
        self.release(None).await;
    }

    /// One look at the Lease and what follows from it.
    async fn turn(&mut self) -> Result<(), Error> {
        let patience = self.patience();
        if !self.in_sync {
            let lease = timeout(patience, self.leases.get_opt(&self.settings.name))
                .await
                .map_err(|_| Error::Slow)??;
            self.candidate.see(lease, Instant::now());
        }
        let asked = Instant::now();
        let answer = match self.candidate.next(asked, Timestamp::now()) {
            Move::Wait => return Ok(()),
            Move::Create(mut lease) => {
                lease.metadata.name = Some(self.settings.name.clone());
                timeout(patience, self.leases.create(&PostParams::default(), &lease)).await
            }
            Move::Replace(lease) => {
                timeout(
                    patience,
                    self.leases.replace(&self.settings.name, &PostParams::default(), &lease),
                )
                .await
            }
        };
        match answer.map_err(|_| Error::Slow)? {
            Ok(lease) => {
                self.in_sync = true;
                self.candidate.won(lease, asked);
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {
                self.in_sync = false;
                debug!("somebody else was faster");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Publishes what the candidate has come to.
    fn tell(&self) {
        let held = self.candidate.leadership(Instant::now());
        let before = self.publish.send_replace(held);
        self.metrics.leader.set(i64::from(held.is_some()));
        match (before.map(|held| held.term), held.map(|held| held.term)) {
            (before, Some(term)) if before != Some(term) => info!(term, "leading"),
            (Some(term), None) => warn!(term, "not leading any more"),
            _ => {}
        }
    }

    async fn release(&mut self, floor: Option<u64>) {
        self.metrics.leader.set(0);
        self.publish.send_replace(None); // first, so that nothing is written while the Lease is on its way
        self.in_sync = false;
        let Some(lease) = self.candidate.resign(floor, Instant::now()) else { return };
        match timeout(
            self.patience(),
            self.leases.replace(&self.settings.name, &PostParams::default(), &lease),
        )
        .await
        {
            Ok(Ok(_)) => info!("released the Lease"),
            Ok(Err(error)) => {
                warn!(error = words::of(&error), "the Lease could not be released and will expire")
            }
            Err(_) => warn!("the Lease could not be released in time and will expire"),
        }
    }

    /// Longest wait for one answer: a hanging request must leave time for another before the deadline.
    fn patience(&self) -> Duration {
        self.settings.timing.renew_deadline / 2
    }

    fn pause(&self) -> Duration {
        let retry = self.settings.timing.retry;
        if self.candidate.leadership(Instant::now()).is_some() {
            return retry;
        }
        // Followers that look in step race for a free Lease.
        retry.mul_f64(1.0 + 0.2 * rand::random::<f64>())
    }
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("no answer in time")]
    Slow,
    #[error(transparent)]
    Kube(#[from] kube::Error),
}
