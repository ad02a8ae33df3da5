//! The time after 100% in which the old revision is kept warm.

use mcphub_crds::rollout::RollbackOrder;

use super::attempt::AttemptResult;
use super::clock::{after, before, elapsed};
use super::engine::Engine;
use super::flags::listed;
use super::rollback::{self, Harm};
use super::scale;
use super::state::Stable;
use super::suggestion::advice;

/// Obeys a trigger that fires on a promoted revision while its predecessor is kept warm.
pub(super) fn obey_trigger(engine: &mut Engine<'_>) -> bool {
    let Some(stable) = &engine.state.stable else { return false };
    let Some(previous) = &engine.state.previous else { return false };
    let waits = stable.flags_tried && stable.epoch.is_some_and(|epoch| epoch > engine.now());
    if previous.guard_over || stable.forced || waits || engine.state.canary.is_some() {
        return false;
    }
    let Some(harm) = rollback::harm(engine, &stable.revision) else { return false };
    let together = engine.input.policy.rollback.order == Some(RollbackOrder::Together);
    if !together && !stable.flags_tried && roll_back_flags_first(engine, &harm) {
        return true;
    }
    return_to_previous(engine, harm)
}

/// Rolls back flags and waits for `flagGrace`; `false` if there is no flag that could help.
fn roll_back_flags_first(engine: &mut Engine<'_>, harm: &Harm) -> bool {
    let Some((stable, previous)) = engine.state.stable.clone().zip(engine.state.previous.clone())
    else {
        return false;
    };
    let flags = rollback::roll_back_flags(engine, &stable.revision, Some(&previous.revision));
    let grace = after(engine.now(), engine.input.policy.rollback.flag_grace);
    if let Some(stable) = &mut engine.state.stable {
        stable.flags_tried = true;
        if !flags.is_empty() {
            // This starts a new epoch, because values that were measured with the flags say nothing
            // about the revision without them.
            stable.epoch = Some(grace);
        }
    }
    if flags.is_empty() {
        return false;
    }
    engine.state.judgment = None;
    engine.emit(
        true,
        "FlagsRolledBack",
        format!(
            "revision {}: flags rolled back: {}; {}",
            stable.revision,
            listed(&flags),
            harm.reason
        ),
    );
    true
}

fn return_to_previous(engine: &mut Engine<'_>, harm: Harm) -> bool {
    let Some((stable, previous)) = engine.state.stable.clone().zip(engine.state.previous.clone())
    else {
        return false;
    };
    if scale::ready(engine.input, &previous.revision) == 0 {
        return false;
    }
    let flags = match engine.input.policy.rollback.order {
        Some(RollbackOrder::Together) => {
            rollback::roll_back_flags(engine, &stable.revision, Some(&previous.revision))
        }
        Some(RollbackOrder::FlagsFirst) | None => {
            engine.state.flags_rolled_back.get(&stable.revision).cloned().unwrap_or_default()
        }
    };
    let attempt = engine.state.records.get(&stable.revision).map_or(1, |record| record.attempt);
    let pods = scale::replicas(&engine.state, engine.input);
    let then = advice(engine.input, &stable.revision, attempt);
    engine.emit(
        true,
        "RolledBack",
        format!("revision {}, in guard: {}; {then}", stable.revision, harm.reason),
    );
    engine.record(&stable.revision, attempt, AttemptResult::RolledBack, harm.reason.clone());
    rollback::record_cause(
        engine,
        stable.revision.clone(),
        attempt,
        &harm.reason,
        harm.rule,
        flags,
    );
    engine.keep_failed(stable.revision, pods);
    engine.state.previous = None;
    engine.state.judgment = None;
    engine.state.stable = Some(Stable {
        revision: previous.revision,
        since: engine.now(),
        epoch: None,
        forced: false,
        flags_tried: false,
        connected: true,
    });
    true
}

/// Ends the guard: the sessions of the previous revision are drained, and its time has passed.
pub(super) fn end(engine: &mut Engine<'_>) -> bool {
    let now = engine.now();
    let Some(previous) = &engine.state.previous else { return false };
    let over = previous.guard_over || (now >= previous.guard_until && unsettled(engine).is_none());
    if now < previous.drained_at || !over {
        return false;
    }
    let guarded = !previous.guard_over;
    engine.state.previous = None;
    if engine.state.canary.is_none() {
        engine.state.judgment = None;
    }
    if guarded {
        engine.emit(
            false,
            "GuardEnded",
            "no trigger fired; the previous revision is removed".into(),
        );
    }
    true
}

/// Why the guard cannot end although its time has passed; `None` if it can. An operator or a
/// Prometheus that was down must not let it end unwatched, and a breach that is open may still
/// fire. Its end waits, but only for `holdTimeout`: without new points a breach stays open forever.
pub(super) fn unsettled(engine: &Engine<'_>) -> Option<String> {
    let (stable, previous) = engine.state.stable.as_ref().zip(engine.state.previous.as_ref())?;
    let policy = engine.input.policy;
    let triggers = || {
        policy
            .rules
            .iter()
            .filter(|rule| rule.applicable && !rule.dry_run)
            .filter_map(|rule| Some((rule.name.as_str(), rule.rollback_when?.lasting)))
    };
    let prometheus = policy.prometheus.as_ref()?;
    let longest = triggers().map(|(_, lasting)| lasting).max()?;
    if stable.forced || elapsed(engine.now(), previous.guard_until) >= policy.hold_timeout {
        return None;
    }
    let judgment = engine.state.judgment.as_ref();
    let rules = judgment.filter(|judgment| judgment.revision == stable.revision);
    let rules = rules.map(|judgment| judgment.rules.as_slice()).unwrap_or_default();
    let breached = rules.iter().find(|rule| !rule.dry_run && rule.breach_start.is_some());
    if let Some(rule) = breached {
        return Some(format!("rule {} is breached", rule.name));
    }
    // Flags that were rolled back must have helped for a whole `for`.
    let tried = stable.epoch.filter(|_| stable.flags_tried).map(|epoch| after(epoch, longest));
    let watched_until = tried.map_or(previous.guard_until, |tried| tried.max(previous.guard_until));
    let enough = before(watched_until, prometheus.ingest_delay);
    let seen = triggers().map(|(name, _)| {
        rules.iter().find(|rule| rule.name == name).and_then(|rule| rule.evaluated_until)
    });
    let seen = seen.collect::<Option<Vec<_>>>().and_then(|seen| seen.into_iter().min());
    (seen.is_none_or(|seen| seen < enough))
        .then(|| "the rules have not been evaluated up to its end".into())
}
