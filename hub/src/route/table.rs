//! The routing table: the data plane state and the pods in force at one moment, with the metrics
//! and abort tokens of the live revisions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use mcphub_hub_routing::decision::{Endpoints, Pods};
use mcphub_hub_wire::dataplane::{Dataplane, Revision, Role};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::metrics::{Metrics, RevisionMetrics};
use super::pods::{self, PodList, ServiceNames, Upstream};

/// How long requests in flight may go on after their revision has failed.
const ABORT_GRACE: Duration = Duration::from_secs(10);

/// A consistent state. Each attempt to forward a request uses one table.
#[derive(Debug)]
pub(super) struct Table {
    pub dataplane: Arc<Dataplane>,
    pub pods: Pods<Upstream>,
    pub live: BTreeMap<Revision, Arc<LiveRevision>>,
}

/// What the router keeps about a revision while the data plane state names it.
#[derive(Debug)]
pub(super) struct LiveRevision {
    pub metrics: RevisionMetrics,
    /// Canceled when requests in flight must end, which is [`ABORT_GRACE`] after the revision
    /// failed.
    pub abort: CancellationToken,
    failed: bool,
}

/// Keeps the table up to date.
pub(super) struct TableUpdater {
    pub table: Arc<ArcSwap<Table>>,
    /// Gets the state of a table when the table is in force.
    pub in_force: watch::Sender<Arc<Dataplane>>,
    pub metrics: Arc<Metrics>,
    pub names: ServiceNames,
}

impl Table {
    /// A table without pods.
    pub(super) fn empty(dataplane: Arc<Dataplane>) -> Self {
        Self { dataplane, pods: Pods::new(), live: BTreeMap::new() }
    }

    /// Whether there is a pod that a new request could go to.
    pub(super) fn has_pod(&self) -> bool {
        self.pods.values().any(|endpoints| match endpoints {
            Endpoints::Pods(pods) => pods.iter().any(|pod| pod.ready),
            Endpoints::Service(_) => true,
        })
    }
}

impl TableUpdater {
    /// Updates the table whenever the state or the pods change. Returns when the sender of states
    /// is gone.
    pub(super) async fn run(
        self,
        mut states: watch::Receiver<Arc<Dataplane>>,
        mut pods: watch::Receiver<PodList>,
    ) {
        loop {
            self.update(Arc::clone(&states.borrow_and_update()), &pods.borrow_and_update().clone());
            tokio::select! {
                changed = states.changed() => if changed.is_err() { return },
                // Without a cluster, the sender of pods is gone from the start. The last list
                // stays in force.
                Ok(()) = pods.changed() => {}
            }
        }
    }

    /// Puts this state and these pods in force.
    pub(super) fn update(&self, dataplane: Arc<Dataplane>, pods: &PodList) {
        let before = self.table.load_full();
        let live = dataplane
            .revisions
            .iter()
            .map(|(revision, state)| {
                let failed = state.role == Role::Failed;
                let same = before.live.get(revision).filter(|live| live.failed == failed);
                let live = same.map_or_else(|| Arc::new(self.live(revision, failed)), Arc::clone);
                if let Some(old) = before.live.get(revision).filter(|old| failed && !old.failed) {
                    abort_later(revision, old.abort.clone());
                }
                (revision.clone(), live)
            })
            .collect();
        let pods = pods::live_pods(&dataplane, pods, &self.names, &before.pods);
        let table = Table { dataplane: Arc::clone(&dataplane), pods, live };
        self.metrics.set_generation(dataplane.generation, &before.live, &table.live);
        self.table.store(Arc::new(table));
        // Published after the table: whoever reads the generation relies on it being in force.
        self.in_force.send_replace(dataplane);
    }

    fn live(&self, revision: &Revision, failed: bool) -> LiveRevision {
        let metrics = self.metrics.for_revision(revision);
        LiveRevision { metrics, abort: CancellationToken::new(), failed }
    }
}

fn abort_later(revision: &Revision, abort: CancellationToken) {
    tracing::warn!(
        %revision,
        grace = ?ABORT_GRACE,
        "revision failed: it gets no new requests, and requests in flight end after the grace"
    );
    tokio::spawn(async move {
        tokio::time::sleep(ABORT_GRACE).await;
        abort.cancel();
    });
}
