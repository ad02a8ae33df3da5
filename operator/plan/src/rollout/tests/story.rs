//! The language of stories. Times are in seconds. `GOOD` serves from the start, and `NEXT` is what
//! the spec changes to.

use std::collections::BTreeMap;
use std::time::Duration;

use mcphub_crds::rollout::Rollout;
use mcphub_crds::status::{HoldReason, Phase};
use mcphub_hub_wire::dataplane::{Revision, Role};

use super::at;
use super::simulation::{Simulation, Truth};
use crate::next::Next;
use crate::rollout::policy::{HubFeatures, Policy};
use crate::rollout::report::Report;
use crate::rollout::{AttemptResult, BrokenPod, RevisionFacts, SelfCheckFact};
use crate::snapshot::PrometheusTiming;

pub(super) const GOOD: &str = "aaaaaaaa";
pub(super) const NEXT: &str = "bbbbbbbb";
pub(super) const OTHER: &str = "cccccccc";

pub(super) const MINUTE: i64 = 60;
pub(super) const HOUR: i64 = 3600;

pub(super) fn revision(name: &str) -> Revision {
    name.parse().unwrap()
}

/// `spec.rollout` of most stories: the default steps and one rule.
pub(super) const RULE: &str = "rules: [{name: errors, metric: HubErrorRate, minSamples: 20, \
     promoteWhen: {atMost: '0.01'}, rollbackWhen: {above: '0.10', for: 2m}}]\n";

/// Reads `spec.rollout` from YAML, with a Prometheus that scrapes every 15 s.
pub(super) fn policy(yaml: &str) -> Policy {
    let spec: Rollout = serde_yaml_ng::from_str(yaml).unwrap();
    let seconds = Duration::from_secs;
    let prometheus = PrometheusTiming { scrape_interval: seconds(15), ingest_delay: seconds(15) };
    let has = HubFeatures { llm: false, golden_questions: true };
    Policy::from_spec(
        Some(&spec),
        Some(("main", &prometheus)),
        &BTreeMap::from([("beta".into(), false)]),
        has,
    )
    .unwrap()
}

pub(super) struct Story {
    pub(super) simulation: Simulation,
    pub(super) report: Option<Report>,
}

impl Story {
    /// A hub whose first revision is not deployed yet.
    pub(super) fn new(yaml: &str) -> Self {
        Self::ruled(&format!("{RULE}{yaml}"))
    }

    /// The same with other rules.
    pub(super) fn ruled(yaml: &str) -> Self {
        Self { simulation: Simulation::new(policy(yaml), &revision(GOOD)), report: None }
    }

    /// A hub that serves `GOOD` and has settled.
    pub(super) fn healthy(yaml: &str) -> Self {
        Self::new(yaml).at_rest()
    }

    /// Waits until the first deployment is complete.
    pub(super) fn at_rest(self) -> Self {
        let mut story = self;
        story.run_to(10);
        assert_eq!(story.phase(), Phase::Healthy, "{}", story.message());
        story
    }

    /// The spec asks for `NEXT` at second 60, and `NEXT` has just got the 10% of step 1.
    pub(super) fn canary(yaml: &str) -> Self {
        let mut story = Self::healthy(yaml).until(MINUTE).spec(NEXT);
        story.run_to(MINUTE + 5);
        assert_eq!(story.weights(), "aaaaaaaa 90, bbbbbbbb 10", "{}", story.message());
        story
    }

    /// A canary that passed its steps and was promoted. Guard has started.
    pub(super) fn promoted(yaml: &str) -> Self {
        let story = Self::canary(yaml).until(94 * MINUTE);
        assert_eq!(story.phase(), Phase::Guard, "{}", story.message());
        story
    }

    pub(super) fn truth(&mut self, name: &str) -> &mut Truth {
        self.simulation.truths.entry(revision(name)).or_default()
    }

    /// Sets the rule's value of a revision from these seconds on.
    pub(super) fn errors<const N: usize>(mut self, name: &str, values: [(i64, f64); N]) -> Self {
        self.truth(name).values.extend(values);
        self
    }

    pub(super) fn samples<const N: usize>(mut self, name: &str, samples: [(i64, f64); N]) -> Self {
        self.truth(name).samples.extend(samples);
        self
    }

    pub(super) fn spec(mut self, name: &str) -> Self {
        self.simulation.spec = Some(revision(name));
        self.simulation.kubelet();
        self
    }

    pub(super) fn intent(mut self, text: &str) -> Self {
        self.simulation.intent = Some(text.parse().unwrap());
        self
    }

    /// The annotation is removed.
    pub(super) fn no_intent(mut self) -> Self {
        self.simulation.intent = None;
        self
    }

    /// A Deployment of a revision that has no role any more.
    pub(super) fn leftover(mut self, name: &str) -> Self {
        let facts = self.simulation.facts[&revision(GOOD)].clone();
        let facts = RevisionFacts { attempt: None, ..facts };
        self.simulation.facts.insert(revision(name), facts);
        self
    }

