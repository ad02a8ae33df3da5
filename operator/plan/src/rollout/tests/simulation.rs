//! A cluster as the engine sees it: pods that come up, routers that obey, and a Prometheus that
//! returns what was really there. It knows nothing about the engine's rules.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use mcphub_hub_wire::dataplane::{Dataplane, Revision};

use super::at;
use crate::probes::{
    PrometheusAnswers, Query, QueryPurpose, QueryResult, QuerySeries, Series, Span,
};
use crate::rollout::clock::{after, elapsed};
use crate::rollout::intent::Intent;
use crate::rollout::policy::Policy;
use crate::rollout::state::EngineState;
use crate::rollout::{
    BrokenPod, Decision, EngineInput, RevisionFacts, RouterFacts, SelfCheckFact, advance,
    candidates, probes,
};

/// Seconds from `.0` up to but not including `.1`.
pub(super) type Stretch = (i64, i64);

/// What is true for one revision.
#[derive(Debug, Clone)]
pub(super) struct Truth {
    /// Pods that are up; `None` means as many as the Deployment asks for.
    pub(super) pods: Option<u32>,
    /// Pods without a node.
    pub(super) unschedulable: u32,
    /// Its pods are connected to a server.
    pub(super) connected: bool,
    /// Stable pods say how they are connected, too.
    pub(super) stable_answers: bool,
    /// Every self-check fails.
    pub(super) self_check_fails: bool,
    /// No self-check is answered, for this reason.
    pub(super) unanswered: Option<String>,
    pub(super) broken: Vec<BrokenPod>,
    pub(super) flags: BTreeMap<String, bool>,
    /// Value of the one rule from this second on.
    pub(super) values: Vec<(i64, f64)>,
    /// Samples in any window, from this second on.
    pub(super) samples: Vec<(i64, f64)>,
    /// Server, tool and number of failures.
    pub(super) failing_tools: Vec<(&'static str, &'static str, f64)>,
}

impl Default for Truth {
    fn default() -> Self {
        Self {
            pods: None,
            unschedulable: 0,
            connected: true,
            stable_answers: false,
            self_check_fails: false,
            unanswered: None,
            broken: Vec::new(),
            flags: BTreeMap::new(),
            values: vec![(i64::MIN, 0.0)],
            samples: vec![(i64::MIN, 1000.0)],
            failing_tools: Vec::new(),
        }
    }
}

pub(super) struct Simulation {
    pub(super) now: Timestamp,
    pub(super) policy: Policy,
    pub(super) spec: Option<Revision>,
    pub(super) replicas: u32,
    pub(super) intent: Option<Intent>,
    pub(super) truths: BTreeMap<Revision, Truth>,
    /// Objects in the cluster.
    pub(super) state: Option<EngineState>,
    pub(super) dataplane: Option<Dataplane>,
    pub(super) facts: BTreeMap<Revision, RevisionFacts>,
    pub(super) routers: u32,
    /// The generation at which routers are stuck.
    pub(super) routers_stuck_at: Option<u64>,
    /// Nothing is scraped.
    pub(super) unscraped: Vec<Stretch>,
    /// Prometheus does not answer.
    pub(super) down: Vec<Stretch>,
    pub(super) events: Vec<(i64, String)>,
}

impl Simulation {
    pub(super) fn second(&self) -> i64 {
        self.now.as_second() - super::START
    }

    /// One reconcile with its writes.
    pub(super) fn reconcile(&mut self) -> Decision {
        let answers = self.answers();
        let outcome = self.decide(Some(&answers));
        self.assert_planned_again_changes_nothing(&answers, &outcome);
        self.apply(&outcome);
        outcome
    }

    /// Invariant 5. A plan that changes in every reconcile writes forever, and every write triggers
    /// the next reconcile.
    pub(super) fn assert_planned_again_changes_nothing(
        &self,
        answers: &PrometheusAnswers,
        outcome: &Decision,
    ) {
        let state = remembered(&outcome.state);
        let again = advance(
            Some(&state),
            &EngineInput {
                dataplane: Some(&outcome.dataplane),
                ..self.engine_input(Some(answers))
            },
        );
        assert_eq!(again.events, Vec::new());
        assert_eq!(
            (&again.state, &again.dataplane, &again.live),
            (&outcome.state, &outcome.dataplane, &outcome.live)
        );
        assert_eq!(again.report, outcome.report);
    }

