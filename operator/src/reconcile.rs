//! The reconcile of one hub: read, plan, check, apply, report. Every decision is in the plan crate.
//!
//! What takes traffic or flags away from a revision waits for nothing. Every reconcile starts with
//! it, and one that waits for something looks at the caches again every second.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use mcphub_crds::McpHub;
use mcphub_hub_wire::keys::MasterKey;
use mcphub_operator_plan::check::Violation;
use mcphub_operator_plan::next::Next;
use mcphub_operator_plan::plan::Plan;
use mcphub_operator_plan::probes::ProbeResults;
use mcphub_operator_plan::snapshot::{Operator, Snapshot};
use mcphub_operator_plan::{PlanInput, check, plan, status, urgent_plan};
use tokio::sync::{OnceCell, Semaphore, mpsc};
use tokio::time::sleep;
use tracing::{Instrument as _, debug, error, info, info_span, warn};

use crate::apply::{self, ApplyOutcome, Writer};
use crate::backoff::Backoff;
use crate::error_chain;
use crate::lease::Election;
use crate::metrics::Metrics;
use crate::observe::{self, Observer};
use crate::report::{self, Reporter};
use crate::stores::{HubName, Stores};
use crate::{config, master_key};

/// This many conflicts in a row are retried without delay. Each means only that a cache was late.
const AT_ONCE: u32 = 5;
/// Interval at which a reconcile that waits for something looks for a write that must not wait.
const GLANCE: Duration = Duration::from_secs(1);
/// Shortest wait before a reconcile in which a write failed.
const LEAST_WAIT: Duration = Duration::from_secs(1);
/// Interval at which an idle hub is reconciled. The operator may not read Secrets, so it cannot see
/// that somebody changed the key Secret. It writes the Secret again this often. A thousand hubs
/// make three such reconciles per second, each with one write that changes nothing.
const IDLE_INTERVAL: Duration = Duration::from_mins(5);

/// Everything that a reconcile needs. There is one for each watched scope.
pub(crate) struct Context {
    /// The caches of this scope.
    pub(crate) stores: Arc<Stores>,
    /// Reads from the cluster, from pods and from Prometheus.
    pub(crate) observer: Arc<Observer>,
    /// Writes the objects of hubs.
    pub(crate) writer: Arc<Writer>,
    /// Writes status and Events.
    pub(crate) reporter: Arc<Reporter>,
    /// Whether this replica may write.
    pub(crate) election: Election,
    /// Operator-wide inputs to every plan.
    pub(crate) operator: Arc<OperatorContext>,
    /// Consecutive failures of each hub.
    pub(crate) backoff: Backoff,
    /// One for each reconcile that may run at the same time, in all scopes.
    pub(crate) permits: Arc<Semaphore>,
    /// Hubs whose Prometheus has answered. They are reconciled.
    pub(crate) answered: mpsc::Sender<HubName>,
    pub(crate) metrics: Arc<Metrics>,
}

/// Operator-wide inputs to every plan; see [`Operator`].
#[derive(Debug)]
pub(crate) struct OperatorContext {
    /// Settings of the administrator.
    pub(crate) config: config::Config,
    /// The operator's namespace.
    pub(crate) namespace: String,
    /// Read or created by the first reconcile of a leader.
    pub(crate) master_key: OnceCell<MasterKey>,
}

