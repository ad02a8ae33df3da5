//! What a plan needs besides the snapshot. No probe changes the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use mcphub_hub_wire::admin::SelfCheck;
use mcphub_hub_wire::dataplane::Revision;

use crate::api::{Object, ObjectName};

/// Everything that must be asked before a plan is made.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Probes {
    /// Objects that the plan may create. A name among them may belong to somebody else.
    pub names: BTreeSet<ObjectName>,
    /// Objects of a revision that has no ControllerRevision yet, to be applied with `dryRun=All`.
    /// Only the API server can validate pod-shaped fields, and it must do so before the revision is
    /// recorded.
    pub dry_runs: Vec<Object>,
    /// Pods (name to IP) whose self-check is due.
    pub self_checks: BTreeMap<String, String>,
    /// Router pods (name to IP) whose generation matters now.
    pub router_generations: BTreeMap<String, String>,
    /// Queries that are due.
    pub prometheus: Option<PrometheusQueries>,
}

/// Queries for one Prometheus.
#[derive(Debug, Clone, PartialEq)]
pub struct PrometheusQueries {
    /// Name of the Prometheus in the operator's settings.
    pub server: String,
    /// The instant for which the queries are made.
    pub at: Timestamp,
    /// Never empty.
    pub queries: Vec<Query>,
}

/// What a Prometheus answered to the queries about one hub. That can be a while after they were
/// made.
#[derive(Debug, Clone, PartialEq)]
pub struct PrometheusAnswers {
    /// The instant for which the queries were made.
    pub at: Timestamp,
    pub queries: Vec<Query>,
    /// One result for each query.
    pub results: BTreeMap<QueryKey, QueryResult>,
}

/// One PromQL query.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// Key of the result in [`PrometheusAnswers::results`].
    pub key: QueryKey,
    /// The expression.
    pub promql: String,
    /// The instants at which it is evaluated.
    pub span: Span,
}

/// Identifies a query and its result.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueryKey {
    /// The revision that is being evaluated, also where the numbers are those of the revision it is
    /// compared with.
    pub revision: Revision,
    /// What the numbers are for.
    pub purpose: QueryPurpose,
}

/// What the result of a query is used for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum QueryPurpose {
    /// Whether pods of the revision are scraped.
    Presence,
    /// A rule's rollback trigger.
    Trigger(String, QuerySeries),
    /// A rule's promotion gate.
    Gate(String, QuerySeries),
    /// The value of a rule on the revision that this one is compared with.
    Comparison(String),
    /// The tools with the most failures that a rule counts. No verdict waits for the result.
    Failures(String),
}

/// Which of the two series of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum QuerySeries {
    /// The value of the metric.
    Value,
    /// The number of samples behind the value.
    Samples,
}

/// When a query is evaluated.
#[derive(Debug, Clone, PartialEq)]
pub enum Span {
    /// At one instant (`/api/v1/query`).
    At(Timestamp),
    /// At `start`, `start + step`, … up to `end` (`/api/v1/query_range`).
    Range {
        /// First point.
        start: Timestamp,
        /// Last point at most.
        end: Timestamp,
        /// Distance between points.
        step: Duration,
    },
}

/// The answers to [`Probes`], as far as they are known.
#[derive(Debug, Clone, Default)]
pub struct ProbeResults {
    /// Those of [`Probes::names`] that exist and are not controlled by this McpHub.
    pub taken: BTreeSet<ObjectName>,
    /// Those of [`Probes::names`] whose owner could not be looked up.
    pub unknown_names: BTreeSet<ObjectName>,
    /// The API server's messages for those of [`Probes::dry_runs`] that it refused (400, 403, 422).
    pub refused: BTreeMap<ObjectName, String>,
    /// Those of [`Probes::dry_runs`] that the API server neither accepted nor refused.
    pub untried: BTreeSet<ObjectName>,
    /// By pod; the error says why the pod did not answer.
    pub self_checks: BTreeMap<String, Result<SelfCheck, String>>,
    /// By router pod; the error says why the pod did not answer.
    pub router_generations: BTreeMap<String, Result<u64, String>>,
    /// The answers of Prometheus that [`crate::PlanInput::fits`]; `None` if they have not come yet.
    /// Nothing is judged without them.
    pub prometheus: Option<PrometheusAnswers>,
}

impl ProbeResults {
    /// The results before anything was asked.
    pub const EMPTY: &'static Self = &Self {
        taken: BTreeSet::new(),
        unknown_names: BTreeSet::new(),
        refused: BTreeMap::new(),
        untried: BTreeSet::new(),
        self_checks: BTreeMap::new(),
        router_generations: BTreeMap::new(),
        prometheus: None,
    };
}

/// The result of one [`Query`].
#[derive(Debug, Clone, PartialEq)]
pub enum QueryResult {
    /// Every series with its points. NaN points are kept.
    Series(Vec<Series>),
    /// Prometheus did not answer, or answered with an error. The message has no credentials in it.
    Failed(String),
}

/// One series of a query result.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub labels: BTreeMap<String, String>,
    /// Instant and value, in time order; one point for [`Span::At`].
    pub points: Vec<(Timestamp, f64)>,
}
