//! What the router obeys at one moment: data plane state, pods, and the series and cuts of the live revisions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use mcphub_hub_routing::weights::{Endpoints, Pods};
use mcphub_hub_wire::dataplane::{Dataplane, Revision, Role};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::metrics::{Metrics, OfRevision};
use super::pods::{self, Listed, Names, Upstream};

/// Calls under way on a revision that is cut may go on for so long.
const ABORT_GRACE: Duration = Duration::from_secs(10);

/// One consistent moment; a request is decided on one of these.
#[derive(Debug)]
pub(super) struct Table {
    /// Roles and weights.
    pub dataplane: Arc<Dataplane>,
    /// Serving pods.
    pub pods: Pods<Upstream>,
    /// Of every live revision.
    pub live: BTreeMap<Revision, Arc<Live>>,
}

/// What the router keeps of a revision while it is live.
#[derive(Debug)]
pub(super) struct Live {
    /// Its series.
    pub metrics: OfRevision,
    /// Ends when calls that are under way must end: some time after the revision has failed.
    pub cut: CancellationToken,
    failed: bool,
}

/// Keeps the table up to date.
pub(super) struct Keeper {
    /// The table in force.
    pub table: Arc<ArcSwap<Table>>,
    /// The state that the table in force has.
    pub obeyed: watch::Sender<Arc<Dataplane>>,
    /// Where it is counted.
    pub metrics: Arc<Metrics>,
    /// How Services are called.
    pub names: Names,
}

impl Table {
    /// Nothing known.
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

impl Keeper {
    /// Makes a new table whenever state or pods change, until there will be no other state.
    pub(super) async fn keep(
        self,
        mut states: watch::Receiver<Arc<Dataplane>>,
        mut listed: watch::Receiver<Listed>,
    ) {
        loop {
            self.renew(
                Arc::clone(&states.borrow_and_update()),
                &listed.borrow_and_update().clone(),
            );
            tokio::select! {
                changed = states.changed() => if changed.is_err() { return },
                // A source of pods that is gone (no cluster) leaves the last list in force.
                Ok(()) = listed.changed() => {}
            }
        }
    }

    /// Puts this state and these pods in force.
    pub(super) fn renew(&self, dataplane: Arc<Dataplane>, listed: &Listed) {
        let before = self.table.load_full();
        let live = dataplane
            .revisions
            .iter()
            .map(|(revision, state)| {
                let failed = state.role == Role::Failed;
                let same = before.live.get(revision).filter(|live| live.failed == failed);
                let live = same.map_or_else(|| Arc::new(self.live(revision, failed)), Arc::clone);
                if let Some(old) = before.live.get(revision).filter(|old| failed && !old.failed) {
                    cut_later(revision, old.cut.clone());
                }
                (revision.clone(), live)
            })
            .collect();
        let pods = pods::of_live(&dataplane, listed, &self.names, &before.pods);
        let table = Table { dataplane: Arc::clone(&dataplane), pods, live };
        self.metrics.obey(dataplane.generation, &before.live, &table.live);
        self.table.store(Arc::new(table));
        // After the table: who reads the generation may rely on it.
        self.obeyed.send_replace(dataplane);
    }

    fn live(&self, revision: &Revision, failed: bool) -> Live {
        Live { metrics: self.metrics.of_revision(revision), cut: CancellationToken::new(), failed }
    }
}

fn cut_later(revision: &Revision, cut: CancellationToken) {
    tracing::warn!(%revision, "revision failed: new requests go elsewhere, calls under way end soon");
    tokio::spawn(async move {
        tokio::time::sleep(ABORT_GRACE).await;
        cut.cancel();
    });
}
