//! What an intent does.

use jiff::Timestamp;
use mcphub_hub_wire::dataplane::Revision;

use super::attempt::AttemptResult;
use super::clock::millis;
use super::engine::Engine;
use super::intent::{Intent, Verb};
use super::state::{Canary, IntentRecord, Pin, SkipReason};
use super::{flags, rollback, spec_change, target};

/// Number of intents that the state keeps.
const INTENTS: usize = 10;
/// Number of promoted revisions that a refusal names.
const NAMED_REVISIONS: usize = 3;

/// Why an intent is not obeyed.
enum Refusal {
    /// It will not be obeyed as it is written.
    Final(String),
    /// It will be obeyed later, so it stays and is tried again.
    Later(String),
}

/// Obeys or refuses the intent, once each time that it is given.
pub(super) fn obey_intent(engine: &mut Engine<'_>) -> bool {
    let intent = match engine.input.intent.clone().transpose() {
        Ok(intent) => {
            engine.state.invalid_intent = None;
            intent
        }
        Err(message) => return refuse(engine, message),
    };
    let Some(intent) = intent else {
        return engine.input.intent_removed && withdraw_last(engine);
    };
    let last = engine.state.intents.last();
    let given = last.filter(|last| last.intent == intent && !last.withdrawn).cloned();
    if given.as_ref().is_some_and(|given| !given.waits) {
        return false;
    }
    let (reason, warning, outcome) = match execute(engine, &intent) {
        Ok(outcome) => ("IntentObeyed", false, outcome),
        Err(Refusal::Final(outcome)) => ("IntentRefused", true, outcome),
        Err(Refusal::Later(outcome)) if given.is_some_and(|given| given.outcome == outcome) => {
            return false;
        }
        Err(Refusal::Later(outcome)) => ("IntentWaits", false, outcome),
    };
    engine.emit(warning, reason, format!("{intent}: {outcome}"));
    engine.state.intents.retain(|record| !record.waits);
    let (at, waits) = (engine.now(), reason == "IntentWaits");
    engine.state.intents.push(IntentRecord { intent, at, outcome, waits, withdrawn: false });
    let surplus = engine.state.intents.len().saturating_sub(INTENTS);
    engine.state.intents.drain(..surplus);
    true
}

/// The annotation no longer has the last intent: if it comes back, a person has given it again.
fn withdraw_last(engine: &mut Engine<'_>) -> bool {
    let last = engine.state.intents.last_mut().filter(|last| !last.withdrawn);
    last.is_some_and(|last| {
        last.withdrawn = true;
        last.waits = false;
        true
    })
}

fn refuse(engine: &mut Engine<'_>, message: String) -> bool {
    let withdrawn = withdraw_last(engine);
    if engine.state.invalid_intent.as_ref() == Some(&message) {
        return withdrawn;
    }
    engine.emit(true, "IntentRefused", message.clone());
    engine.state.invalid_intent = Some(message);
    true
}

fn refused(why: &str) -> Refusal {
    Refusal::Final(why.to_owned())
}

fn execute(engine: &mut Engine<'_>, intent: &Intent) -> Result<String, Refusal> {
    let Intent { verb, revision, attempt, serial: _ } = intent;
    match verb {
        Verb::Retry => retry(engine, revision, *attempt),
        Verb::RollbackTo => pin(engine, revision, *attempt),
        Verb::ResumeFlags => match flags::resume(&mut engine.state, revision) {
            Some(_) => Ok("the flags have the values of the spec again".into()),
            None => Err(refused("no flag of this revision was rolled back")),
        },
        Verb::Promote
        | Verb::PromoteForce
        | Verb::Advance { .. }
        | Verb::Abort
        | Verb::Pause
        | Verb::Resume => {
            let canary = engine.state.canary.as_ref();
            if canary
                .is_some_and(|canary| canary.revision == *revision && canary.attempt == *attempt)
            {
                steer(engine, *verb)
            } else {
                Err(Refusal::Final(not_the_canary(engine, intent)))
            }
        }
    }
}

