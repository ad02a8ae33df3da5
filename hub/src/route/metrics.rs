//! What the router measures. Every series of a live revision exists as 0 from the moment the data plane names it,
//! so that "no errors" is a number.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mcphub_hub_wire::dataplane::Revision;
use prometheus::core::{Collector, GenericGauge};
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    Opts, Registry,
};

/// Value of the label `revision` of answers that no revision made.
const NO_REVISION: &str = "none";
/// Seconds. Fine where the default latency rules look (100 and 500 ms).
const BUCKETS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    30.0, 60.0,
];

/// How a request ended, as far as one can tell who reads no bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Status under 400.
    Ok,
    /// 4xx, or given up by the client.
    CallerError,
    /// No answer, a broken stream, or 5xx.
    HubError,
}

/// Why the router itself turned a request away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rejected {
    /// Over the bound on requests at a time.
    TooMany,
    /// Nothing has weight yet.
    NoWeight,
    /// Nothing that may serve has a Ready pod.
    NoPod,
    /// The session id is not one of this hub.
    UnknownSession,
    /// The session's revision was rolled back.
    RevisionFailed,
    /// The session's pod or revision is not there any more.
    PodGone,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    duration: HistogramVec,
    sessions: IntCounterVec,
    connect_failures: IntCounterVec,
    last_forward: GaugeVec,
    rejected: IntCounterVec,
    /// Requests served by another revision than the drawn one.
    pub failovers: IntCounter,
    /// Requests and streams under way.
    pub in_flight: IntGauge,
    /// Open connections of clients.
    pub connections: IntGauge,
    generation: IntGauge,
}

/// The series of one revision.
#[derive(Debug)]
pub(super) struct OfRevision {
    ok: IntCounter,
    caller_error: IntCounter,
    hub_error: IntCounter,
    duration: Histogram,
    /// Sessions begun.
    pub sessions: IntCounter,
    /// Connections that a pod did not take.
    pub connect_failures: IntCounter,
    last_forward: Gauge,
}

impl Metrics {
    /// Registers everything, with the constant labels of a hub.
    pub(super) fn new(namespace: &str, hub: &str) -> prometheus::Result<Self> {
        let labels =
            HashMap::from([("namespace".into(), namespace.into()), ("hub".into(), hub.into())]);
        let registry = Registry::new_custom(None, Some(labels))?;
        let counter = |name: &str, help: &str, labels: &[&str]| {
            registered(&registry, IntCounterVec::new(Opts::new(name, help), labels)?)
        };
        let gauge = |name: &str, help: &str| registered(&registry, GenericGauge::new(name, help)?);
        let requests = counter(
            "mcp_router_requests_total",
            "Requests by revision and outcome.",
            &["revision", "outcome"],
        )?;
        for outcome in [Outcome::Ok, Outcome::CallerError, Outcome::HubError] {
            requests.with_label_values(&[NO_REVISION, outcome.label()]);
        }
        let rejected = counter(
            "mcp_router_rejected_total",
            "Requests that the router itself turned away.",
            &["reason"],
        )?;
        for reason in Rejected::ALL {
            rejected.with_label_values(&[reason.label()]);
        }
        let duration = HistogramOpts::new(
            "mcp_router_request_duration_seconds",
            "From the request's head to the last byte of its answer; listening streams (GET) are left out.",
        );
        let last_forward = Opts::new(
            "mcp_router_last_forward_timestamp_seconds",
            "When this router last began to forward a request to the revision; 0: never.",
        );
        Ok(Self {
            requests,
            rejected,
            duration: registered(
                &registry,
                HistogramVec::new(duration.buckets(BUCKETS.into()), &["revision"])?,
            )?,
            sessions: counter("mcp_router_sessions_total", "Sessions begun.", &["revision"])?,
            connect_failures: counter(
                "mcp_router_connect_failures_total",
                "Connections that a pod did not take.",
                &["revision"],
            )?,
            last_forward: registered(&registry, GaugeVec::new(last_forward, &["revision"])?)?,
            failovers: registered(
                &registry,
                IntCounter::new(
                    "mcp_router_failovers_total",
                    "Requests served by another revision because the drawn one had no pod to take them.",
                )?,
            )?,
            in_flight: gauge("mcp_router_requests_in_flight", "Requests and streams under way.")?,
            connections: gauge("mcp_router_connections", "Open connections of clients.")?,
            generation: gauge(
                "mcp_router_generation",
                "Generation of the data plane state in force.",
            )?,
            registry,
        })
    }