    /// The engine's decision without any write.
    pub(super) fn decide(&self, answers: Option<&PrometheusAnswers>) -> Decision {
        let input = self.engine_input(answers);
        let outcome = advance(self.state.as_ref(), &input);
        self.assert_every_revision_is_a_candidate(&outcome);
        outcome
    }

    // An object whose name nobody looked up could belong to somebody else, and the apply would
    // overwrite it.
    fn assert_every_revision_is_a_candidate(&self, outcome: &Decision) {
        let before = EngineInput {
            routers: RouterFacts { obeyed: None, ..self.engine_input(None).routers },
            ..self.engine_input(None)
        };
        let candidates = candidates(self.state.as_ref(), &before);
        let live: Vec<_> = outcome.live.keys().collect();
        assert!(
            live.iter().all(|revision| candidates.contains(revision)),
            "{live:?} {candidates:?}"
        );
    }

    /// Answers to the queries that are due. Self-checks and routers answer through `facts`.
    pub(super) fn answers(&mut self) -> PrometheusAnswers {
        let nothing = EngineState::default();
        let probes = {
            let input = self.engine_input(None);
            let state = self.state.as_ref().unwrap_or(&nothing);
            probes(state, &input)
        };
        for (revision, facts) in &mut self.facts {
            let spec_revision = probes.self_checks.contains(revision) && facts.ready > 0;
            let truth = self.truths.get(revision);
            let asked = truth.is_some_and(|truth| truth.stable_answers) && facts.ready > 0;
            let spec_revision = spec_revision || asked;
            facts.connected = spec_revision && truth.is_none_or(|truth| truth.connected);
            let fails = truth.is_some_and(|truth| truth.self_check_fails);
            let unanswered = truth.and_then(|truth| truth.unanswered.clone());
            facts.self_check = match (spec_revision, fails) {
                (false, _) => SelfCheckFact::Unknown,
                _ if unanswered.is_some() => SelfCheckFact::Unanswered(unanswered.unwrap()),
                (true, true) => SelfCheckFact::Failed("server \"files\" is not connected".into()),
                (true, false) => SelfCheckFact::Passed,
            };
        }
        let results = probes.queries.iter().map(|query| (query.key.clone(), self.answer(query)));
        let results = results.collect();
        PrometheusAnswers { at: self.now, queries: probes.queries, results }
    }

    pub(super) fn engine_input<'a>(
        &'a self,
        answers: Option<&'a PrometheusAnswers>,
    ) -> EngineInput<'a> {
        let generation = self.dataplane.as_ref().map_or(0, |dataplane| dataplane.generation);
        let obeyed = self.routers_stuck_at.map_or(generation, |stuck| stuck.min(generation));
        EngineInput {
            now: self.now,
            term: 1,
            dataplane: self.dataplane.as_ref(),
            dataplane_signed: true,
            namespace: "ai",
            hub: "team",
            policy: &self.policy,
            desired: self.spec.as_ref(),
            replicas: self.replicas,
            intent: self.intent.clone().map(Ok),
            intent_removed: self.intent.is_none(),
            revisions: &self.facts,
            routers: RouterFacts {
                ready: self.routers,
                obeyed: (self.routers > 0).then_some(obeyed),
            },
            answers,
        }
    }

    /// Applies the writes of one reconcile. Pods come up immediately unless the truth says
    /// otherwise.
    pub(super) fn apply(&mut self, outcome: &Decision) {
        self.apply_runtime(outcome);
        self.apply_objects(outcome);
    }

    /// The runtime ConfigMap, which is written first.
    pub(super) fn apply_runtime(&mut self, outcome: &Decision) {
        self.state = Some(remembered(&outcome.state));
        self.dataplane = Some(outcome.dataplane.clone());
        let second = self.second();
        self.events.extend(
            outcome
                .events
                .iter()
                .map(|event| (second, format!("{}: {}", event.reason, event.message))),
        );
    }

    /// Everything else.
    fn apply_objects(&mut self, outcome: &Decision) {
        self.facts.retain(|revision, _| {
            outcome.live.contains_key(revision) || outcome.state.records.contains_key(revision)
        });
        for revision in outcome.live.keys() {
            let created = self.now;
            self.facts.entry(revision.clone()).or_insert_with(|| unmade(created));
        }
        for (revision, facts) in &mut self.facts {
            facts.deployed = outcome.live.get(revision).copied();
            facts.attempt = outcome.state.records.get(revision).cloned();
        }
        self.kubelet();
    }

    /// Starts and stops pods as the Deployments ask for.
    pub(super) fn kubelet(&mut self) {
        if let Some(spec) = &self.spec {
            let created = self.now;
            self.facts.entry(spec.clone()).or_insert_with(|| unmade(created));
        }
        for (revision, facts) in &mut self.facts {
            let truth = self.truths.entry(revision.clone()).or_default();
            let spec_revision = facts.deployed.unwrap_or(0);
            facts.ready = spec_revision.min(truth.pods.unwrap_or(spec_revision));
            facts.ready_since =
                if facts.ready > 0 { facts.ready_since.or(Some(self.now)) } else { None };
            facts.unschedulable = truth.unschedulable.min(spec_revision - facts.ready);
            facts.broken = if spec_revision > 0 { truth.broken.clone() } else { Vec::new() };
            facts.flags.clone_from(&truth.flags);
        }
    }

    fn answer(&self, query: &Query) -> QueryResult {
        let within = |stretches: &[Stretch], at: Timestamp| {
            let second = at.as_second() - super::START;
            stretches.iter().any(|(from, to)| (*from..*to).contains(&second))
        };
        if within(&self.down, self.now) {
            return QueryResult::Failed("connection refused".into());
        }
        let truth = self.truths.get(&query.key.revision).cloned().unwrap_or_default();
        if let QueryPurpose::Failures(_) = &query.key.purpose {
            return failures(&truth, self.now);
        }
        let value = |at: Timestamp| {
            let there = !within(&self.unscraped, at);
            let series = match &query.key.purpose {
                QueryPurpose::Trigger(_, QuerySeries::Samples)
                | QueryPurpose::Gate(_, QuerySeries::Samples) => &truth.samples,
                QueryPurpose::Trigger(_, QuerySeries::Value)
                | QueryPurpose::Gate(_, QuerySeries::Value)
                | QueryPurpose::Comparison(_) => &truth.values,
                QueryPurpose::Presence | QueryPurpose::Failures(_) => return there.then_some(2.0),
            };
            let second = at.as_second() - super::START;
            let value =
                series.iter().rev().find(|(from, _)| *from <= second).map(|(_, value)| *value);
            value.filter(|_| there)
        };
        let points: Vec<_> =
            instants(&query.span).into_iter().filter_map(|at| Some((at, value(at)?))).collect();
        match points.as_slice() {
            [] => QueryResult::Series(Vec::new()),
            _ => QueryResult::Series(vec![Series { labels: BTreeMap::new(), points }]),
        }
    }
}

