//! What has to be asked before [`super::advance`], and what the answers say. Asked only when due.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use mcphub_hub_wire::dataplane::{Revision, Weight};

use super::bake::{Bake, Instants, instants};
use super::policy::{Prometheus, Rule};
use super::state::{Canary, EngineState, after, before, elapsed};
use super::trigger::{self, Grid};
use super::verdict::{Judged, JudgedRule, Verdict, newest};
use super::{Observation, SelfCheckFact, gate, launch, presets, scale};
use crate::snapshot::{Answer, Query, Span};

/// What has to be read from admin endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wants {
    /// Revisions whose Ready pods are to run their self-check.
    pub self_checks: BTreeSet<Revision>,
    /// The generation that each Ready router obeys matters now.
    pub generations: bool,
}

/// What has to be read from admin endpoints now.
pub fn wants(state: &EngineState, seen: &Observation<'_>) -> Wants {
    let canary = state.canary.as_ref();
    let self_check = canary.filter(|canary| launch::self_check_due(state, canary, seen));
    Wants {
        self_checks: self_check.map(|canary| canary.revision.clone()).into_iter().collect(),
        generations: canary.is_some_and(awaits_routers) || !scale::leaving(state, seen).is_empty(),
    }
}

/// It has a weight that routers may not obey yet.
pub(crate) fn awaits_routers(canary: &Canary) -> bool {
    let step = canary.step.as_ref();
    canary.leave.is_none()
        && step.is_some_and(|step| canary.weight == step.traffic && step.bake.is_none())
}

/// What has to be asked Prometheus now; nothing between two judgments.
pub fn queries(state: &EngineState, seen: &Observation<'_>) -> Vec<Query> {
    if !due(state, seen) {
        return Vec::new();
    }
    let Some(asking) = Asking::of(state, seen) else { return Vec::new() };
    let mut queries: Vec<Query> = asking.presence().into_iter().collect();
    for rule in seen.policy.rules.iter().filter(|rule| rule.applicable) {
        queries.extend(asking.trigger(rule));
        queries.extend(asking.gate(rule));
        queries.extend(asking.other(rule));
    }
    queries
}

/// The interval has passed since rules were judged last.
pub(crate) fn due(state: &EngineState, seen: &Observation<'_>) -> bool {
    state.last_judged.is_none_or(|last| elapsed(seen.now, last) >= seen.policy.interval)
}

/// What is judged: a canary that has traffic, else a promoted revision in guard.
pub(crate) struct Asking<'a> {
    seen: &'a Observation<'a>,
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

impl<'a> Asking<'a> {
    pub(crate) fn of(state: &'a EngineState, seen: &'a Observation<'a>) -> Option<Self> {
        let prometheus = seen.policy.prometheus.as_ref()?;
        let stable = state.stable.as_ref()?;
        let end = before(seen.now, prometheus.ingest_delay);
        if let Some(canary) = state.canary.as_ref().filter(|canary| canary.weight > Weight::ZERO) {
            let step = canary.step.as_ref();
            let bake = step.and_then(|step| Some((step.bake.as_ref()?, step.required())));
            return Some(Self {
                seen,
                prometheus,
                revision: &canary.revision,
                other: Some(&stable.revision),
                epoch: canary.first_ready.map(|ready| after(ready, seen.policy.warmup)),
                bake: bake.filter(|(_, required)| !required.is_zero()),
                end,
            });
        }
        let previous =
            state.previous.as_ref().filter(|previous| !previous.guard_over && !stable.forced)?;
        Some(Self {
            seen,
            prometheus,
            revision: &stable.revision,
            other: Some(&previous.revision),
            epoch: stable.epoch,
            bake: None,
            end,
        })
    }

    fn id(&self, what: &str) -> String {
        format!("{}/{what}", self.revision)
    }

    fn query(&self, what: &str, promql: Option<String>, span: Span) -> Option<Query> {
        promql.map(|promql| Query { id: self.id(what), promql, span })
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
        let promql = presets::presence(self.seen.namespace, self.seen.hub, self.revision, window);
        self.query(
            "presence",
            Some(promql),
            Span::Range { start: after(until, step), end: after(until, step * number), step },
        )
    }

