//! Rolls back: flags and traffic at once after a trigger, traffic alone in every other case. Also
//! words the Event and the reason.

use std::collections::BTreeMap;

use mcphub_hub_wire::dataplane::{Revision, Weight};

use super::attempt::AttemptResult;
use super::clock::{elapsed, millis};
use super::engine::Engine;
use super::flags::{self, Flags, is_on, listed};
use super::policy::RulePolicy;
use super::rules::judgment::{FailingTool, Judgment, RuleJudgment};
use super::scale;
use super::state::{RollbackCause, RuleBreach, SkipReason, Withdrawal};
use super::suggestion::advice;
use super::text::plain;

/// Why a revision must lose its traffic.
pub(super) struct Harm {
    pub(super) reason: String,
    pub(super) rule: Option<RuleBreach>,
}

/// Obeys a trigger that fires on a canary with traffic.
pub(super) fn obey_trigger(engine: &mut Engine<'_>) -> bool {
    let Some(canary) = &engine.state.canary else { return false };
    let forced = canary.skip_steps == Some(SkipReason::PromoteForce);
    let harmful_already = canary.withdrawal.as_ref().is_some_and(|withdrawal| withdrawal.harmful);
    if canary.weight == Weight::ZERO || forced || harmful_already {
        return false;
    }
    let Some(harm) = harm(engine, &canary.revision) else { return false };
    roll_back(engine, harm.reason, harm.rule, true);
    true
}

/// Evidence against a revision with traffic, from the rules or from its pods.
pub(super) fn harm(engine: &Engine<'_>, revision: &Revision) -> Option<Harm> {
    let judgment = engine.state.judgment.as_ref().filter(|judgment| judgment.revision == *revision);
    if let Some(judgment) = judgment.and_then(Judgment::broken) {
        let rule = engine.input.policy.rules.iter().find(|rule| rule.name == judgment.name);
        return Some(broken(judgment, rule, engine));
    }
    let pod = engine.input.revisions.get(revision)?.broken.first()?;
    Some(Harm { reason: format!("pod {} {}", pod.name, pod.why), rule: None })
}

/// Rolls the canary back: its flags immediately, its traffic as soon as stable can take over.
pub(super) fn roll_back(
    engine: &mut Engine<'_>,
    reason: String,
    rule: Option<RuleBreach>,
    harmful: bool,
) {
    let Some(canary) = &engine.state.canary else { return };
    let (revision, attempt) = (canary.revision.clone(), canary.attempt);
    let stable = engine.state.stable.as_ref().map(|stable| stable.revision.clone());
    let flags =
        if harmful { roll_back_flags(engine, &revision, stable.as_ref()) } else { BTreeMap::new() };
    let said = if flags.is_empty() {
        String::new()
    } else {
        format!("; flags rolled back: {}", listed(&flags))
    };
    let then = advice(engine.input, &revision, attempt);
    engine.emit(
        true,
        "RolledBack",
        format!("revision {revision}, attempt {attempt}: {reason}{said}; {then}"),
    );
    record_cause(engine, revision, attempt, &reason, rule, flags);
    withdraw(engine, AttemptResult::RolledBack, reason, harmful);
}

/// Starts the withdrawal of the canary.
pub(super) fn withdraw(
    engine: &mut Engine<'_>,
    result: AttemptResult,
    reason: String,
    harmful: bool,
) {
    let since = engine.now();
    if let Some(canary) = &mut engine.state.canary {
        canary.hold = None;
        canary.withdrawal = Some(Withdrawal { result, reason, harmful, since });
    }
}

pub(super) fn record_cause(
    engine: &mut Engine<'_>,
    revision: Revision,
    attempt: u32,
    reason: &str,
    rule: Option<RuleBreach>,
    flags: BTreeMap<String, bool>,
) {
    let (at, reason) = (engine.now(), reason.to_owned());
    let state = &engine.state;
    let step = state.canary.as_ref().and_then(|canary| canary.step.as_ref());
    let judgment = state.judgment.clone().filter(|judgment| judgment.revision == revision);
    engine.state.rollback = Some(RollbackCause {
        step: step.map_or(0, |step| step.number),
        observed_ms: step.map_or(0, |step| millis(step.observed().min(step.required()))),
        bake_ms: step.map_or(0, |step| step.bake_ms),
        revision,
        attempt,
        at,
        reason,
        rule,
        flags,
        judgment,
    });
}

