//! What must be asked before [`super::advance`], and what the results mean. Queries are made only when they are due.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use mcphub_hub_wire::dataplane::{Revision, Weight};

use super::bake::{Bake, Instants, instants};
use super::policy::{Prometheus, Rule};
use super::state::{Canary, EngineState, after, before, elapsed};
use super::trigger::{self, Grid};
use super::verdict::{Judged, JudgedRule, Verdict, newest};
use super::{EngineInput, SelfCheckFact, gate, launch, presets, scale};
use crate::probes::{Query, QueryKey, QueryPurpose, QueryResult, QuerySeries, Span};

/// What the engine needs to know before it decides.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RolloutProbes {
    /// Revisions whose Ready pods must run their self-check.
    pub self_checks: BTreeSet<Revision>,
    /// The generation that each Ready router obeys matters now.
    pub router_generations: bool,
    /// Queries to Prometheus; empty between two evaluations.
    pub queries: Vec<Query>,
}

/// What must be asked before the next [`super::advance`].
pub fn probes(state: &EngineState, input: &EngineInput<'_>) -> RolloutProbes {
    let canary = state.canary.as_ref();
    let self_check = canary.filter(|canary| launch::self_check_due(state, canary, input));
    RolloutProbes {
        self_checks: self_check.map(|canary| canary.revision.clone()).into_iter().collect(),
        router_generations: canary.is_some_and(awaits_routers)
            || !scale::leaving(state, input).is_empty(),
        queries: queries(state, input),
    }
}

/// It has a weight that routers may not obey yet.
pub(crate) fn awaits_routers(canary: &Canary) -> bool {
    let step = canary.step.as_ref();
    canary.leave.is_none()
        && step.is_some_and(|step| canary.weight == step.traffic && step.bake.is_none())
}

/// The queries that are due; none between two evaluations.
pub(crate) fn queries(state: &EngineState, input: &EngineInput<'_>) -> Vec<Query> {
    if !due(state, input) {
        return Vec::new();
    }
    let Some(plan) = QueryPlan::new(state, input) else { return Vec::new() };
    let mut queries: Vec<Query> = plan.presence().into_iter().collect();
    for rule in input.policy.rules.iter().filter(|rule| rule.applicable) {
        queries.extend(plan.trigger(rule));
        queries.extend(plan.gate(rule));
        queries.extend(plan.comparison(rule));
    }
    queries
}

/// The interval has passed since rules were judged last.
pub(crate) fn due(state: &EngineState, input: &EngineInput<'_>) -> bool {
    state.last_judged.is_none_or(|last| elapsed(input.now, last) >= input.policy.interval)
}

/// The queries about the revision that is evaluated: a canary that has traffic, else a promoted revision in guard.
pub(crate) struct QueryPlan<'a> {
    input: &'a EngineInput<'a>,
    prometheus: &'a Prometheus,
    pub(crate) revision: &'a Revision,
    /// Shown beside it.
    other: Option<&'a Revision>,
    /// Nothing before this instant counts for a trigger.
    epoch: Option<Timestamp>,
    /// Of the canary's step, once it has begun.
    bake: Option<(&'a Bake, Duration)>,
    end: Timestamp,
}

impl<'a> QueryPlan<'a> {
    /// `None` if no revision is evaluated.
    pub(crate) fn new(state: &'a EngineState, input: &'a EngineInput<'a>) -> Option<Self> {
        let prometheus = input.policy.prometheus.as_ref()?;
        let stable = state.stable.as_ref()?;
        let end = before(input.now, prometheus.ingest_delay);
        if let Some(canary) = state.canary.as_ref().filter(|canary| canary.weight > Weight::ZERO) {
            let step = canary.step.as_ref();
            let bake = step.and_then(|step| Some((step.bake.as_ref()?, step.required())));
            return Some(Self {
                input,
                prometheus,
                revision: &canary.revision,
                other: Some(&stable.revision),
                epoch: canary.first_ready.map(|ready| after(ready, input.policy.warmup)),
                bake: bake.filter(|(_, required)| !required.is_zero()),
                end,
            });
        }
        let previous =
            state.previous.as_ref().filter(|previous| !previous.guard_over && !stable.forced)?;
        Some(Self {
            input,
            prometheus,
            revision: &stable.revision,
            other: Some(&previous.revision),
            epoch: stable.epoch,
            bake: None,
            end,
        })
    }

    fn key(&self, purpose: QueryPurpose) -> QueryKey {
        QueryKey { revision: self.revision.clone(), purpose }
    }

    fn query(&self, purpose: QueryPurpose, promql: Option<String>, span: Span) -> Option<Query> {
        promql.map(|promql| Query { key: self.key(purpose), promql, span })
    }

    fn instants(&self) -> Option<(Timestamp, Instants)> {
        let (bake, _) = self.bake?;
        let grid = instants(bake.until, self.end, self.prometheus.scrape_interval);
        (grid.number > 0).then_some((bake.until, grid))
    }

    fn presence(&self) -> Option<Query> {
        let (until, Instants { number, step }) = self.instants()?;
        // Two scrape intervals: one that comes a little late is no gap.
        let window = self.prometheus.scrape_interval * 2;
        let promql = presets::presence(self.input.namespace, self.input.hub, self.revision, window);
        self.query(
            QueryPurpose::Presence,
            Some(promql),
            Span::Range { start: after(until, step), end: after(until, step * number), step },
        )
    }

