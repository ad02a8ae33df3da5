//! The invariants of the rollout over random histories: pods that come and go, wrong or missing
//! results, changes of the spec, intents, crashes between writes, lost and stale objects, and
//! clocks that jump.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use mcphub_crds::status::Phase;
use mcphub_hub_wire::dataplane::{Dataplane, Revision, Role, Weight};
use proptest::prelude::*;
use proptest::sample::select;

use super::at;
use super::simulation::Simulation;
use super::story::{RULE, policy, revision};
use crate::next::Next;
use crate::rollout::clock::{after, before, elapsed};
use crate::rollout::intent::Verb;
use crate::rollout::state::{EngineState, SkipReason};
use crate::rollout::{AttemptResult, BrokenPod, Decision};

const REVISIONS: [&str; 4] = ["aaaaaaaa", "bbbbbbbb", "cccccccc", "dddddddd"];
/// The revision that every history ends with. It has never been seen before.
const LAST: &str = "eeeeeeee";

/// The times are short, so that a history of hours goes through all phases many times.
const POLICY: &str = "steps: [{traffic: 10, bake: 2m}, {traffic: 50, bake: 3m}, {traffic: 100}]\n\
     guard: 3m\ndrainTimeout: 1m\nprogressDeadline: 2m\ngateTimeout: 5m\nholdTimeout: 10m\n\
     rollback: {keepFor: 5m, flagGrace: 1m}\n";

