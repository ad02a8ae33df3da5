//! Combinations of fields that are wrong. The CRD rejects them first; this is for an older CRD.

use mcphub_crds::McpHubSpec;
use mcphub_crds::rollout::Metric;

use crate::spec::problem::Problem;

/// A rule on recall without golden questions would never be evaluated, but users would trust it.
pub(super) fn recall_of_nothing(spec: &McpHubSpec) -> Option<Problem> {
    let rules = spec.rollout.as_ref().map(|rollout| &rollout.rules[..]).unwrap_or_default();
    let at = rules.iter().position(|rule| rule.metric == Some(Metric::SelectionRecall))?;
    let golden =
        spec.filtering.as_ref().is_some_and(|filtering| !filtering.golden_questions.is_empty());
    (!golden).then(|| {
        Problem::invalid(format!(
            "rollout.rules[{at}].metric is SelectionRecall, but there are no \
             filtering.goldenQuestions; add some, or remove the rule"
        ))
    })
}