    /// What the admin port shows.
    pub(super) fn registry(&self) -> Registry {
        self.registry.clone()
    }

    /// The series of a revision; makes them, as 0, if there are none yet.
    pub(super) fn of_revision(&self, revision: &Revision) -> OfRevision {
        let label = revision.as_str();
        let requests =
            |outcome: Outcome| self.requests.with_label_values(&[label, outcome.label()]);
        OfRevision {
            ok: requests(Outcome::Ok),
            caller_error: requests(Outcome::CallerError),
            hub_error: requests(Outcome::HubError),
            duration: self.duration.with_label_values(&[label]),
            sessions: self.sessions.with_label_values(&[label]),
            connect_failures: self.connect_failures.with_label_values(&[label]),
            last_forward: self.last_forward.with_label_values(&[label]),
        }
    }

    /// Counts a request that the router answered itself. Where a revision's pods took no connection it is that
    /// revision's error, whatever the client was told: a dead canary counts nothing itself.
    pub(super) fn reject(&self, reason: Rejected, blamed: Option<&OfRevision>) {
        self.rejected.with_label_values(&[reason.label()]).inc();
        match blamed {
            Some(revision) => revision.count(Outcome::HubError),
            None => self.requests.with_label_values(&[NO_REVISION, reason.outcome().label()]).inc(),
        }
    }

    /// A generation is in force: its number, and no series of revisions that were live before and are not now.
    pub(super) fn obey<T>(
        &self,
        generation: u64,
        before: &BTreeMap<Revision, T>,
        now: &BTreeMap<Revision, T>,
    ) {
        self.generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
        for gone in before.keys().filter(|revision| !now.contains_key(*revision)) {
            let label = gone.as_str();
            for outcome in [Outcome::Ok, Outcome::CallerError, Outcome::HubError] {
                self.requests.remove_label_values(&[label, outcome.label()]).ok();
            }
            self.duration.remove_label_values(&[label]).ok();
            self.sessions.remove_label_values(&[label]).ok();
            self.connect_failures.remove_label_values(&[label]).ok();
            self.last_forward.remove_label_values(&[label]).ok();
        }
    }
}

impl OfRevision {
    /// Counts a request.
    pub(super) fn count(&self, outcome: Outcome) {
        match outcome {
            Outcome::Ok => self.ok.inc(),
            Outcome::CallerError => self.caller_error.inc(),
            Outcome::HubError => self.hub_error.inc(),
        }
    }

    /// Takes the time of a request.
    pub(super) fn took(&self, time: Duration) {
        self.duration.observe(time.as_secs_f64());
    }

    /// A request is about to be forwarded: what a rollback's reaction time is measured by.
    pub(super) fn forwarding(&self) {
        self.last_forward.set(
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64()),
        );
    }
}

impl Outcome {
    fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::CallerError => "caller_error",
            Self::HubError => "hub_error",
        }
    }
}

impl Rejected {
    const ALL: [Self; 6] = [
        Self::TooMany,
        Self::NoWeight,
        Self::NoPod,
        Self::UnknownSession,
        Self::RevisionFailed,
        Self::PodGone,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::TooMany => "too_many",
            Self::NoWeight => "no_weight",
            Self::NoPod => "no_pod",
            Self::UnknownSession => "unknown_session",
            Self::RevisionFailed => "revision_failed",
            Self::PodGone => "pod_gone",
        }
    }

    fn outcome(self) -> Outcome {
        match self {
            Self::TooMany | Self::NoWeight | Self::NoPod => Outcome::HubError,
            Self::UnknownSession | Self::RevisionFailed | Self::PodGone => Outcome::CallerError,
        }
    }
}

fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    metric: C,
) -> prometheus::Result<C> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