    /// The same range for all rules, back to where the longest `for` may have begun.
    fn grid(&self) -> Option<Grid> {
        let longest = self
            .seen
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
        let Rule { name, .. } = rule;
        let (value, samples) = self.promql(rule, self.revision, self.prometheus.window());
        let span = Span::Range { start, end, step };
        let value = self.query(&format!("trigger/{name}/value"), value, span.clone());
        value
            .into_iter()
            .chain(self.query(&format!("trigger/{name}/samples"), samples, span))
            .collect()
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
        let value = self.query(&format!("gate/{}/value", rule.name), value, Span::At(self.end));
        value
            .into_iter()
            .chain(self.query(&format!("gate/{}/samples", rule.name), samples, Span::At(self.end)))
            .collect()
    }

    fn other(&self, rule: &Rule) -> Option<Query> {
        let (value, _) = self.promql(rule, self.other?, self.prometheus.window());
        self.query(&format!("other/{}/value", rule.name), value, Span::At(self.end))
    }

    fn promql(
        &self,
        rule: &Rule,
        revision: &Revision,
        window: Duration,
    ) -> (Option<String>, Option<String>) {
        let Observation { namespace, hub, .. } = self.seen;
        (
            presets::expression(rule.metric, namespace, hub, revision, window),
            presets::samples(rule.metric, namespace, hub, revision, window),
        )
    }

    fn answer(&self, what: &str) -> Option<&'a Answer> {
        self.seen.answers.get(&self.id(what))
    }
}

/// What the answers say; `None` if nothing was due, or not all of it was asked.
pub(crate) fn judged(
    state: &EngineState,
    seen: &Observation<'_>,
) -> Option<(Judged, Option<Bake>)> {
    let asked = queries(state, seen);
    if asked.is_empty() || !asked.iter().all(|query| seen.answers.contains_key(&query.id)) {
        return None;
    }
    let asking = Asking::of(state, seen)?;
    let mut bake = asking.bake.map(|(bake, _)| bake.clone());
    let mut presence = Verdict::Good;
    if let (Some(bake), Some(answer), Some((_, grid))) =
        (&mut bake, asking.answer("presence"), asking.instants())
    {
        let available =
            state.canary.as_ref().is_some_and(|canary| scale::available(state, canary, seen));
        presence = bake.observe(answer, grid, available);
    }
    let last = state.judged.as_ref().filter(|last| last.revision == *asking.revision);
    let rules = seen.policy.rules.iter().map(|rule| {
        let before =
            last.and_then(|last| last.rules.iter().find(|before| before.name == rule.name));
        asking.rule(rule, before)
    });
    let rules = rules.collect();
    Some((Judged { revision: asking.revision.clone(), at: seen.now, presence, rules }, bake))
}

impl Asking<'_> {
    fn rule(&self, rule: &Rule, before: Option<&JudgedRule>) -> JudgedRule {
        let part = |part: &str| self.answer(&format!("{part}/{}/value", rule.name));
        let samples = |part: &str| self.answer(&format!("{part}/{}/samples", rule.name));
        let mut judged = JudgedRule {
            name: rule.name.clone(),
            dry_run: rule.dry_run,
            value: newest(part("gate")).map(rounded),
            gate_value: newest(part("gate")).map(rounded),
            stable_value: newest(part("other")).map(rounded),
            samples: newest(samples("gate")).map(rounded),
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
            judged.gate = Some(gate::read(rule, self.seen.now, part("gate"), samples("gate")));
        }
        let answers = part("trigger").zip(samples("trigger"));
        if let (Some(when), Some(grid), Some((values, samples))) =
            (&rule.rollback_when, self.grid(), answers)
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
pub(crate) fn passes(seen: &Observation<'_>, revision: &Revision) -> bool {
    seen.revisions.get(revision).is_some_and(|facts| facts.self_check == SelfCheckFact::Passed)
}
