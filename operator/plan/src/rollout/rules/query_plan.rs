//! The queries about the revision that is evaluated: when they are due, and which time window each
//! of them covers.

use std::time::Duration;

use jiff::Timestamp;
use mcphub_hub_wire::dataplane::{Revision, Weight};

use super::bake::{Bake, Instants, instants};
use super::presets;
use super::trigger::Grid;
use crate::probes::{Query, QueryKey, QueryPurpose, QueryResult, QuerySeries, Span};
use crate::rollout::clock::{after, before, elapsed};
use crate::rollout::input::EngineInput;
use crate::rollout::policy::{PrometheusSource, RulePolicy};
use crate::rollout::state::EngineState;

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
        queries.extend(plan.failures(rule, state));
    }
    queries
}

/// Whether the interval has passed since the last evaluation.
pub(crate) fn due(state: &EngineState, input: &EngineInput<'_>) -> bool {
    state.last_judgment.is_none_or(|last| elapsed(input.now, last) >= input.policy.interval)
}

/// The queries about the revision that is evaluated: a canary that has traffic, else a promoted
/// revision in guard.
pub(crate) struct QueryPlan<'a> {
    pub(super) input: &'a EngineInput<'a>,
    prometheus: &'a PrometheusSource,
    pub(crate) revision: &'a Revision,
    /// The revision that it is compared with.
    other: Option<&'a Revision>,
    /// Nothing before this instant counts for a trigger.
    epoch: Option<Timestamp>,
    /// The bake of the canary's step, and the observed time that the step takes.
    pub(super) bake: Option<(&'a Bake, Duration)>,
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

    pub(super) fn instants(&self) -> Option<(Timestamp, Instants)> {
        let (bake, _) = self.bake?;
        let grid = instants(bake.until, self.end, self.prometheus.scrape_interval);
        (grid.number > 0).then_some((bake.until, grid))
    }

    fn presence(&self) -> Option<Query> {
        let (until, Instants { number, step }) = self.instants()?;
        // The window has two scrape intervals, so that a scrape that is a little late is not a gap.
        let window = self.prometheus.scrape_interval * 2;
        let promql = presets::presence(self.input.namespace, self.input.hub, self.revision, window);
        self.query(
            QueryPurpose::Presence,
            Some(promql),
            Span::Range { start: after(until, step), end: after(until, step * number), step },
        )
    }

    /// The range of the triggers. It is the same for all rules and reaches back to where the
    /// longest `for` may have started.
    pub(super) fn grid(&self) -> Option<Grid> {
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
        // It is counted back from the end, because the reaction time depends on the newest point.
        Some(Grid { start: before(self.end, step * number), end: self.end, step })
    }

    fn trigger(&self, rule: &RulePolicy) -> Vec<Query> {
        let Some(Grid { start, end, step }) = rule.rollback_when.and_then(|_| self.grid()) else {
            return Vec::new();
        };
        let window = self.prometheus.window();
        let (value, _) = self.promql(rule, self.revision, window);
        // A quiet service gets few requests in a window, but enough of them during `for`.
        let lasting = rule.rollback_when.map_or(window, |when| when.lasting.max(window));
        let (_, samples) = self.promql(rule, self.revision, lasting);
        let span = Span::Range { start, end, step };
        let value = self.query(trigger_key(rule, QuerySeries::Value), value, span.clone());
        let samples = self.query(trigger_key(rule, QuerySeries::Samples), samples, span);
        value.into_iter().chain(samples).collect()
    }

    pub(super) fn gate_window(&self) -> Option<Duration> {
        let (bake, required) = self.bake?;
        let window = elapsed(self.end, bake.reach(required, self.end));
        // With fewer than four scrapes in it, an increase is not reliable.
        (window >= self.prometheus.scrape_interval * 4)
            .then_some(Duration::from_secs(window.as_secs().max(1)))
    }

    fn gate(&self, rule: &RulePolicy) -> Vec<Query> {
        let Some(window) = self.gate_window() else { return Vec::new() };
        let (value, samples) = self.promql(rule, self.revision, window);
        let value = value.filter(|_| rule.promote_when.is_some());
        let at = Span::At(self.end);
        let value = self.query(gate_key(rule, QuerySeries::Value), value, at.clone());
        let samples = self.query(gate_key(rule, QuerySeries::Samples), samples, at);
        value.into_iter().chain(samples).collect()
    }

    fn comparison(&self, rule: &RulePolicy) -> Option<Query> {
        let (value, _) = self.promql(rule, self.other?, self.prometheus.window());
        self.query(QueryPurpose::Comparison(rule.name.clone()), value, Span::At(self.end))
    }

    /// The message of a rollback names the tools that failed, so they are asked for while the rule
    /// is breached. A rule that may fire at once is always asked for.
    fn failures(&self, rule: &RulePolicy, state: &EngineState) -> Option<Query> {
        let when = rule.rollback_when?;
        let judgment = state.judgment.as_ref().filter(|last| last.revision == *self.revision);
        let last =
            judgment.and_then(|judgment| judgment.rules.iter().find(|last| last.name == rule.name));
        let breached = last.is_some_and(|last| last.breach_start.is_some());
        if !breached && when.lasting > self.input.policy.interval {
            return None;
        }
        let EngineInput { namespace, hub, .. } = self.input;
        let window = when.lasting.max(self.prometheus.window());
        let promql = presets::failures(rule.metric, namespace, hub, self.revision, window);
        self.query(failures_key(rule), promql, Span::At(self.end))
    }

    fn promql(
        &self,
        rule: &RulePolicy,
        revision: &Revision,
        window: Duration,
    ) -> (Option<String>, Option<String>) {
        let EngineInput { namespace, hub, .. } = self.input;
        (
            presets::expression(rule.metric, namespace, hub, revision, window),
            presets::samples(rule.metric, namespace, hub, revision, window),
        )
    }

    pub(super) fn result(&self, purpose: QueryPurpose) -> Option<&'a QueryResult> {
        self.input.answers?.results.get(&self.key(purpose))
    }
}

pub(super) fn trigger_key(rule: &RulePolicy, series: QuerySeries) -> QueryPurpose {
    QueryPurpose::Trigger(rule.name.clone(), series)
}

pub(super) fn failures_key(rule: &RulePolicy) -> QueryPurpose {
    QueryPurpose::Failures(rule.name.clone())
}

pub(super) fn gate_key(rule: &RulePolicy, series: QuerySeries) -> QueryPurpose {
    QueryPurpose::Gate(rule.name.clone(), series)
}
