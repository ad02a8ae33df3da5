//! What the results of the queries say about each rule.

use super::bake::Bake;
use super::judgment::{FailingTool, Judgment, RuleJudgment, Verdict};
use super::presets::FAILING_TOOLS;
use super::query_plan::{QueryPlan, failures_key, gate_key, queries, trigger_key};
use super::series::newest;
use super::{gate, trigger};
use crate::probes::{Query, QueryPurpose, QueryResult, QuerySeries, Series};
use crate::rollout::input::EngineInput;
use crate::rollout::policy::RulePolicy;
use crate::rollout::scale;
use crate::rollout::state::EngineState;

/// Maximum length of a name in characters. A server chooses the names of its tools.
const LONGEST_NAME: usize = 128;

/// Evaluates the rules; `None` if nothing was due, or if a result is missing.
pub(crate) fn evaluate(
    state: &EngineState,
    input: &EngineInput<'_>,
) -> Option<(Judgment, Option<Bake>)> {
    let answers = input.answers?;
    // Time windows are those of the queries.
    let input = &EngineInput { now: answers.at, ..input.clone() };
    let due = queries(state, input);
    let known = |query: &Query| {
        matches!(query.key.purpose, QueryPurpose::Failures(_))
            || answers.results.contains_key(&query.key)
    };
    if due.is_empty() || !due.iter().all(known) {
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
            failing_tools: failing_tools(self.result(failures_key(rule))),
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

/// The tools of a result, the one with the most failures first.
fn failing_tools(result: Option<&QueryResult>) -> Vec<FailingTool> {
    let Some(QueryResult::Series(series)) = result else { return Vec::new() };
    let tool = |series: &Series| {
        let label = |name: &str| -> String {
            let text = series.labels.get(name).map(String::as_str).unwrap_or_default();
            text.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect()
        };
        let (_, failures) = series.points.last().filter(|(_, value)| value.is_finite())?;
        Some((rounded(*failures), FailingTool { server: label("server"), tool: label("tool") }))
    };
    let mut tools: Vec<_> = series.iter().filter_map(tool).collect();
    tools.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    tools.into_iter().map(|(_, tool)| tool).take(FAILING_TOOLS).collect()
}

/// Rounds to six decimals. A number that is written to `engine.json` must be read back unchanged.
/// Otherwise every reconcile would see a change.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}