/// What is wrong with an intent that is not about the current canary, and what to write instead.
fn not_the_canary(engine: &Engine<'_>, intent: &Intent) -> String {
    let Intent { revision, attempt, .. } = intent;
    let canary = engine.state.canary.as_ref();
    let then = match canary {
        Some(canary) => {
            let (revision, attempt) = (&canary.revision, canary.attempt);
            let meant = Intent { revision: revision.clone(), attempt, ..intent.clone() };
            format!("the canary is {revision}, attempt {attempt}: write {meant}")
        }
        None => "no rollout is in progress".into(),
    };
    let record = engine.state.records.get(revision);
    let known = record.is_some() || engine.input.revisions.contains_key(revision);
    match record.map(|record| record.attempt) {
        _ if !known => format!("ignored: there is no revision {revision}; {then}"),
        None => format!("ignored: revision {revision} was never tried; {then}"),
        Some(last) if *attempt > last => {
            format!("ignored: revision {revision} has no attempt {attempt}; {then}")
        }
        Some(_) => format!("ignored: attempt {attempt} of revision {revision} is over; {then}"),
    }
}

/// Executes a verb that is about the current canary.
fn steer(engine: &mut Engine<'_>, verb: Verb) -> Result<String, Refusal> {
    let now = engine.now();
    let Some(canary) = &mut engine.state.canary else {
        return Err(refused("ignored: no rollout is in progress"));
    };
    let leaving = canary.withdrawal.as_ref().map(|withdrawal| {
        format!("refused: the revision is being withdrawn: {}", withdrawal.reason)
    });
    match (verb, leaving) {
        (Verb::PromoteForce, _) => {
            canary.withdrawal = None;
            canary.skip_steps = Some(SkipReason::PromoteForce);
            canary.paused = None;
            canary
                .exceptions
                .push("promoted by force, regardless of the rules (promote-force)".into());
            Ok(unless_paused(engine, "goes to 100% by force; no rule rolls it back"))
        }
        (_, Some(refusal)) => Err(Refusal::Final(refusal)),
        (Verb::Promote, None) => {
            canary.skip_steps = Some(SkipReason::Promote);
            canary.paused = None;
            canary.exceptions.push("a person skipped the steps (promote)".into());
            Ok(unless_paused(engine, "goes to 100%"))
        }
        (Verb::Advance { step }, None) => match &mut canary.step {
            Some(at) if at.number == step => {
                at.advanced = true;
                Ok(format!("step {step} no longer waits for a person"))
            }
            Some(at) => {
                Err(Refusal::Final(format!("ignored: the rollout is at step {}", at.number)))
            }
            None => Err(refused("ignored: the rollout has not reached its first step")),
        },
        (Verb::Pause, None) => {
            canary.paused = Some("a person paused it (pause)".into());
            Ok(format!("stays at {}%", canary.weight.percent()))
        }
        (Verb::Resume, None) => {
            resume(canary, now)?;
            Ok(unless_paused(engine, "continues"))
        }
        (Verb::Abort, None) => {
            rollback::withdraw(
                engine,
                AttemptResult::Aborted,
                "a person ended it (abort)".into(),
                false,
            );
            Ok("returns to stable".into())
        }
        (Verb::Retry | Verb::RollbackTo | Verb::ResumeFlags, None) => {
            Err(refused("refused: this is not possible for a canary"))
        }
    }
}

/// Nothing moves while the spec pauses the rollout, whatever a person asks for.
fn unless_paused(engine: &Engine<'_>, outcome: &str) -> String {
    if engine.input.policy.paused {
        format!("{outcome}, as soon as spec.rollout.paused is false")
    } else {
        outcome.to_owned()
    }
}

