//! The rules: what is measured, what promotes, and what rolls back.

use std::time::Duration;

use mcphub_crds::rollout::{Metric, PromoteWhen, RollbackWhen, Rollout};

use super::{HubFeatures, PolicyProblem, PrometheusSource, too_short};

/// Default of `minSamples` for metrics of requests.
const MIN_SAMPLES: u32 = 50;
/// Default of `minSamples` for metrics that a hub measures by itself, in scrapes.
const MIN_SCRAPES: u32 = 1;

/// One metric with a promotion gate, a rollback trigger, or both.
#[derive(Debug, Clone, PartialEq)]
pub struct RulePolicy {
    /// Unique within the policy.
    pub name: String,
    pub metric: Metric,
    /// The gate that the next step waits for.
    pub promote_when: Option<Gate>,
    /// The trigger that rolls back.
    pub rollback_when: Option<Trigger>,
    /// The rule has no verdict with fewer samples than this.
    pub min_samples: u32,
    /// The rule is shown but never acted on.
    pub dry_run: bool,
    /// `false` if the hub does not have what the rule measures.
    pub applicable: bool,
}

/// The condition of a promotion gate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Gate {
    AtLeast(f64),
    AtMost(f64),
}

/// A rollback trigger.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trigger {
    /// The bad values.
    pub threshold: Threshold,
    /// How long the value must be bad, without a good value in between.
    pub lasting: Duration,
}

/// The condition of a rollback trigger.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Threshold {
    /// A lower value is bad.
    Below(f64),
    /// A higher value is bad.
    Above(f64),
}

impl Gate {
    pub fn is_met_by(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }
}

impl Threshold {
    pub fn is_breached_by(self, value: f64) -> bool {
        match self {
            Self::Below(bound) => value < bound,
            Self::Above(bound) => value > bound,
        }
    }
}

impl std::fmt::Display for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, "at least {bound}"),
            Self::AtMost(bound) => write!(f, "at most {bound}"),
        }
    }
}

impl std::fmt::Display for Threshold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Below(bound) => write!(f, "below {bound}"),
            Self::Above(bound) => write!(f, "above {bound}"),
        }
    }
}

/// The rules of the spec, or the default rules if it has none and there is a Prometheus.
pub(super) fn rules(
    spec: &Rollout,
    prometheus: Option<&PrometheusSource>,
    has: HubFeatures,
    problems: &mut Vec<PolicyProblem>,
) -> Vec<RulePolicy> {
    let Some(prometheus) = prometheus else {
        if !spec.rules.is_empty() && spec.prometheus.is_none() {
            problems.push(PolicyProblem::new(
                "rollout.rules",
                "needs a Prometheus, but the operator has none named \"main\"; configure one \
                 in the operator's settings, or remove the rules",
            ));
        }
        return Vec::new();
    };
    if spec.rules.is_empty() {
        return defaults(prometheus, has);
    }
    let rules = spec.rules.iter().enumerate();
    rules
        .filter_map(|(at, written)| {
            rule(&format!("rollout.rules[{at}]"), written, prometheus, has, problems)
        })
        .collect()
}

/// The default rules. A trigger with a `for` of less than four scrapes could fire because of one
/// late scrape.
fn defaults(prometheus: &PrometheusSource, has: HubFeatures) -> Vec<RulePolicy> {
    let minutes =
        |minutes: u64| Duration::from_secs(60 * minutes).max(prometheus.scrape_interval * 4);
    let rule = |name: &str, metric, promote_when, threshold, lasting| RulePolicy {
        name: name.into(),
        metric,
        promote_when,
        rollback_when: Some(Trigger { threshold, lasting: minutes(lasting) }),
        min_samples: min_samples(metric),
        dry_run: false,
        applicable: applicable(metric, has),
    };
    vec![
        rule(
            "error-rate",
            Metric::HubErrorRate,
            Some(Gate::AtMost(0.01)),
            Threshold::Above(0.10),
            2,
        ),
        rule(
            "hub-latency-p95",
            Metric::HubLatencyP95,
            Some(Gate::AtMost(0.1)),
            Threshold::Above(0.5),
            3,
        ),
        rule("availability", Metric::Availability, None, Threshold::Below(0.99), 1),
        rule(
            "llm-success-rate",
            Metric::LlmSuccessRate,
            Some(Gate::AtLeast(0.95)),
            Threshold::Below(0.85),
            5,
        ),
        rule("llm-latency-p95", Metric::LlmLatencyP95, None, Threshold::Above(5.0), 5),
        rule("circuit-breaker", Metric::CircuitBreakerOpen, None, Threshold::Above(0.0), 2),
    ]
}

