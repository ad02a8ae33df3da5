//! The router's metrics. Every series of a revision exists as 0 as soon as the data plane state
//! names the revision. Otherwise a rollout rule could not tell "no errors" from "no data".

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mcphub_hub_listen::ConnectionMetrics;
use mcphub_hub_wire::dataplane::Revision;
use prometheus::core::{Collector, GenericGauge};
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    Opts, Registry,
};

/// Value of the label `revision` for responses of the router itself.
const NO_REVISION: &str = "none";
/// In seconds. Fine-grained around 100 and 500 ms, which the default latency rules use.
const BUCKETS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    30.0, 60.0,
];

/// The outcome of a request, as far as the router can tell without reading bodies. A subset of
/// `mcphub_hub_protocol::outcome::Outcome`, with the same labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RouterOutcome {
    /// Status under 400.
    Ok,
    /// 4xx, or the client disconnected.
    CallerError,
    /// No response, a broken stream, or 5xx.
    HubError,
}

/// Why the router rejected a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RejectReason {
    /// Too many requests are in flight.
    TooMany,
    /// No revision has weight yet.
    NoWeight,
    /// No revision that may serve the request has a Ready pod.
    NoPod,
    /// The session id was not issued by this hub.
    UnknownSession,
    /// The session's revision was rolled back.
    RevisionFailed,
    /// The session's pod or revision is gone.
    PodGone,
}

#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    duration: HistogramVec,
    sessions: IntCounterVec,
    connect_failures: IntCounterVec,
    last_forward: GaugeVec,
    rejected: IntCounterVec,
    pub failovers: IntCounter,
    /// Requests and streams.
    pub in_flight: IntGauge,
    pub connections: ConnectionMetrics,
    generation: IntGauge,
}

/// The metrics of one revision.
#[derive(Debug)]
pub(super) struct RevisionMetrics {
    ok: IntCounter,
    caller_error: IntCounter,
    hub_error: IntCounter,
    duration: Histogram,
    pub sessions: IntCounter,
    pub connect_failures: IntCounter,
    last_forward: Gauge,
}

impl Metrics {
    /// Registers all metrics, with the constant labels `namespace` and `hub`.
    pub(super) fn new(namespace: &str, hub: &str) -> prometheus::Result<Self> {
        let labels =
            HashMap::from([("namespace".into(), namespace.into()), ("hub".into(), hub.into())]);
        let registry = Registry::new_custom(None, Some(labels))?;
        let counter = |name: &str, help: &str, labels: &[&str]| {
            register(&registry, IntCounterVec::new(Opts::new(name, help), labels)?)
        };
        let gauge = |name: &str, help: &str| register(&registry, GenericGauge::new(name, help)?);
        let requests = counter(
            "mcp_router_requests_total",
            "Requests by revision and outcome.",
            &["revision", "outcome"],
        )?;
        for outcome in [RouterOutcome::Ok, RouterOutcome::CallerError, RouterOutcome::HubError] {
            requests.with_label_values(&[NO_REVISION, outcome.label()]);
        }
        let rejected = counter(
            "mcp_router_rejected_total",
            "Requests that the router rejected.",
            &["reason"],
        )?;
        for reason in RejectReason::ALL {
            rejected.with_label_values(&[reason.label()]);
        }
        let duration = HistogramOpts::new(
            "mcp_router_request_duration_seconds",
            "From the head of the request to the last byte of the response, without GET streams.",
        );
        let last_forward = Opts::new(
            "mcp_router_last_forward_timestamp_seconds",
            "When this router last started to forward a request to the revision. 0 means never.",
        );
        let duration = HistogramVec::new(duration.buckets(BUCKETS.into()), &["revision"])?;
        let failovers = IntCounter::new(
            "mcp_router_failovers_total",
            "Requests served by another revision because the drawn one had no pod.",
        )?;
        Ok(Self {
            requests,
            rejected,
            duration: register(&registry, duration)?,
            sessions: counter("mcp_router_sessions_total", "Sessions opened.", &["revision"])?,
            connect_failures: counter(
                "mcp_router_connect_failures_total",
                "Failed connections to a pod.",
                &["revision"],
            )?,
            last_forward: register(&registry, GaugeVec::new(last_forward, &["revision"])?)?,
            failovers: register(&registry, failovers)?,
            in_flight: gauge("mcp_router_requests_in_flight", "Requests and streams in flight.")?,
            connections: ConnectionMetrics::register(&registry, "mcp_router")?,
            generation: gauge(
                "mcp_router_generation",
                "Generation of the data plane state in force.",
            )?,
            registry,
        })
    }