/// The failing tools of a revision, in no order.
fn failures(truth: &Truth, now: Timestamp) -> QueryResult {
    let series = truth.failing_tools.iter().map(|(server, tool, number)| Series {
        labels: [("server".into(), (*server).into()), ("tool".into(), (*tool).into())].into(),
        points: vec![(now, *number)],
    });
    QueryResult::Series(series.collect())
}

/// Writes the state as JSON and reads it back, as a real operator does.
fn remembered(state: &EngineState) -> EngineState {
    serde_json::from_str(&serde_json::to_string(state).unwrap()).unwrap()
}

pub(super) fn instants(span: &Span) -> Vec<Timestamp> {
    match span {
        Span::At(at) => vec![*at],
        Span::Range { start, end, step } => {
            let number = elapsed(*end, *start).as_millis() / step.as_millis();
            assert!(number < 11_000, "Prometheus refuses {number} points");
            (0..=u32::try_from(number).unwrap())
                .map(|number| after(*start, *step * number))
                .collect()
        }
    }
}

fn unmade(created: Timestamp) -> RevisionFacts {
    RevisionFacts {
        flags: BTreeMap::new(),
        image: "hub:1".into(),
        attempt: None,
        created,
        deployed: None,
        ready: 0,
        ready_since: None,
        broken: Vec::new(),
        restarts: BTreeMap::new(),
        unschedulable: 0,
        server_problems: BTreeMap::new(),
        connected: false,
        self_check: SelfCheckFact::Unknown,
    }
}

impl Simulation {
    /// A cluster that has only the McpHub.
    pub(super) fn new(policy: Policy, spec: &Revision) -> Self {
        let mut simulation = Self {
            now: at(0),
            policy,
            spec: Some(spec.clone()),
            replicas: 4,
            intent: None,
            truths: BTreeMap::new(),
            state: None,
            dataplane: None,
            facts: BTreeMap::new(),
            routers: 2,
            routers_stuck_at: None,
            unscraped: Vec::new(),
            down: Vec::new(),
            events: Vec::new(),
        };
        simulation.kubelet();
        simulation
    }

    pub(super) fn wait(&mut self, length: Duration) {
        self.now = after(self.now, length);
    }
}
