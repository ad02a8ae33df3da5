//! A canary on its steps: pods for the weight, the weight, routers, bake, gates.

use std::time::Duration;

use mcphub_crds::rollout::OnTooFew;
use mcphub_hub_wire::dataplane::Weight;

use super::bake::Bake;
use super::engine::Engine;
use super::questions::{self, passes};
use super::report::plain;
use super::scale;
use super::state::{Canary, HoldReason, StepState, millis};
use super::verdict::{Judged, JudgedRule, Verdict};

/// What the rules say of a step.
#[derive(Debug, Clone, PartialEq)]
enum Standing {
    /// The bake goes on, or nothing new is known.
    Baking,
    /// Bake done, gates passed.
    Passed,
    Unmet(String),
    TooFew(String),
    NoData(String),
    ProviderDown(String),
}

impl Engine<'_> {
    /// One transition of a canary that has passed its self-check.
    pub(super) fn walk(&mut self) -> bool {
        let Some(canary) = &self.state.canary else { return false };
        let Some(step) = canary.step.as_ref().filter(|_| canary.leave.is_none()) else {
            return false;
        };
        if canary.straight.is_some() && step.traffic < Weight::FULL {
            self.enter_next_step();
            return true;
        }
        if canary.weight < step.traffic {
            return self.shift();
        }
        if step.bake.is_none() {
            return self.begin_bake();
        }
        self.time_out_hold() || self.bake()
    }

    /// Gives the canary its step's weight once the pods for it are Ready.
    fn shift(&mut self) -> bool {
        let Some(canary) = &self.state.canary else { return false };
        let Some(step) = &canary.step else { return false };
        let (number, traffic) = (step.number, step.traffic);
        let ready = scale::ready(self.input, &canary.revision);
        let first = self.state.stable.is_none();
        let needed = if first { 1 } else { scale::pods_for(traffic, &self.state, self.input) };
        if ready < needed {
            return self.await_pods();
        }
        if self.release(&[HoldReason::Unschedulable]) {
            return true;
        }
        // Nothing serves before a first deployment does, so there is nothing that a pause could protect.
        if !first && self.paused().is_some() {
            return false;
        }
        if traffic == Weight::FULL {
            self.promote();
            return true;
        }
        let revision = canary_name(self.state.canary.as_ref());
        self.tell(
            false,
            "TrafficShifted",
            format!("{revision} gets {} % (step {number})", traffic.percent()),
        );
        let now = self.now();
        self.change_canary(|canary| {
            canary.weight = traffic;
            if let Some(step) = &mut canary.step {
                step.weight_since = Some(now);
            }
        })
    }

    /// Why the rollout stands still, if a person or the spec stopped it.
    pub(super) fn paused(&self) -> Option<String> {
        let by_spec = self.input.policy.paused.then(|| "spec.rollout.paused is true".to_owned());
        by_spec.or_else(|| self.state.canary.as_ref()?.paused.clone())
    }

    /// A step begins when every Ready router obeys its weight.
    fn begin_bake(&mut self) -> bool {
        let routers = self.input.routers;
        if routers.ready == 0 || routers.obeyed.is_none_or(|obeyed| obeyed < self.state.generation)
        {
            return false;
        }
        let now = self.now();
        self.change_canary(|canary| {
            if let Some(step) = &mut canary.step {
                step.bake = Some(Bake::begin(now));
            }
        })
    }

    fn bake(&mut self) -> bool {
        let Some((canary, step)) = self.at_step() else { return false };
        let missing = scale::pods_for(canary.weight, &self.state, self.input)
            .saturating_sub(scale::ready(self.input, &canary.revision));
        let facts = self.input.revisions.get(&canary.revision);
        if missing > 0 {
            let homeless = facts.is_some_and(|facts| facts.unschedulable > 0);
            return homeless
                && self.hold(
                    HoldReason::Unschedulable,
                    format!("{missing} of its pods are not Ready"),
                );
        }
        let number = step.number;
        match self.standing(canary, step) {
            Standing::Baking => {
                // Verdicts of a stale judgment end nothing: the next one is due now.
                !questions::due(&self.state, self.input) && self.release_all()
            }
            Standing::ProviderDown(message) => self.hold(HoldReason::ProviderDown, message),
            Standing::NoData(message) => self.hold(HoldReason::NoData, message),
            Standing::Unmet(message) => self.gate_not_met(message),
            Standing::TooFew(message) => self.too_few(&message),
            Standing::Passed if self.release_all() => true,
            Standing::Passed => self.pass(number),
        }
    }

    fn at_step(&self) -> Option<(&Canary, &StepState)> {
        let canary = self.state.canary.as_ref()?;
        Some((canary, canary.step.as_ref()?))
    }

    fn release_all(&mut self) -> bool {
        self.state.canary.as_mut().is_some_and(|canary| canary.hold.take().is_some())
    }

    /// On to the next step, unless somebody is to be waited for.
    fn pass(&mut self, number: u32) -> bool {
        let waits = self.at_step().is_some_and(|(_, step)| step.pause && !step.advanced);
        if waits || self.paused().is_some() {
            return false;
        }
        self.tell(
            false,
            "StepPassed",
            format!("{} passed step {number}", canary_name(self.state.canary.as_ref())),
        );
        self.enter_next_step();
        true
    }

    pub(super) fn waits_for_a_person(&self) -> bool {
        let Some((canary, step)) = self.at_step() else { return false };
        let waits =
            step.pause && !step.advanced && canary.weight == step.traffic && step.bake.is_some();
        waits
            && match self.standing(canary, step) {
                Standing::Passed => true,
                // More waiting brings no more samples: it is the person's turn.
                Standing::TooFew(_) => step.observed() >= self.longest_bake(step),
                Standing::Baking
                | Standing::Unmet(_)
                | Standing::NoData(_)
                | Standing::ProviderDown(_) => false,
            }
    }

    /// How long a step waits for samples.
    fn longest_bake(&self, step: &StepState) -> Duration {
        self.input.policy.max_bake.unwrap_or(step.required().saturating_mul(3)).max(step.required())
    }

    fn standing(&self, canary: &Canary, step: &StepState) -> Standing {
        if step.required().is_zero() {
            return Standing::Passed;
        }
        if self.input.policy.prometheus.is_none() {
            return Standing::ProviderDown(
                "the operator has no Prometheus any more, so no bake can be observed".into(),
            );
        }
        let judged = self.state.judged.as_ref().filter(|judged| judged.revision == canary.revision);
        // Older than the interval: an operator that was away must look before it goes on.
        let Some(judged) = judged.filter(|_| !questions::due(&self.state, self.input)) else {
            return Standing::Baking;
        };
        let rules = || {
            judged
                .rules
                .iter()
                .filter(|rule| !rule.dry_run && rule.trigger != Some(Verdict::NotApplicable))
        };
        if let Some(outage) = outage(judged, rules()) {
            return outage;
        }
        if step.observed() < step.required() {
            return Standing::Baking;
        }
        if rules().any(|rule| rule.gate.is_none()) {
            return Standing::Baking;
        }
        if let Some(unmet) = rules().find(|rule| matches!(rule.gate, Some(Verdict::Breach { .. })))
        {
            return Standing::Unmet(self.unmet(unmet, step));
        }
        // More traffic for a revision that is breaching would be paid for by callers until its `for` has passed.
        if let Some(breaching) =
            rules().find(|rule| matches!(rule.trigger, Some(Verdict::Breach { .. })))
        {
            return Standing::Unmet(format!(
                "{} is breaching; it ends, or it rolls back",
                breaching.name
            ));
        }
        match rules().find_map(too_few_for) {
            Some(message) => Standing::TooFew(message),
            None => Standing::Passed,
        }
    }

    fn unmet(&self, judged: &JudgedRule, step: &StepState) -> String {
        let rule = self.input.policy.rules.iter().find(|rule| rule.name == judged.name);
        let bound = rule
            .and_then(|rule| rule.promote_when)
            .map_or_else(String::new, |bound| format!(", not {bound}"));
        let value = judged.gate_value.map_or_else(|| "not met".into(), |value| value.to_string());
        format!("{} is {value} over the last {}{bound}", judged.name, plain(step.required()))
    }

    fn gate_not_met(&mut self, message: String) -> bool {
        let limit = self.input.policy.gate_timeout;
        let Some((_, step)) = self.at_step() else { return false };
        let observed = millis(step.observed());
        match step.unmet_from_ms {
            // Counted in observed time: an outage of Prometheus brings nobody nearer to a rollback.
            Some(from) if observed.saturating_sub(from) >= millis(limit) => {
                self.roll_back(
                    format!("gate not met for {}: {message}", plain(limit)),
                    None,
                    false,
                );
                true
            }
            Some(_) => self.hold(HoldReason::GateNotMet, message),
            None => {
                self.change_canary(|canary| {
                    if let Some(step) = &mut canary.step {
                        step.unmet_from_ms = Some(observed);
                    }
                });
                self.hold(HoldReason::GateNotMet, message);
                true
            }
        }
    }

    fn too_few(&mut self, message: &str) -> bool {
        if self.hold(HoldReason::TooFewSamples, message.to_owned()) {
            return true;
        }
        let Some((canary, step)) = self.at_step() else { return false };
        let limit = self.longest_bake(step);
        let waits = step.pause && !step.advanced;
        if step.observed() < limit || waits || self.paused().is_some() {
            return false;
        }
        let why = format!("{message} after {} at step {}", plain(limit), step.number);
        match self.input.policy.on_too_few {
            OnTooFew::Pause => {
                self.change_canary(|canary| {
                    canary.paused = Some(format!("{why} (onTooFew: Pause)"))
                });
                self.tell(
                    true,
                    "RolloutPaused",
                    format!("{why}; send traffic and resume, promote or abort"),
                );
                true
            }
            OnTooFew::Proceed if passes(self.input, &canary.revision) => {
                self.tell(
                    false,
                    "StepPassedUnjudged",
                    format!("{why}; its self-check passes (onTooFew: Proceed)"),
                );
                self.change_canary(|canary| {
                    canary.exceptions.push(format!("{why} (onTooFew: Proceed)"))
                });
                self.enter_next_step();
                true
            }
            OnTooFew::Proceed => false,
        }
    }
}