/// Ends a pause. The pause of a step is part of the spec, and only `advance` passes it.
fn resume(canary: &mut Canary, now: Timestamp) -> Result<(), Refusal> {
    if canary.paused.take().is_none() {
        return Err(Refusal::Final(match &canary.step {
            Some(step) if step.pause => format!(
                "refused: the rollout is not paused by a person; to pass the pause of step {0}, \
                 write advance/{1}/{2}/{0}",
                step.number, canary.revision, canary.attempt
            ),
            Some(_) | None => "refused: the rollout is not paused by a person".into(),
        }));
    }
    if let Some(hold) = &mut canary.hold {
        hold.since = now;
    }
    if let Some(step) = &mut canary.step {
        step.resumed_at_ms = millis(step.observed());
    }
    Ok(())
}

fn retry(engine: &mut Engine<'_>, revision: &Revision, attempt: u32) -> Result<String, Refusal> {
    if target::wanted(engine).as_ref() != Some(revision) {
        return Err(refused(
            "refused: the spec asks for another revision; change the spec instead",
        ));
    }
    if engine.state.canary.is_some() {
        return Err(refused("refused: a rollout is in progress; abort it first"));
    }
    match engine.state.records.get(revision) {
        Some(record)
            if record.attempt == attempt
                && record.result.is_some()
                && target::blocked(engine, revision) => {}
        Some(record) if record.attempt != attempt => {
            return Err(Refusal::Final(format!(
                "ignored: the last attempt of revision {revision} is {last}: write \
                 retry/{revision}/{last}",
                last = record.attempt
            )));
        }
        Some(_) => {
            return Err(Refusal::Final(format!(
                "ignored: revision {revision} was not rolled back or aborted"
            )));
        }
        None => {
            return Err(Refusal::Final(format!("ignored: revision {revision} was never tried")));
        }
    }
    if spec_change::make_room(engine, revision).is_some() {
        return Err(Refusal::Later(
            "four revisions are live; the attempt starts when one of them is gone".into(),
        ));
    }
    if let Some(previous) = &mut engine.state.previous {
        previous.guard_over = true;
    }
    spec_change::start_attempt(
        engine,
        revision.clone(),
        Some("a person asked for another attempt (retry)".into()),
    );
    Ok(format!("attempt {} starts", attempt.saturating_add(1)))
}

fn pin(engine: &mut Engine<'_>, revision: &Revision, attempt: u32) -> Result<String, Refusal> {
    let record = engine.state.records.get(revision);
    let promoted = record.filter(|record| record.result == Some(AttemptResult::Promoted));
    if promoted.is_none_or(|record| record.attempt != attempt)
        || !engine.input.revisions.contains_key(revision)
    {
        return Err(Refusal::Final(not_promoted(engine, revision, attempt)));
    }
    let Some(spec_revision) = &engine.state.spec_revision else {
        return Err(refused("refused: no spec was ever accepted"));
    };
    if spec_revision.revision == *revision {
        return Err(refused("refused: the spec already asks for this revision"));
    }
    engine.state.pin =
        Some(Pin { revision: revision.clone(), instead_of: spec_revision.revision.clone() });
    Ok("serves until the revision of the spec changes".into())
}

/// Names the revisions that `rollback-to` could name instead, newest first.
fn not_promoted(engine: &Engine<'_>, revision: &Revision, attempt: u32) -> String {
    let records = engine.state.records.iter().filter(|(revision, record)| {
        record.result == Some(AttemptResult::Promoted)
            && engine.input.revisions.contains_key(*revision)
    });
    let mut promoted: Vec<_> = records.collect();
    promoted.sort_by_key(|(_, record)| std::cmp::Reverse(record.at));
    let names: Vec<_> = promoted
        .iter()
        .take(NAMED_REVISIONS)
        .map(|(revision, record)| format!("rollback-to/{revision}/{}", record.attempt))
        .collect();
    let then = match names.as_slice() {
        [] => "no other revision was".into(),
        _ => format!("write one that was: {}", names.join(", ")),
    };
    format!("refused: attempt {attempt} of revision {revision} was not promoted; {then}")
}