/// Why a reconcile failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("failed to get the master key")]
    MasterKey(#[source] master_key::Error),
    #[error("failed to observe the hub")]
    Observe(#[source] observe::Error),
    /// A bug in the operator. Nothing was written.
    #[error("the plan violates an invariant and is not applied; please report this bug")]
    Plan(#[source] Violation),
    /// Part of the plan was applied, and the status says what was not.
    #[error("failed to apply the plan")]
    Apply {
        #[source]
        source: apply::Error,
        /// When the plan itself wants the next reconcile.
        next: Next,
    },
    /// The plan was applied.
    #[error("failed to write the status of the hub")]
    Report(#[source] report::Error),
    /// Another replica leads now, or may lead.
    #[error("this replica does not lead any more")]
    LeadershipLost,
}

impl Error {
    /// Label for metrics, from a small set.
    pub(crate) fn category(&self) -> &'static str {
        match self {
            _ if self.retry_after().is_some() => "throttled",
            Self::Apply { source, .. } if source.is_conflict() => "conflict",
            Self::MasterKey(_) | Self::Apply { .. } => "api",
            Self::Observe(_) => "observe",
            Self::Plan(_) => "plan",
            Self::Report(_) => "status",
            Self::LeadershipLost => "leadership",
        }
    }

    /// How long to wait, if the API server answered 429.
    fn retry_after(&self) -> Option<Duration> {
        let answer = match self {
            Self::Apply { source, .. } => source.source(),
            Self::Observe(observe::Error(error))
            | Self::Report(report::Error(error))
            | Self::MasterKey(master_key::Error::Kube(error)) => error,
            Self::MasterKey(_) | Self::Plan(_) | Self::LeadershipLost => return None,
        };
        let kube::Error::Api(status) = answer else { return None };
        let seconds =
            status.details.as_ref().map_or(1, |details| details.retry_after_seconds.max(1));
        (status.code == 429).then(|| Duration::from_secs(u64::from(seconds)))
    }
}

/// Reconciles one hub. A replica that does not lead does nothing: every hub is queued again when it
/// becomes the leader.
pub(crate) async fn reconcile(queued: Arc<McpHub>, context: Arc<Context>) -> Result<Action, Error> {
    let name =
        HubName { namespace: queued.namespace().unwrap_or_default(), name: queued.name_any() };
    let Some(term) = context.election.term() else { return Ok(Action::await_change()) };
    context.stores.synced().await;
    // The queue's copy may be older than our own last write of its status.
    let hub = context.stores.hubs.get(&name.namespace, &name.name).unwrap_or(queued);
    if hub.metadata.deletion_timestamp.is_some() {
        // The garbage collector deletes the objects. One that is created now could escape it.
        return Ok(Action::await_change());
    }
    let Ok(_permit) = context.permits.acquire().await else {
        return Ok(Action::await_change()); // nothing closes it
    };
    let span = info_span!("reconcile", namespace = name.namespace, hub = name.name, term);
    let measured = context.metrics.start_reconcile();
    let leader = Leader { name: &name, term, context: &context };
    let work = leader.reconcile(hub).instrument(span);
    let result = tokio::select! {
        biased;
        () = context.election.lost(term) => Err(Error::LeadershipLost),
        result = work => result,
    };
    measured.finish(result.is_ok());
    if result.is_ok() {
        context.backoff.reset(&name);
    }
    result
}

/// The reconcile of one hub by the leader of a term.
struct Leader<'a> {
    name: &'a HubName,
    term: u64,
    context: &'a Context,
}

impl Leader<'_> {
    async fn reconcile(&self, hub: Arc<McpHub>) -> Result<Action, Error> {
        let Context { stores, observer, writer, operator, .. } = self.context;
        let operator = operator.at_term(&writer.client, self.term); // I/O, once per process
        let operator = operator.await.map_err(Error::MasterKey)?;
        let fresh = observer.refresh_runtime(stores, self.name, self.term); // I/O, once per term
        fresh.await.map_err(Error::Observe)?;
        let snapshot = self.snapshot(&hub, &operator);
        let input = PlanInput::read(&snapshot); // pure
        let mut glances = true;
        if let Some(plan) = self.urgent_plan(&input) {
            match self.urgent(&snapshot, &plan).await? {
                Some(action) => return Ok(action),
                None => glances = false,
            }
        }
        let mut whole = pin!(self.whole(&hub, &snapshot, input));
        while glances {
            tokio::select! {
                biased;
                result = &mut whole => return result,
                () = sleep(GLANCE) => {}
            }
            let hubs = &stores.hubs;
            let Some(hub) = hubs.get(&self.name.namespace, &self.name.name) else { continue };
            let snapshot = self.snapshot(&hub, &operator);
            let Some(plan) = self.urgent_plan(&PlanInput::read(&snapshot)) else { continue };
            match self.urgent(&snapshot, &plan).await? {
                Some(action) => return Ok(action),
                None => glances = false,
            }
        }
        whole.await
    }

    /// What the caches have now.
    fn snapshot(&self, hub: &McpHub, operator: &Operator) -> Snapshot {
        let Context { stores, reporter, .. } = self.context;
        let sent_events = reporter.sent(self.name);
        let snapshot = stores.snapshot(self.name, hub, operator, Timestamp::now());
        Snapshot { sent_events, ..snapshot }
    }

    /// What must not wait, decided from what is there now.
    fn urgent_plan(&self, input: &PlanInput<'_>) -> Option<Plan> {
        let answers = self.context.observer.queries.answers(self.name);
        urgent_plan(input, answers.filter(|answers| input.fits(answers)).as_ref())
    }

    /// Does what must not wait. `None` if it fails: then the whole plan does it, too, and reports
    /// the failure.
    async fn urgent(&self, snapshot: &Snapshot, plan: &Plan) -> Result<Option<Action>, Error> {
        let Context { stores, writer, reporter, metrics, .. } = self.context;
        check(plan, snapshot, ProbeResults::EMPTY).map_err(Error::Plan)?;
        info!("taking traffic or flags away first");
        let outcome = writer.apply(stores, self.name, plan, metrics).await; // I/O: one write
        if outcome.acknowledged.objects.len() == plan.objects.len() {
            reporter.report(self.name, &snapshot.hub, plan).await; // I/O: writes
            return Ok(Some(requeue(plan.next)));
        }
        match outcome.into_error() {
            Some(source) if source.is_conflict() => Err(Error::Apply { source, next: plan.next }),
            Some(_) | None => Ok(None),
        }
    }

    async fn whole(
        &self,
        hub: &McpHub,
        snapshot: &Snapshot,
        input: PlanInput<'_>,
    ) -> Result<Action, Error> {
        let Context { stores, observer, .. } = self.context;
        if snapshot.unread_config_maps.is_empty() {
            return Box::pin(self.carry_out(hub, snapshot, input)).await;
        }
        let snapshot = observer.with_references(stores, self.name, snapshot.clone()).await; // I/O
        let input = PlanInput::read(&snapshot); // pure
        Box::pin(self.carry_out(hub, &snapshot, input)).await
    }

    /// Every line is marked as I/O or pure. All decisions are made by `plan`.
    async fn carry_out(
        &self,
        hub: &McpHub,
        snapshot: &Snapshot,
        input: PlanInput<'_>,
    ) -> Result<Action, Error> {
        let Leader { name, context, .. } = self;
        let Context { stores, observer, writer, reporter, election, answered, metrics, .. } =
            context;
        let probes = input.probes(); // pure
        let token = input.admin_token(); // pure
        let answers = observer.queries.answers(name); // what has come by now
        let answers = answers.filter(|answers| input.fits(answers)); // pure
        let results = observer.ask(name, hub, &token, probes, answers, answered).await; // I/O
        let plan = plan(input, &results); // pure, total
        check(&plan, snapshot, &results).map_err(Error::Plan)?; // pure: a bug stops here
        if let Some(newer) = plan.superseded_by {
            election.resign(newer);
            return Err(Error::LeadershipLost);
        }
        debug!(waits = ?plan.waits, next = ?plan.next, "planned");
        let outcome = writer.apply(stores, name, &plan, metrics).await; // I/O: writes
        reporter.send_events(hub, &outcome.events).await; // I/O: writes
        let mut next = plan.next;
        if outcome.state_written {
            next = next.or_sooner(reporter.report(name, hub, &plan).await); // I/O: writes
        }
        if self.reports(&outcome) {
            let status = status(&plan.status, &outcome.acknowledged); // pure
            reporter.write_status(stores, hub, status).await.map_err(Error::Report)?; // I/O: writes
        }
        let retry = outcome.retry_secrets_after.map_or(Next::Idle, Next::In);
        match outcome.into_error() {
            Some(source) => Err(Error::Apply { source, next }),
            None => Ok(requeue(next.or_sooner(retry))),
        }
    }

    /// A conflict means that a cache was late, and the next attempt follows at once. The status
    /// reports only one that lasts.
    fn reports(&self, outcome: &ApplyOutcome) -> bool {
        let only_conflicts = outcome.errors.iter().all(apply::Error::is_conflict);
        outcome.errors.is_empty()
            || !only_conflicts
            || self.context.backoff.failures(self.name) >= AT_ONCE
    }
}