fn canary_name(canary: Option<&Canary>) -> String {
    canary.map_or_else(String::new, |canary| format!("revision {}", canary.revision))
}

/// Nothing can be said of the step, or not by all rules.
fn outage<'a>(judged: &'a Judged, rules: impl Iterator<Item = &'a JudgedRule>) -> Option<Standing> {
    let of_rules = rules.flat_map(|rule| {
        let both = rule.trigger.iter().chain(&rule.gate);
        both.map(|verdict| (rule.name.as_str(), verdict))
    });
    let verdicts: Vec<_> =
        std::iter::once(("mcp_hub_info", &judged.presence)).chain(of_rules).collect();
    if verdicts.iter().any(|(_, verdict)| **verdict == Verdict::ProviderDown) {
        return Some(Standing::ProviderDown(
            "Prometheus does not answer; nothing is judged until it does".into(),
        ));
    }
    let (name, _) = verdicts.iter().find(|(_, verdict)| **verdict == Verdict::NoData)?;
    Some(Standing::NoData(format!(
        "Prometheus has no data for {name}; is it scraping the canary's pods?"
    )))
}

fn too_few_for(rule: &JudgedRule) -> Option<String> {
    match rule.gate {
        Some(Verdict::TooFew { have, need }) => {
            Some(format!("{} has {have} of {need} samples", rule.name))
        }
        Some(
            Verdict::Good
            | Verdict::Breach { .. }
            | Verdict::NoData
            | Verdict::ProviderDown
            | Verdict::NotApplicable,
        )
        | None => None,
    }
}
