//! The way back: flags and traffic at once, on a trigger; traffic alone, for everything else.

use std::collections::BTreeMap;

use mcphub_hub_wire::dataplane::{Revision, Weight};

use super::engine::Engine;
use super::policy::Rule;
use super::report::{advice, plain};
use super::state::{BrokenRule, Cause, elapsed, millis};
use super::verdict::JudgedRule;
use super::{RevisionResult, scale};

/// Why a revision must not keep its traffic.
pub(super) struct Harm {
    pub(super) reason: String,
    pub(super) rule: Option<BrokenRule>,
}

impl Engine<'_> {
    /// A trigger that holds on a canary with traffic.
    pub(super) fn obey_trigger(&mut self) -> bool {
        let Some(canary) = &self.state.canary else { return false };
        let forced = canary.straight == Some(super::state::Straight::PromoteForce);
        let harmful_already = canary.leave.as_ref().is_some_and(|leave| leave.harmful);
        if canary.weight == Weight::ZERO || forced || harmful_already {
            return false;
        }
        let Some(harm) = self.harm(&canary.revision) else { return false };
        self.roll_back(harm.reason, harm.rule, true);
        true
    }

    /// What holds against a revision that has traffic: what Kubernetes shows, and what rules say.
    pub(super) fn harm(&self, revision: &Revision) -> Option<Harm> {
        let judged = self.state.judged.as_ref().filter(|judged| judged.revision == *revision);
        if let Some(judged) = judged.and_then(super::verdict::Judged::broken) {
            let rule = self.input.policy.rules.iter().find(|rule| rule.name == judged.name);
            return Some(broken(judged, rule, self));
        }
        let pod = self.input.revisions.get(revision)?.broken.first()?;
        Some(Harm { reason: format!("pod {} {}", pod.name, pod.why), rule: None })
    }

    /// Takes the canary back: its flags at once, its traffic as soon as stable can take it.
    pub(super) fn roll_back(&mut self, reason: String, rule: Option<BrokenRule>, harmful: bool) {
        let Some(canary) = &self.state.canary else { return };
        let (revision, attempt) = (canary.revision.clone(), canary.attempt);
        let stable = self.state.stable.as_ref().map(|stable| stable.revision.clone());
        let flags =
            if harmful { self.set_flags_back(&revision, stable.as_ref()) } else { BTreeMap::new() };
        let said = if flags.is_empty() {
            String::new()
        } else {
            format!("; flags set back: {}", listed(&flags))
        };
        let then = advice(&revision, attempt);
        self.tell(
            true,
            "RolledBack",
            format!("revision {revision}, attempt {attempt}: {reason}{said}; {then}"),
        );
        self.note_cause(revision, attempt, &reason, rule, flags);
        self.leave(RevisionResult::RolledBack, reason, harmful);
    }

    pub(super) fn note_cause(
        &mut self,
        revision: Revision,
        attempt: u32,
        reason: &str,
        rule: Option<BrokenRule>,
        flags: BTreeMap<String, bool>,
    ) {
        let (at, reason) = (self.now(), reason.to_owned());
        self.state.rollback = Some(Cause { revision, attempt, at, reason, rule, flags });
    }

    /// Sets flags of a revision back, live; which ones, with their value now.
    pub(super) fn set_flags_back(
        &mut self,
        revision: &Revision,
        good: Option<&Revision>,
    ) -> BTreeMap<String, bool> {
        let flags = |revision: &Revision| {
            self.input.revisions.get(revision).map(|facts| facts.flags.clone())
        };
        let (own, good) = (flags(revision).unwrap_or_default(), good.and_then(flags));
        // A flag that a revision does not know is off in it.
        let on = |flags: &BTreeMap<String, bool>, name: &String| {
            flags.get(name).copied().unwrap_or(false)
        };
        let safe = |name: &String| good.as_ref().is_some_and(|good| on(good, name));
        let named = &self.input.policy.rollback.flags;
        let wanted: BTreeMap<String, bool> = match &good {
            _ if !named.is_empty() => named
                .iter()
                .map(|(name, value)| (name.clone(), value.unwrap_or_else(|| safe(name))))
                .collect(),
            Some(good) => {
                own.keys().chain(good.keys()).map(|name| (name.clone(), safe(name))).collect()
            }
            None => BTreeMap::new(),
        };
        let changed = wanted.into_iter().filter(|(name, value)| on(&own, name) != *value);
        let changed: BTreeMap<String, bool> = changed.collect();
        if !changed.is_empty() {
            self.state
                .flags_rolled_back
                .entry(revision.clone())
                .or_default()
                .extend(changed.clone());
        }
        changed
    }

    /// Cuts the traffic of a canary on its way out.
    pub(super) fn cut(&mut self) -> bool {
        let Some(leave) = self.state.canary.as_ref().and_then(|canary| canary.leave.as_ref())
        else {
            return false;
        };
        if self.canary_weight() > Weight::ZERO {
            let all = scale::replicas(&self.state, self.input);
            let stable = self
                .state
                .stable
                .as_ref()
                .map_or(0, |stable| scale::ready(self.input, &stable.revision));
            let waited_enough =
                elapsed(self.now(), leave.since) >= self.input.policy.progress_deadline;
            // Stable is made whole first: half its pods under all of the traffic is the next outage. Unless the canary
            // harms its callers, or stable does not get whole.
            let needed = if leave.harmful || waited_enough { 1 } else { all.max(1) };
            if stable < needed {
                return false;
            }
        }
        let Some(canary) = self.state.canary.take() else { return false };
        let Some(leave) = canary.leave.clone() else { return false };
        let mut reason = leave.reason;
        if !canary.exceptions.is_empty() && canary.weight > Weight::ZERO {
            reason = format!("{reason} (before: {})", canary.exceptions.join("; "));
        }
        let result = match (&canary.never_worked, leave.result) {
            (Some(_), RevisionResult::Replaced) => RevisionResult::Failed,
            (_, result) => result,
        };
        let pods = scale::canary_pods(&canary, &self.state, self.input);
        self.record(&canary.revision, canary.attempt, result, reason.clone());
        self.state.judged = None;
        match result {
            RevisionResult::RolledBack => self.keep_failed(canary.revision, pods),
            RevisionResult::Aborted => {
                let then = advice(&canary.revision, canary.attempt);
                self.tell(
                    true,
                    "Aborted",
                    format!("revision {}: {reason}; {then}", canary.revision),
                );
                self.note_cause(
                    canary.revision.clone(),
                    canary.attempt,
                    &reason,
                    None,
                    BTreeMap::new(),
                );
                self.keep_failed(canary.revision, pods);
            }
            RevisionResult::Replaced | RevisionResult::Failed | RevisionResult::Promoted => {
                self.tell(false, "Replaced", format!("revision {}: {reason}", canary.revision));
            }
        }
        true
    }

    /// Ends what is kept of a rolled back revision.
    pub(super) fn forget_failed(&mut self) -> bool {
        let (now, keep_for) = (self.now(), self.input.policy.rollback.keep_for);
        self.state.failed.take_if(|failed| elapsed(now, failed.since) >= keep_for).is_some()
    }
}

pub(super) fn listed(flags: &BTreeMap<String, bool>) -> String {
    flags.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ")
}

/// Rule, value, threshold, since when, on how many samples.
fn broken(judged: &JudgedRule, rule: Option<&Rule>, engine: &Engine<'_>) -> Harm {
    let when = rule.and_then(|rule| rule.rollback_when);
    let since = judged.open.unwrap_or(engine.now());
    let broken = BrokenRule {
        name: judged.name.clone(),
        value: judged.value,
        threshold: when.map_or_else(String::new, |when| when.breach.to_string()),
        lasting_ms: when.map_or(0, |when| millis(when.lasting)),
        since,
        samples: judged.samples,
    };
    let value = judged.value.map_or_else(|| "gone now".into(), |value| value.to_string());
    let samples =
        judged.samples.map_or_else(String::new, |samples| format!(" on {samples:.0} samples"));
    let lasting = when.map_or_else(String::new, |when| format!(" for {}", plain(when.lasting)));
    let since = since.strftime("%H:%M:%S UTC");
    let reason = format!(
        "rule {} {}{lasting}: {value}{samples}, since {since}",
        broken.name, broken.threshold
    );
    Harm { reason, rule: Some(broken) }
}