/// Rolls back flags of a revision on its running pods. What counts are the values in force: a flag
/// that an earlier rollback changed is not what the spec says. Returns the flags that changed, with
/// their new value.
pub(super) fn roll_back_flags(
    engine: &mut Engine<'_>,
    revision: &Revision,
    good: Option<&Revision>,
) -> BTreeMap<String, bool> {
    let flags = |revision: &Revision| {
        let known = engine.input.revisions.contains_key(revision);
        known.then(|| flags::in_force(&engine.state, engine.input, revision))
    };
    let (own, good) = (flags(revision).unwrap_or_default(), good.and_then(flags));
    let safe = |name: &String| good.as_ref().is_some_and(|good| is_on(good, name));
    let named = &engine.input.policy.rollback.flags;
    let wanted: Flags = match &good {
        _ if !named.is_empty() => named
            .iter()
            .map(|(name, value)| (name.clone(), value.unwrap_or_else(|| safe(name))))
            .collect(),
        Some(good) => {
            own.keys().chain(good.keys()).map(|name| (name.clone(), safe(name))).collect()
        }
        None => Flags::new(),
    };
    let changed: Flags =
        wanted.into_iter().filter(|(name, value)| is_on(&own, name) != *value).collect();
    flags::roll_back(&mut engine.state, engine.input, revision, &changed);
    changed
}

/// Cuts the traffic of a canary that is being withdrawn.
pub(super) fn cut_traffic(engine: &mut Engine<'_>) -> bool {
    let Some(withdrawal) =
        engine.state.canary.as_ref().and_then(|canary| canary.withdrawal.as_ref())
    else {
        return false;
    };
    if engine.canary_weight() > Weight::ZERO {
        let all = scale::replicas(&engine.state, engine.input);
        let stable = engine
            .state
            .stable
            .as_ref()
            .map_or(0, |stable| scale::ready(engine.input, &stable.revision));
        let waited_enough =
            elapsed(engine.now(), withdrawal.since) >= engine.input.policy.progress_deadline;
        // Stable must have all its pods first, because half of them under the full traffic would be
        // the next outage. There are two exceptions: the canary harms its callers, or stable does
        // not become complete.
        let needed = if withdrawal.harmful || waited_enough { 1 } else { all.max(1) };
        if stable < needed {
            return false;
        }
    }
    let Some(canary) = engine.state.canary.clone() else { return false };
    let Some(withdrawal) = canary.withdrawal.clone() else { return false };
    let mut reason = withdrawal.reason;
    if !canary.exceptions.is_empty() && canary.weight > Weight::ZERO {
        reason = format!("{reason} (earlier: {})", canary.exceptions.join("; "));
    }
    let result = match (&canary.never_worked, withdrawal.result) {
        (Some(_), AttemptResult::Replaced) => AttemptResult::Failed,
        (_, result) => result,
    };
    if result == AttemptResult::Aborted {
        let (revision, attempt) = (canary.revision.clone(), canary.attempt);
        record_cause(engine, revision, attempt, &reason, None, BTreeMap::new());
    }
    engine.state.canary = None;
    engine.state.judgment = None;
    let pods = scale::canary_pods(&canary, &engine.state, engine.input);
    engine.record(&canary.revision, canary.attempt, result, reason.clone());
    match result {
        AttemptResult::RolledBack => engine.keep_failed(canary.revision, pods),
        AttemptResult::Aborted => {
            let then = advice(engine.input, &canary.revision, canary.attempt);
            engine.emit(true, "Aborted", format!("revision {}: {reason}; {then}", canary.revision));
            engine.keep_failed(canary.revision, pods);
        }
        AttemptResult::Replaced | AttemptResult::Failed | AttemptResult::Promoted => {
            engine.emit(false, "Replaced", format!("revision {}: {reason}", canary.revision));
        }
    }
    true
}

/// Removes a failed revision after `keepFor`.
pub(super) fn remove_failed(engine: &mut Engine<'_>) -> bool {
    let (now, keep_for) = (engine.now(), engine.input.policy.rollback.keep_for);
    engine.state.failed.take_if(|failed| elapsed(now, failed.since) >= keep_for).is_some()
}

/// Describes the rule that fired: value, threshold, start and number of samples.
fn broken(judgment: &RuleJudgment, rule: Option<&RulePolicy>, engine: &Engine<'_>) -> Harm {
    let when = rule.and_then(|rule| rule.rollback_when);
    let since = judgment.breach_start.unwrap_or(engine.now());
    let broken = RuleBreach {
        name: judgment.name.clone(),
        value: judgment.value,
        threshold: when.map_or_else(String::new, |when| when.threshold.to_string()),
        lasting_ms: when.map_or(0, |when| millis(when.lasting)),
        since,
        samples: judgment.samples,
    };
    let value = judgment.value.map_or_else(|| "no value now".into(), |value| value.to_string());
    let samples =
        judgment.samples.map_or_else(String::new, |samples| format!(" on {samples:.0} samples"));
    let lasting = when.map_or_else(String::new, |when| format!(" for {}", plain(when.lasting)));
    let since = since.strftime("%H:%M:%S UTC");
    let reason = format!(
        "rule {} {}{lasting}: {value}{samples}{}, since {since}",
        broken.name,
        broken.threshold,
        failing_tools(judgment)
    );
    Harm { reason, rule: Some(broken) }
}

/// Names the tools that failed most, as far as Prometheus has said so in time.
fn failing_tools(judgment: &RuleJudgment) -> String {
    let tools = judgment.failing_tools.iter();
    let names: Vec<_> =
        tools.map(|FailingTool { server, tool }| format!("{server}: {tool}")).collect();
    if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) }
}
