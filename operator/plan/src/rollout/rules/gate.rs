//! Evaluates promotion gates from increments over the last `bake` of observed time.
//! [`super::query_plan`] computes that window.

use jiff::Timestamp;

use super::judgment::Verdict;
use super::series::{Points, newest, points, whole};
use crate::probes::QueryResult;
use crate::rollout::policy::RulePolicy;

/// Evaluates one gate. A rule without a gate still needs samples, because a bake without traffic
/// proves nothing.
pub(crate) fn read(
    rule: &RulePolicy,
    now: Timestamp,
    value: Option<&QueryResult>,
    samples: Option<&QueryResult>,
) -> Verdict {
    let Some(samples) = samples else { return Verdict::NoData };
    if matches!(points(samples), Points::Down)
        || value.is_some_and(|value| matches!(points(value), Points::Down))
    {
        return Verdict::ProviderDown;
    }
    let Some(have) = newest(Some(samples)) else { return Verdict::NoData };
    if have < f64::from(rule.min_samples) {
        return Verdict::TooFew { have: whole(have), need: rule.min_samples };
    }
    let Some(bound) = rule.promote_when else { return Verdict::Good };
    match newest(value) {
        None => Verdict::NoData,
        Some(value) if bound.is_met_by(value) => Verdict::Good,
        Some(_) => Verdict::Breach { since: now },
    }
}