    /// The messages of all Events with this reason.
    pub(super) fn events(&self, reason: &str) -> Vec<&str> {
        let prefix = format!("{reason}: ");
        let events = self.simulation.events.iter();
        events.filter_map(|(_, event)| event.strip_prefix(&prefix)).collect()
    }

    pub(super) fn broken(mut self, name: &str) -> Self {
        self.truth(name).broken =
            vec![BrokenPod { name: "pod-1".into(), why: "is crash-looping".into() }];
        self.simulation.kubelet();
        self
    }

    pub(super) fn pods(mut self, name: &str, pods: u32) -> Self {
        self.truth(name).pods = Some(pods);
        self.simulation.kubelet();
        self
    }

    pub(super) fn unscraped(mut self, from: i64, to: i64) -> Self {
        self.simulation.unscraped.push((from, to));
        self
    }

    pub(super) fn prometheus_down(mut self, from: i64, to: i64) -> Self {
        self.simulation.down.push((from, to));
        self
    }

    /// Reconciles whenever the engine asks for it, at least every 30 s, up to this second.
    pub(super) fn until(mut self, second: i64) -> Self {
        self.run_to(second);
        self
    }

    /// Ten more seconds.
    pub(super) fn until_next(self) -> Self {
        let second = self.simulation.second() + 10;
        self.until(second)
    }

    pub(super) fn run_to(&mut self, second: i64) {
        loop {
            let facts = self.simulation.facts.clone();
            let outcome = self.simulation.reconcile();
            let woken = facts != self.simulation.facts;
            let wait = match outcome.next {
                Next::Now => Duration::from_millis(50),
                // A watch reports pods that come up.
                Next::In(_) | Next::Idle if woken => Duration::from_millis(50),
                Next::In(wait) => wait.min(Duration::from_secs(30)),
                Next::Idle => Duration::from_secs(30),
            };
            self.report = Some(outcome.report);
            if self.simulation.second() >= second {
                break;
            }
            self.simulation.wait(wait);
            if self.simulation.second() >= second {
                self.simulation.now = at(second);
            }
            self.simulation.kubelet();
        }
    }

    /// Nobody reconciles until this second.
    pub(super) fn away_until(mut self, second: i64) -> Self {
        self.simulation.now = at(second);
        self.simulation.kubelet();
        self
    }

    pub(super) fn report(&self) -> &Report {
        self.report.as_ref().unwrap()
    }

    pub(super) fn phase(&self) -> Phase {
        self.report().phase
    }

    pub(super) fn message(&self) -> &str {
        &self.report().message
    }

    pub(super) fn holding(&self) -> Option<HoldReason> {
        self.report().canary.as_ref()?.holding.map(|(reason, _)| reason)
    }

    pub(super) fn step(&self) -> u32 {
        self.report().canary.as_ref().map_or(0, |canary| canary.step)
    }

    pub(super) fn observed(&self) -> i64 {
        let observed = self.report().canary.as_ref().unwrap().bake_observed;
        i64::try_from(observed.as_secs()).unwrap()
    }

    /// Revisions with a weight above 0, with their weight.
    pub(super) fn weights(&self) -> String {
        let revisions = self.simulation.dataplane.iter().flat_map(|dataplane| &dataplane.revisions);
        let weights = revisions.map(|(revision, state)| (revision, state.weight.percent()));
        let weights: Vec<_> = weights
            .filter(|(_, weight)| *weight > 0)
            .map(|(revision, weight)| format!("{revision} {weight}"))
            .collect();
        weights.join(", ")
    }

    pub(super) fn role(&self, name: &str) -> Option<Role> {
        self.simulation.dataplane.as_ref()?.revisions.get(&revision(name)).map(|state| state.role)
    }

    pub(super) fn pods_of(&self, name: &str) -> Option<u32> {
        self.simulation.facts.get(&revision(name))?.deployed
    }

    pub(super) fn result(&self, name: &str) -> Option<AttemptResult> {
        self.simulation.state.as_ref()?.records.get(&revision(name))?.result
    }

    pub(super) fn reason(&self, name: &str) -> String {
        self.simulation.state.as_ref().unwrap().records.get(&revision(name)).unwrap().reason.clone()
    }

    pub(super) fn flag(&self, name: &str, flag: &str) -> Option<bool> {
        self.simulation.dataplane.as_ref()?.revisions.get(&revision(name))?.flags.get(flag).copied()
    }

    /// First second of an event with this reason.
    pub(super) fn event(&self, reason: &str) -> Option<i64> {
        let prefix = format!("{reason}: ");
        self.simulation
            .events
            .iter()
            .find(|(_, event)| event.starts_with(&prefix))
            .map(|(second, _)| *second)
    }

    /// `engine.json` and `dataplane.json` are gone.
    pub(super) fn runtime_config_map_deleted(mut self) -> Self {
        self.simulation.state = None;
        self.simulation.dataplane = None;
        for facts in self.simulation.facts.values_mut() {
            facts.self_check = SelfCheckFact::Unknown;
        }
        self
    }
}
