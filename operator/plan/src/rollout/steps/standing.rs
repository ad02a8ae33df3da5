//! What the rules say about the step that a canary is at.

use std::time::Duration;

use crate::rollout::engine::Engine;
use crate::rollout::rules::judgment::{Judgment, RuleJudgment, Verdict};
use crate::rollout::rules::query_plan;
use crate::rollout::state::{Canary, StepState};
use crate::rollout::text::plain;

/// What the rules say about a step.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Standing {
    /// The bake continues, or there is no new evaluation.
    Baking,
    /// The bake is complete and the gates are met.
    Passed,
    Unmet(String),
    TooFew(String),
    NoData(String),
    ProviderDown(String),
}

/// How long a step waits for samples.
pub(super) fn longest_bake(engine: &Engine<'_>, step: &StepState) -> Duration {
    engine.input.policy.max_bake.unwrap_or(step.required().saturating_mul(3)).max(step.required())
}

pub(super) fn standing(engine: &Engine<'_>, canary: &Canary, step: &StepState) -> Standing {
    if step.required().is_zero() {
        return Standing::Passed;
    }
    if engine.input.policy.prometheus.is_none() {
        return Standing::ProviderDown(
            "the operator no longer has a Prometheus, so no bake can be observed".into(),
        );
    }
    let judgment =
        engine.state.judgment.as_ref().filter(|judgment| judgment.revision == canary.revision);
    // The evaluation must not be older than the interval: an operator that was away must evaluate
    // before it continues.
    let Some(judgment) = judgment.filter(|_| !query_plan::due(&engine.state, engine.input)) else {
        return Standing::Baking;
    };
    let rules = || {
        judgment
            .rules
            .iter()
            .filter(|rule| !rule.dry_run && rule.trigger != Some(Verdict::NotApplicable))
    };
    if let Some(outage) = outage(judgment, rules()) {
        return outage;
    }
    if step.observed() < step.required() {
        return Standing::Baking;
    }
    if rules().any(|rule| rule.gate.is_none()) {
        return Standing::Baking;
    }
    if let Some(unmet) = rules().find(|rule| matches!(rule.gate, Some(Verdict::Breach { .. }))) {
        return Standing::Unmet(gate_message(engine, unmet, step));
    }
    // A breach that has not yet lasted for its `for` blocks the next step. Callers would pay for
    // more traffic to such a revision.
    if let Some(breaching) =
        rules().find(|rule| matches!(rule.trigger, Some(Verdict::Breach { .. })))
    {
        return Standing::Unmet(format!(
            "rule {} is breached; either the breach ends, or the revision is rolled back",
            breaching.name
        ));
    }
    match rules().find_map(too_few_for) {
        Some(message) => Standing::TooFew(message),
        None => Standing::Passed,
    }
}

fn gate_message(engine: &Engine<'_>, judgment: &RuleJudgment, step: &StepState) -> String {
    let rule = engine.input.policy.rules.iter().find(|rule| rule.name == judgment.name);
    let bound = rule
        .and_then(|rule| rule.promote_when)
        .map_or_else(String::new, |bound| format!(", not {bound}"));
    let value = judgment.gate_value.map_or_else(|| "not met".into(), |value| value.to_string());
    format!("{} is {value} over the last {}{bound}", judgment.name, plain(step.required()))
}

/// Data is missing for at least one rule.
fn outage<'a>(
    judgment: &'a Judgment,
    rules: impl Iterator<Item = &'a RuleJudgment>,
) -> Option<Standing> {
    let of_rules = rules.flat_map(|rule| {
        let both = rule.trigger.iter().chain(&rule.gate);
        both.map(|verdict| (rule.name.as_str(), verdict))
    });
    let verdicts: Vec<_> =
        std::iter::once(("mcp_hub_info", &judgment.presence)).chain(of_rules).collect();
    if verdicts.iter().any(|(_, verdict)| **verdict == Verdict::ProviderDown) {
        return Some(Standing::ProviderDown(
            "Prometheus does not answer; nothing is judged until it does".into(),
        ));
    }
    let (name, _) = verdicts.iter().find(|(_, verdict)| **verdict == Verdict::NoData)?;
    Some(Standing::NoData(format!(
        "Prometheus has no data for {name}; check that it scrapes the canary's pods"
    )))
}

/// A gate says nothing on too few samples. Neither does a trigger, and then nobody would notice
/// that every request fails.
fn too_few_for(rule: &RuleJudgment) -> Option<String> {
    let verdicts = rule.gate.iter().chain(&rule.trigger);
    let mut too_few = verdicts.filter_map(|verdict| match verdict {
        Verdict::TooFew { have, need } => Some((have, need)),
        Verdict::Good
        | Verdict::Breach { .. }
        | Verdict::NoData
        | Verdict::ProviderDown
        | Verdict::NotApplicable => None,
    });
    let (have, need) = too_few.next()?;
    Some(format!("{} has {have} of {need} samples", rule.name))
}