impl OperatorContext {
    async fn at_term(
        &self,
        client: &kube::Client,
        term: u64,
    ) -> Result<Operator, master_key::Error> {
        let key = self
            .master_key
            .get_or_try_init(|| master_key::get_or_create(client, &self.namespace))
            .await?;
        let servers = self.config.prometheus.iter();
        Ok(Operator {
            version: env!("CARGO_PKG_VERSION").into(),
            hub_image: self.config.hub_image.clone(),
            image_pull_policy: self.config.image_pull_policy.clone(),
            term,
            prometheus: servers
                .map(|(name, server)| (name.clone(), server.timing.clone()))
                .collect(),
            master_key: key.clone(),
            namespace: self.namespace.clone(),
        })
    }
}

fn requeue(next: Next) -> Action {
    match next {
        Next::Now => Action::requeue(Duration::ZERO),
        Next::In(after) => Action::requeue(after),
        Next::Idle => Action::requeue(IDLE_INTERVAL.mul_f64(0.9 + 0.2 * rand::random::<f64>())),
    }
}

/// Decides when a failed reconcile is retried.
#[allow(clippy::needless_pass_by_value)] // the controller's signature
pub(crate) fn error_policy(hub: Arc<McpHub>, error: &Error, context: Arc<Context>) -> Action {
    let name = HubName { namespace: hub.namespace().unwrap_or_default(), name: hub.name_any() };
    context.metrics.record_error(error.category());
    let wait = match error {
        Error::LeadershipLost => return Action::await_change(),
        Error::Apply { source, .. } if source.is_conflict() => {
            if matches!(source, apply::Error::RuntimeConflict(_)) {
                // Another leader may have written it. Read it from the API server before planning
                // again.
                context.observer.runtime_reads.invalidate(&name);
            }
            context.backoff.record_conflict(&name, AT_ONCE)
        }
        // An object that cannot be written must not make the rules look less often.
        Error::Apply { next: Next::In(next), .. } if error.retry_after().is_none() => {
            context.backoff.record_failure(&name).min((*next).max(LEAST_WAIT))
        }
        _ => error.retry_after().unwrap_or_else(|| context.backoff.record_failure(&name)),
    };
    let (namespace, hub, category, cause) =
        (&name.namespace, &name.name, error.category(), error_chain::join(error));
    match error {
        Error::Plan(_) => {
            error!(namespace, hub, category, error = cause, retry_in = ?wait, "reconcile failed");
        }
        Error::Apply { source: apply::Error::Conflict { .. }, .. } => {
            debug!(namespace, hub, category, error = cause, "reconcile failed");
        }
        _ => warn!(namespace, hub, category, error = cause, retry_in = ?wait, "reconcile failed"),
    }
    Action::requeue(wait)
}