    pub(super) fn registry(&self) -> Registry {
        self.registry.clone()
    }

    /// The metrics of a revision. Creates each series as 0 if it does not exist yet.
    pub(super) fn for_revision(&self, revision: &Revision) -> RevisionMetrics {
        let label = revision.as_str();
        let requests =
            |outcome: RouterOutcome| self.requests.with_label_values(&[label, outcome.label()]);
        RevisionMetrics {
            ok: requests(RouterOutcome::Ok),
            caller_error: requests(RouterOutcome::CallerError),
            hub_error: requests(RouterOutcome::HubError),
            duration: self.duration.with_label_values(&[label]),
            sessions: self.sessions.with_label_values(&[label]),
            connect_failures: self.connect_failures.with_label_values(&[label]),
            last_forward: self.last_forward.with_label_values(&[label]),
        }
    }

    /// Counts a rejected request. `unreachable` is the revision whose pods took no connection, if
    /// that is why. It is counted as that revision's error, because a dead canary counts nothing
    /// itself.
    pub(super) fn reject(&self, reason: RejectReason, unreachable: Option<&RevisionMetrics>) {
        self.rejected.with_label_values(&[reason.label()]).inc();
        match unreachable {
            Some(revision) => revision.count(RouterOutcome::HubError),
            None => self.requests.with_label_values(&[NO_REVISION, reason.outcome().label()]).inc(),
        }
    }

    /// Sets the generation in force, and removes the series of revisions that are not live any
    /// more.
    pub(super) fn set_generation<T>(
        &self,
        generation: u64,
        before: &BTreeMap<Revision, T>,
        now: &BTreeMap<Revision, T>,
    ) {
        self.generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
        for gone in before.keys().filter(|revision| !now.contains_key(*revision)) {
            let label = gone.as_str();
            for outcome in [RouterOutcome::Ok, RouterOutcome::CallerError, RouterOutcome::HubError]
            {
                self.requests.remove_label_values(&[label, outcome.label()]).ok();
            }
            self.duration.remove_label_values(&[label]).ok();
            self.sessions.remove_label_values(&[label]).ok();
            self.connect_failures.remove_label_values(&[label]).ok();
            self.last_forward.remove_label_values(&[label]).ok();
        }
    }
}

impl RevisionMetrics {
    pub(super) fn count(&self, outcome: RouterOutcome) {
        match outcome {
            RouterOutcome::Ok => self.ok.inc(),
            RouterOutcome::CallerError => self.caller_error.inc(),
            RouterOutcome::HubError => self.hub_error.inc(),
        }
    }

    pub(super) fn observe_duration(&self, duration: Duration) {
        self.duration.observe(duration.as_secs_f64());
    }

    /// Records that a request is forwarded now. Tests measure with it how fast a rollback takes
    /// effect.
    pub(super) fn mark_forward(&self) {
        self.last_forward.set(
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64()),
        );
    }
}

impl RouterOutcome {
    fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::CallerError => "caller_error",
            Self::HubError => "hub_error",
        }
    }
}

impl RejectReason {
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

    fn outcome(self) -> RouterOutcome {
        match self {
            Self::TooMany | Self::NoWeight | Self::NoPod => RouterOutcome::HubError,
            Self::UnknownSession | Self::RevisionFailed | Self::PodGone => {
                RouterOutcome::CallerError
            }
        }
    }
}

fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    metric: C,
) -> prometheus::Result<C> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