    /// The same range for all rules, back to where the longest `for` may have begun.
    fn grid(&self) -> Option<Grid> {
        let longest = self
            .input
            .policy
            .rules
            .iter()
            .filter_map(|rule| rule.rollback_when)
            .map(|when| when.lasting)
            .max()?;
        let epoch = self.epoch.filter(|epoch| *epoch < self.end)?;
        let from = before(self.end, longest.saturating_add(Duration::from_mins(5))).max(epoch);
        let Instants { number, step } = instants(from, self.end, self.prometheus.scrape_interval);
        // Counted back from the end: the newest point is what the reaction time hangs on.
        Some(Grid { start: before(self.end, step * number), end: self.end, step })
    }

    fn trigger(&self, rule: &Rule) -> Vec<Query> {
        let Some(Grid { start, end, step }) = rule.rollback_when.and_then(|_| self.grid()) else {
            return Vec::new();
        };
        let (value, samples) = self.promql(rule, self.revision, self.prometheus.window());
        let span = Span::Range { start, end, step };
        let value = self.query(trigger_key(rule, QuerySeries::Value), value, span.clone());
        let samples = self.query(trigger_key(rule, QuerySeries::Samples), samples, span);
        value.into_iter().chain(samples).collect()
    }

    fn gate_window(&self) -> Option<Duration> {
        let (bake, required) = self.bake?;
        let window = elapsed(self.end, bake.reach(required, self.end));
        // With fewer than four scrapes in it, an increase says little.
        (window >= self.prometheus.scrape_interval * 4)
            .then_some(Duration::from_secs(window.as_secs().max(1)))
    }

    fn gate(&self, rule: &Rule) -> Vec<Query> {
        let Some(window) = self.gate_window() else { return Vec::new() };
        let (value, samples) = self.promql(rule, self.revision, window);
        let value = value.filter(|_| rule.promote_when.is_some());
        let at = Span::At(self.end);
        let value = self.query(gate_key(rule, QuerySeries::Value), value, at.clone());
        let samples = self.query(gate_key(rule, QuerySeries::Samples), samples, at);
        value.into_iter().chain(samples).collect()
    }

    fn comparison(&self, rule: &Rule) -> Option<Query> {
        let (value, _) = self.promql(rule, self.other?, self.prometheus.window());
        self.query(QueryPurpose::Comparison(rule.name.clone()), value, Span::At(self.end))
    }

    fn promql(
        &self,
        rule: &Rule,
        revision: &Revision,
        window: Duration,
    ) -> (Option<String>, Option<String>) {
        let EngineInput { namespace, hub, .. } = self.input;
        (
            presets::expression(rule.metric, namespace, hub, revision, window),
            presets::samples(rule.metric, namespace, hub, revision, window),
        )
    }

    fn result(&self, purpose: QueryPurpose) -> Option<&'a QueryResult> {
        self.input.results.get(&self.key(purpose))
    }
}

fn trigger_key(rule: &Rule, series: QuerySeries) -> QueryPurpose {
    QueryPurpose::Trigger(rule.name.clone(), series)
}

fn gate_key(rule: &Rule, series: QuerySeries) -> QueryPurpose {
    QueryPurpose::Gate(rule.name.clone(), series)
}

/// What the answers say; `None` if nothing was due, or not all of it was asked.
pub(crate) fn judged(
    state: &EngineState,
    input: &EngineInput<'_>,
) -> Option<(Judged, Option<Bake>)> {
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
    let last = state.judged.as_ref().filter(|last| last.revision == *plan.revision);
    let rules = input.policy.rules.iter().map(|rule| {
        let before =
            last.and_then(|last| last.rules.iter().find(|before| before.name == rule.name));
        plan.rule(rule, before)
    });
    let rules = rules.collect();
    Some((Judged { revision: plan.revision.clone(), at: input.now, presence, rules }, bake))
}

impl QueryPlan<'_> {
    fn rule(&self, rule: &Rule, before: Option<&JudgedRule>) -> JudgedRule {
        let trigger = |series| self.result(trigger_key(rule, series));
        let gate_value = self.result(gate_key(rule, QuerySeries::Value));
        let gate_samples = self.result(gate_key(rule, QuerySeries::Samples));
        let comparison = self.result(QueryPurpose::Comparison(rule.name.clone()));
        let mut judged = JudgedRule {
            name: rule.name.clone(),
            dry_run: rule.dry_run,
            value: newest(gate_value).map(rounded),
            gate_value: newest(gate_value).map(rounded),
            stable_value: newest(comparison).map(rounded),
            samples: newest(gate_samples).map(rounded),
            trigger: None,
            holds: false,
            gate: None,
            open: before.and_then(|before| before.open),
            seen_until: before.and_then(|before| before.seen_until),
        };
        if !rule.applicable {
            judged.trigger = Some(Verdict::NotApplicable);
            return judged;
        }
        if self.gate_window().is_some() {
            judged.gate = Some(gate::read(rule, self.input.now, gate_value, gate_samples));
        }
        let results = trigger(QuerySeries::Value).zip(trigger(QuerySeries::Samples));
        if let (Some(when), Some(grid), Some((values, samples))) =
            (&rule.rollback_when, self.grid(), results)
        {
            let reading = trigger::read(when, rule.min_samples, grid, values, samples, before);
            if reading.verdict != Verdict::ProviderDown {
                judged.seen_until = Some(grid.end);
            }
            judged.value = reading.value.map(rounded).or(judged.value);
            judged.samples = reading.samples.map(rounded).or(judged.samples);
            judged.trigger = Some(reading.verdict);
            judged.holds = reading.holds;
            judged.open = reading.open;
        }
        judged
    }
}

/// Six decimals: what is written to `engine.json` must be read back as the same number, or every look at it is a
/// change.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// The self-check of a revision has passed just now.
pub(crate) fn passes(input: &EngineInput<'_>, revision: &Revision) -> bool {
    input.revisions.get(revision).is_some_and(|facts| facts.self_check == SelfCheckFact::Passed)
}