/// A rule about something that the hub does not have is never evaluated and holds nothing up.
fn applicable(metric: Metric, has: HubFeatures) -> bool {
    match metric {
        Metric::HubErrorRate
        | Metric::ToolErrorRate
        | Metric::UpstreamErrorRate
        | Metric::Availability
        | Metric::HubLatencyP95 => true,
        Metric::LlmSuccessRate | Metric::LlmLatencyP95 | Metric::CircuitBreakerOpen => has.llm,
        Metric::SelectionRecall => has.golden_questions,
        Metric::MemoryGrowth => false,
    }
}

fn min_samples(metric: Metric) -> u32 {
    match metric {
        Metric::HubErrorRate
        | Metric::ToolErrorRate
        | Metric::UpstreamErrorRate
        | Metric::Availability
        | Metric::HubLatencyP95
        | Metric::LlmSuccessRate
        | Metric::LlmLatencyP95
        | Metric::MemoryGrowth => MIN_SAMPLES,
        Metric::CircuitBreakerOpen | Metric::SelectionRecall => MIN_SCRAPES,
    }
}

fn rule(
    field: &str,
    written: &mcphub_crds::rollout::Rule,
    prometheus: &PrometheusSource,
    has: HubFeatures,
    problems: &mut Vec<PolicyProblem>,
) -> Option<RulePolicy> {
    let found = problems.len();
    for (part, there) in [
        ("query", written.query.is_some()),
        ("compareToStable", written.compare_to_stable.is_some()),
        ("server", written.server.is_some()),
        ("tool", written.tool.is_some()),
    ] {
        if there {
            problems.push(PolicyProblem::new(
                format!("{field}.{part}"),
                "is not supported yet; remove it",
            ));
        }
    }
    let metric = match written.metric {
        Some(metric @ Metric::MemoryGrowth) => {
            problems.push(PolicyProblem::new(
                format!("{field}.metric"),
                format!("is {metric:?}, which is not supported yet"),
            ));
            metric
        }
        Some(metric) => metric,
        None => {
            problems.push(PolicyProblem::new(
                format!("{field}.metric"),
                "is missing; name one, such as HubErrorRate",
            ));
            return None;
        }
    };
    let promote_when = written.promote_when.as_ref().and_then(|when| gate(field, when, problems));
    let rollback_when =
        written.rollback_when.as_ref().and_then(|when| trigger(field, when, prometheus, problems));
    if promote_when.is_none() && rollback_when.is_none() && problems.len() == found {
        problems
            .push(PolicyProblem::new(field, "has neither promoteWhen nor rollbackWhen; add one"));
    }
    Some(RulePolicy {
        name: written.name.clone(),
        metric,
        promote_when,
        rollback_when,
        min_samples: written.min_samples.unwrap_or(min_samples(metric)),
        dry_run: written.dry_run.unwrap_or(false),
        applicable: applicable(metric, has),
    })
}

fn gate(field: &str, when: &PromoteWhen, problems: &mut Vec<PolicyProblem>) -> Option<Gate> {
    match (&when.at_least, &when.at_most) {
        (Some(bound), None) => Some(Gate::AtLeast(bound.get())),
        (None, Some(bound)) => Some(Gate::AtMost(bound.get())),
        (None, None) | (Some(_), Some(_)) => {
            problems.push(PolicyProblem::new(
                format!("{field}.promoteWhen"),
                "must set exactly one of atLeast and atMost",
            ));
            None
        }
    }
}

fn trigger(
    field: &str,
    when: &RollbackWhen,
    prometheus: &PrometheusSource,
    problems: &mut Vec<PolicyProblem>,
) -> Option<Trigger> {
    let lasting = when.lasting.get();
    problems.extend(too_short(&format!("{field}.rollbackWhen.for"), lasting, 4, prometheus));
    let threshold = match (&when.below, &when.above) {
        (Some(bound), None) => Threshold::Below(bound.get()),
        (None, Some(bound)) => Threshold::Above(bound.get()),
        (None, None) | (Some(_), Some(_)) => {
            problems.push(PolicyProblem::new(
                format!("{field}.rollbackWhen"),
                "must set exactly one of below and above",
            ));
            return None;
        }
    };
    Some(Trigger { threshold, lasting })
}