#[derive(Debug, Clone)]
enum Happening {
    Wait(u32),
    Spec(&'static str),
    NoSpec,
    Pods(&'static str, Option<u32>),
    Unschedulable(&'static str, u32),
    Broken(&'static str, bool),
    SelfCheck(&'static str, bool),
    Errors(&'static str, f64),
    Samples(&'static str, f64),
    Flag(&'static str, bool),
    Unscraped(u32),
    PrometheusDown(u32),
    RoutersStuck(bool),
    Routers(u32),
    Replicas(u32),
    Intent(Verb, &'static str, u32),
    Paused(bool),
    RuntimeConfigMapLost,
    DataplaneEdited,
    CrashAfterTheFirstWrite,
    StaleCache,
    ClockJumps(i64),
}

fn happening() -> impl Strategy<Value = Happening> {
    let name = || select(&REVISIONS[..]);
    let verb = select(vec![
        Verb::Promote,
        Verb::PromoteForce,
        Verb::Advance { step: 1 },
        Verb::Abort,
        Verb::Retry,
        Verb::Pause,
        Verb::Resume,
        Verb::RollbackTo,
        Verb::ResumeFlags,
    ]);
    prop_oneof![
        8 => (1..900_u32).prop_map(Happening::Wait),
        4 => name().prop_map(Happening::Spec),
        1 => Just(Happening::NoSpec),
        2 => (name(),
            proptest::option::of(0..4_u32)).prop_map(|(name, pods)| Happening::Pods(name, pods)),
        1 => (name(), 0..3_u32).prop_map(|(name, pods)| Happening::Unschedulable(name, pods)),
        1 => (name(), any::<bool>()).prop_map(|(name, broken)| Happening::Broken(name, broken)),
        1 => (name(), any::<bool>()).prop_map(|(name, fails)| Happening::SelfCheck(name, fails)),
        3 => (name(),
            select(vec![0.0, 0.005, 0.05, 0.5, f64::NAN])).prop_map(|(name,
                rate)| Happening::Errors(name, rate)),
        1 => (name(),
            select(vec![0.0, 10.0, 1000.0])).prop_map(|(name, samples)| Happening::Samples(name,
                samples)),
        1 => (name(), any::<bool>()).prop_map(|(name, flag)| Happening::Flag(name, flag)),
        1 => (1..1500_u32).prop_map(Happening::Unscraped),
        1 => (1..1500_u32).prop_map(Happening::PrometheusDown),
        1 => any::<bool>().prop_map(Happening::RoutersStuck),
        1 => (0..3_u32).prop_map(Happening::Routers),
        1 => (0..6_u32).prop_map(Happening::Replicas),
        3 => (verb, name(),
            1..4_u32).prop_map(|(verb, name, attempt)| Happening::Intent(verb, name, attempt)),
        1 => any::<bool>().prop_map(Happening::Paused),
        1 => Just(Happening::RuntimeConfigMapLost),
        1 => Just(Happening::DataplaneEdited),
        2 => Just(Happening::CrashAfterTheFirstWrite),
        1 => Just(Happening::StaleCache),
        1 => (-4000..4000_i64).prop_map(Happening::ClockJumps),
    ]
}

/// A history, and what is known about it without the engine.
struct History {
    simulation: Simulation,
    crash: bool,
    /// Facts of the reconcile before the last one.
    older: Option<std::collections::BTreeMap<Revision, crate::rollout::RevisionFacts>>,
    stale: bool,
    rolled_back: BTreeSet<Revision>,
    /// Earliest instant since the canary got its weight.
    since_weight: Timestamp,
    policy_paused: bool,
}

impl History {
    fn new() -> Self {
        Self {
            simulation: Simulation::new(policy(&format!("{RULE}{POLICY}")), &revision("aaaaaaaa")),
            crash: false,
            older: None,
            stale: false,
            rolled_back: BTreeSet::new(),
            since_weight: at(0),
            policy_paused: false,
        }
    }

    fn happen(&mut self, happening: &Happening) {
        let second = self.simulation.second();
        let mut truth =
            |name: &str| self.simulation.truths.entry(revision(name)).or_default().clone();
        let mut changed = None;
        match happening {
            Happening::Wait(seconds) => {
                return self.live_for(Duration::from_secs(u64::from(*seconds)));
            }
            Happening::Spec(name) => self.simulation.spec = Some(revision(name)),
            Happening::NoSpec => self.simulation.spec = None,
            Happening::Pods(name, pods) => {
                changed = Some((name, super::simulation::Truth { pods: *pods, ..truth(name) }));
            }
            Happening::Unschedulable(name, pods) => {
                let pods = (Some(0), *pods);
                changed = Some((
                    name,
                    super::simulation::Truth { pods: pods.0, unschedulable: pods.1, ..truth(name) },
                ));
            }
            Happening::Broken(name, broken) => {
                let pod = BrokenPod { name: "pod-1".into(), why: "is crash-looping".into() };
                let broken = if *broken { vec![pod] } else { Vec::new() };
                changed = Some((name, super::simulation::Truth { broken, ..truth(name) }));
            }
            Happening::SelfCheck(name, fails) => {
                changed = Some((
                    name,
                    super::simulation::Truth { self_check_fails: *fails, ..truth(name) },
                ));
            }
            Happening::Errors(name, rate) => {
                let mut truth = truth(name);
                truth.values.retain(|(from, _)| *from < second);
                truth.values.push((second, *rate));
                changed = Some((name, truth));
            }
            Happening::Samples(name, samples) => {
                let mut truth = truth(name);
                truth.samples.retain(|(from, _)| *from < second);
                truth.samples.push((second, *samples));
                changed = Some((name, truth));
            }
            Happening::Flag(name, flag) => {
                let flags = [("beta".to_owned(), *flag)].into();
                changed = Some((name, super::simulation::Truth { flags, ..truth(name) }));
            }
            Happening::Unscraped(seconds) => {
                self.simulation.unscraped.push((second, second + i64::from(*seconds)));
            }
            Happening::PrometheusDown(seconds) => {
                self.simulation.down.push((second, second + i64::from(*seconds)));
            }
            Happening::RoutersStuck(stuck) => {
                let generation =
                    self.simulation.dataplane.as_ref().map(|dataplane| dataplane.generation);
                self.simulation.routers_stuck_at = generation.filter(|_| *stuck);
            }
            Happening::Routers(routers) => self.simulation.routers = *routers,
            Happening::Replicas(replicas) => self.simulation.replicas = *replicas,
            Happening::Intent(verb, name, attempt) => {
                let text = crate::rollout::intent::Intent {
                    verb: *verb,
                    revision: revision(name),
                    attempt: *attempt,
                    serial: None,
                };
                self.simulation.intent = Some(text);
            }
            Happening::Paused(paused) => self.policy_paused = *paused,
            Happening::RuntimeConfigMapLost => {
                self.simulation.state = None;
                self.simulation.dataplane = None;
            }
            Happening::DataplaneEdited => {
                if let Some(dataplane) = &mut self.simulation.dataplane {
                    for state in dataplane.revisions.values_mut() {
                        state.flags.insert("edited".into(), true);
                    }
                }
            }
            Happening::CrashAfterTheFirstWrite => self.crash = true,
            Happening::StaleCache => self.stale = true,
            Happening::ClockJumps(seconds) => {
                self.simulation.now = at((second + seconds).max(0));
            }
        }
        if let Some((name, truth)) = changed {
            self.simulation.truths.insert(revision(name), truth);
        }
        self.simulation.policy.paused = self.policy_paused;
        self.simulation.kubelet();
        self.live_for(Duration::from_secs(2));
    }

    /// Reconciles whenever the engine asks for it.
    fn live_for(&mut self, length: Duration) {
        let end = after(self.simulation.now, length);
        for _ in 0..100 + length.as_secs() {
            let next = self.reconcile();
            let wait = match next {
                Next::Now => Duration::from_millis(50),
                Next::In(wait) => wait.min(Duration::from_mins(1)),
                Next::Idle => Duration::from_mins(1),
            };
            if self.simulation.now >= end {
                return;
            }
            self.simulation.now = after(self.simulation.now, wait).min(end);
        }
        panic!("the engine polls without end: {:#?}", self.simulation.state);
    }

    fn reconcile(&mut self) -> Next {
        let current = self.simulation.facts.clone();
        if let Some(older) = self.older.take().filter(|_| self.stale) {
            self.simulation.facts = older;
        }
        self.stale = false;
        let answers = self.simulation.answers();
        let (before, state) = (self.simulation.dataplane.clone(), self.simulation.state.clone());
        let outcome = self.simulation.decide(Some(&answers));
        self.since_weight = self.since_weight.min(self.simulation.now);
        self.simulation.assert_planned_again_changes_nothing(&answers, &outcome);
        self.check(before.as_ref(), state.as_ref(), &outcome);
        self.older = Some(current);
        if self.crash {
            // The runtime ConfigMap was written, the Deployments and the ControllerRevisions were
            // not.
            self.crash = false;
            self.simulation.apply_runtime(&outcome);
        } else {
            self.simulation.apply(&outcome);
        }
        outcome.next
    }

    fn check(
        &mut self,
        before: Option<&Dataplane>,
        state: Option<&EngineState>,
        outcome: &Decision,
    ) {
        self.weights_are_whole(before, outcome);
        self.steps_are_passed_with_reason(state, outcome);
        self.weight_has_its_pods(before, state, outcome);
        self.triggers_are_obeyed(outcome);
        self.rolled_back_stays_out(state, outcome);
        Self::generation_rises_with_the_dataplane(before, outcome);
        self.pods_go_after_the_routers_know(outcome);
    }

    fn ready(&self, revision: &Revision) -> u32 {
        self.simulation.facts.get(revision).map_or(0, |facts| facts.ready)
    }

    /// Invariant 1.
    fn weights_are_whole(&self, before: Option<&Dataplane>, outcome: &Decision) {
        let revisions = &outcome.dataplane.revisions;
        let sum: u32 = revisions.values().map(|state| u32::from(state.weight.percent())).sum();
        assert_eq!(sum, if outcome.state.stable.is_some() { 100 } else { 0 }, "{revisions:?}");
        for (revision, state) in revisions {
            assert!(state.role != Role::Failed || state.weight == Weight::ZERO, "{revisions:?}");
            let old = before.map(|before| {
                before.revisions.get(revision).map_or(Weight::ZERO, |state| state.weight)
            });
            let rises = old.is_some_and(|old| state.weight > old);
            assert!(
                !rises || self.ready(revision) > 0,
                "{revision} rises without a Ready pod: {revisions:?}"
            );
        }
        assert!(outcome.live.len() <= 4, "{:?}", outcome.live);
        assert!(revisions.keys().all(|revision| outcome.live.contains_key(revision)));
    }

    /// Invariant 2, for pods.
    fn weight_has_its_pods(
        &mut self,
        before: Option<&Dataplane>,
        state: Option<&EngineState>,
        outcome: &Decision,
    ) {
        let Some((before, state)) = before.zip(state) else {
            self.since_weight = self.simulation.now;
            return;
        };
        let Some(canary) = &state.canary else { return };
        let weight = |dataplane: &Dataplane| {
            dataplane.revisions.get(&canary.revision).map(|state| state.weight)
        };
        let (old, new) =
            (weight(before).unwrap_or_default(), weight(&outcome.dataplane).unwrap_or_default());
        if new != old {
            self.since_weight = self.simulation.now;
        }
        let first = state.stable.is_none();
        let all = canary.base_replicas.max(self.simulation.replicas);
        let needed = if first { 1 } else { (all * u32::from(new.percent())).div_ceil(100).max(1) };
        assert!(
            new <= old || self.ready(&canary.revision) >= needed,
            "{new:?} needs {needed} pods"
        );
    }

    /// Invariant 2, for the previous step.
    fn steps_are_passed_with_reason(&self, state: Option<&EngineState>, outcome: &Decision) {
        let Some(canary) = state.and_then(|state| state.canary.as_ref()) else { return };
        let Some(step) = canary.step.as_ref().filter(|step| step.traffic == canary.weight) else {
            return;
        };
        let now = outcome
            .state
            .canary
            .as_ref()
            .filter(|now| now.revision == canary.revision && now.attempt == canary.attempt);
        let passed = if let Some(now) = now {
            now.step.as_ref().is_some_and(|now| now.number > step.number)
                && now.skip_steps.is_none()
        } else {
            let record = outcome.state.records.get(&canary.revision);
            record.is_some_and(|record| {
                record.reason == "all steps passed" && record.attempt == canary.attempt
            })
        };
        let unjudged = outcome.events.iter().any(|event| event.reason == "StepPassedUnjudged");
        if !passed || unjudged {
            return;
        }
        let judgment = outcome.state.last_judgment.unwrap();
        assert!(
            elapsed(self.simulation.now, judgment) < Duration::from_secs(30),
            "judged long ago"
        );
        let second = before_ingest(judgment).as_second() - super::START;
        assert!(self.gate_met(&canary.revision, second), "gate not met at {second}");
        let began = self.since_weight.as_second() - super::START;
        let observed =
            (began..=self.simulation.second()).filter(|second| self.scraped(*second)).count();
        // A scrape stands for the 15 s before it, and a window of two scrapes tolerates one that is
        // late.
        let required = usize::try_from(step.required().as_secs()).unwrap();
        assert!(observed + 30 >= required, "{observed} of {required} seconds were observed");
    }

    fn scraped(&self, second: i64) -> bool {
        !self.simulation.unscraped.iter().any(|(from, to)| (*from..*to).contains(&second))
    }

    fn truth(&self, revision: &Revision, second: i64) -> (f64, f64) {
        let truth = self.simulation.truths.get(revision).cloned().unwrap_or_default();
        let newest =
            |line: &[(i64, f64)]| line.iter().rev().find(|(from, _)| *from <= second).unwrap().1;
        (newest(&truth.values), newest(&truth.samples))
    }

    fn gate_met(&self, revision: &Revision, second: i64) -> bool {
        let (value, samples) = self.truth(revision, second);
        self.scraped(second) && value <= 0.01 && samples >= 20.0
    }

    /// Invariant 3.
    fn triggers_are_obeyed(&self, outcome: &Decision) {
        let Some(canary) = &outcome.state.canary else { return };
        let Some(facts) = self.simulation.facts.get(&canary.revision) else { return };
        let stable = outcome.state.stable.as_ref().map_or(0, |stable| self.ready(&stable.revision));
        if canary.weight == Weight::ZERO
            || canary.skip_steps == Some(SkipReason::PromoteForce)
            || stable == 0
        {
            return;
        }
        assert!(facts.broken.is_empty(), "broken pods keep {:?}", canary.weight);
        let judged_now = outcome.state.last_judgment == Some(self.simulation.now);
        let end = before_ingest(self.simulation.now);
        let begin = before(end, Duration::from_secs(120 + 15));
        let epoch = canary.first_ready.map(|ready| after(ready, Duration::from_mins(1)));
        let answered = !self
            .simulation
            .down
            .iter()
            .any(|(from, to)| (*from..*to).contains(&self.simulation.second()));
        if judged_now && answered && epoch.is_some_and(|epoch| epoch <= begin) {
            assert!(
                !self.breaching_all_the_time(&canary.revision, begin, end),
                "a trigger that holds was not obeyed"
            );
        }
    }

    fn breaching_all_the_time(
        &self,
        revision: &Revision,
        begin: Timestamp,
        end: Timestamp,
    ) -> bool {
        (begin.as_second() - super::START..=end.as_second() - super::START).all(|second| {
            let (value, samples) = self.truth(revision, second);
            self.scraped(second) && value > 0.1 && samples >= 20.0
        })
    }

    /// Invariant 4.
    fn rolled_back_stays_out(&mut self, state: Option<&EngineState>, outcome: &Decision) {
        let obeyed = outcome
            .state
            .intents
            .last()
            .filter(|last| state.is_none_or(|state| state.intents.last() != Some(*last)));
        if let Some(retried) = obeyed
            .filter(|last| last.intent.verb == Verb::Retry && last.outcome.ends_with("starts"))
        {
            self.rolled_back.remove(&retried.intent.revision);
        }
        for revision in &self.rolled_back {
            let weight = outcome
                .dataplane
                .revisions
                .get(revision)
                .map_or(Weight::ZERO, |state| state.weight);
            assert_eq!(weight, Weight::ZERO, "{revision} was rolled back and serves again");
        }
        let records = outcome.state.records.iter();
        let rolled_back =
            records.filter(|(_, record)| record.result == Some(AttemptResult::RolledBack));
        self.rolled_back.extend(rolled_back.map(|(revision, _)| revision.clone()));
    }

    fn generation_rises_with_the_dataplane(before: Option<&Dataplane>, outcome: &Decision) {
        let Some(before) = before else { return };
        let (old, new) = (before, &outcome.dataplane);
        assert_eq!(
            old.revisions != new.revisions,
            new.generation > old.generation,
            "{old:?} {new:?}"
        );
        assert!(new.generation >= old.generation);
    }

    fn pods_go_after_the_routers_know(&self, outcome: &Decision) {
        let generation =
            self.simulation.dataplane.as_ref().map_or(0, |dataplane| dataplane.generation);
        let obeyed =
            self.simulation.routers_stuck_at.map_or(generation, |stuck| stuck.min(generation));
        let knows = self.simulation.routers > 0 && obeyed >= outcome.state.generation;
        for (revision, facts) in
            self.simulation.facts.iter().filter(|_| outcome.state.stable.is_some())
        {
            let gone = facts.deployed.is_some() && !outcome.live.contains_key(revision);
            assert!(!gone || knows, "{revision} goes before the routers know");
        }
    }

    /// From now on everything works, and the spec asks for a revision that has never been seen.
    fn ends_well(&mut self) {
        self.simulation.truths.clear();
        self.simulation.unscraped.clear();
        self.simulation.down.clear();
        self.simulation.routers_stuck_at = None;
        self.simulation.routers = 2;
        self.simulation.replicas = 3;
        self.simulation.intent = None;
        self.policy_paused = false;
        self.simulation.policy.paused = false;
        self.simulation.spec = Some(revision(LAST));
        self.simulation.kubelet();
        for _ in 0..60 {
            self.live_for(Duration::from_mins(2));
        }
        let outcome = self.simulation.decide(None);
        assert_eq!(outcome.report.phase, Phase::Healthy, "{:#?}", outcome.report);
        let last = outcome
            .dataplane
            .revisions
            .get(&revision(LAST))
            .map(|state| (state.role, state.weight));
        assert_eq!(last, Some((Role::Stable, Weight::FULL)));
        assert_eq!(outcome.live, [(revision(LAST), 3)].into());
        assert!(elapsed(self.simulation.now, at(0)) > Duration::ZERO);
    }
}

/// The newest instant that can be queried.
fn before_ingest(now: Timestamp) -> Timestamp {
    before(now, Duration::from_secs(15))
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 400, failure_persistence: None,
        ..ProptestConfig::default() })]

    #[test]
    fn invariants_hold_in_every_reconcile_of_any_history_and_it_ends_well(
        happenings in proptest::collection::vec(happening(), 1..40)
    ) {
        let mut history = History::new();
        history.live_for(Duration::from_secs(5));
        for happening in &happenings {
            history.happen(happening);
        }
        history.ends_well();
    }
}
