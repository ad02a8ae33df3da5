//! What the results of the queries say about each rule.

use super::bake::Bake;
use super::judgment::{Judgment, RuleJudgment, Verdict};
use super::query_plan::{QueryPlan, gate_key, queries, trigger_key};
use super::series::newest;
use super::{gate, trigger};
use crate::probes::{QueryPurpose, QuerySeries};
use crate::rollout::input::EngineInput;
use crate::rollout::policy::RulePolicy;
use crate::rollout::scale;
use crate::rollout::state::EngineState;

/// Evaluates the rules; `None` if nothing was due, or if a result is missing.
pub(crate) fn evaluate(
    state: &EngineState,
    input: &EngineInput<'_>,
) -> Option<(Judgment, Option<Bake>)> {
    let due = queries(state, input);
    if due.is_empty() || !due.iter().all(|query| input.results.contains_key(&query.key)) {
        return None;
    }
    let plan = QueryPlan::new(state, input)?;
    let mut bake = plan.bake.map(|(bake, _)| bake.clone());
    let mut presence = Verdict::Good;
    if let (Some(bake), Some(result), Some((_, grid))) =
        (&mut bake, plan.result(QueryPurpose::Presence), plan.instants())
    {
        let available =
            state.canary.as_ref().is_some_and(|canary| scale::available(state, canary, input));
        presence = bake.observe(result, grid, available);
    }
    let last = state.judgment.as_ref().filter(|last| last.revision == *plan.revision);
    let rules = input.policy.rules.iter().map(|rule| {
        let before =
            last.and_then(|last| last.rules.iter().find(|before| before.name == rule.name));
        plan.rule(rule, before)
    });
    let rules = rules.collect();
    Some((Judgment { revision: plan.revision.clone(), at: input.now, presence, rules }, bake))
}

impl QueryPlan<'_> {
    fn rule(&self, rule: &RulePolicy, before: Option<&RuleJudgment>) -> RuleJudgment {
        let trigger = |series| self.result(trigger_key(rule, series));
        let gate_value = self.result(gate_key(rule, QuerySeries::Value));
        let gate_samples = self.result(gate_key(rule, QuerySeries::Samples));
        let comparison = self.result(QueryPurpose::Comparison(rule.name.clone()));
        let mut judgment = RuleJudgment {
            name: rule.name.clone(),
            dry_run: rule.dry_run,
            value: newest(gate_value).map(rounded),
            gate_value: newest(gate_value).map(rounded),
            stable_value: newest(comparison).map(rounded),
            samples: newest(gate_samples).map(rounded),
            trigger: None,
            firing: false,
            gate: None,
            breach_start: before.and_then(|before| before.breach_start),
            evaluated_until: before.and_then(|before| before.evaluated_until),
        };
        if !rule.applicable {
            judgment.trigger = Some(Verdict::NotApplicable);
            return judgment;
        }
        if self.gate_window().is_some() {
            judgment.gate = Some(gate::read(rule, self.input.now, gate_value, gate_samples));
        }
        let results = trigger(QuerySeries::Value).zip(trigger(QuerySeries::Samples));
        if let (Some(when), Some(grid), Some((values, samples))) =
            (&rule.rollback_when, self.grid(), results)
        {
            let reading = trigger::read(when, rule.min_samples, grid, values, samples, before);
            if reading.verdict != Verdict::ProviderDown {
                judgment.evaluated_until = Some(grid.end);
            }
            judgment.value = reading.value.map(rounded).or(judgment.value);
            judgment.samples = reading.samples.map(rounded).or(judgment.samples);
            judgment.trigger = Some(reading.verdict);
            judgment.firing = reading.firing;
            judgment.breach_start = reading.breach_start;
        }
        judgment
    }
}

/// Rounds to six decimals. A number that is written to `engine.json` must be read back unchanged.
/// Otherwise every reconcile would see a change.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}
