//! What a change of the spec starts and ends.

use std::collections::BTreeSet;

use mcphub_hub_wire::dataplane::{Revision, Weight};

use super::attempt::{AttemptRecord, AttemptResult};
use super::engine::Engine;
use super::input::SelfCheckFact;
use super::state::{Canary, SelfCheckTries, SkipReason, Stable};
use super::{flags, rollback, scale, target};

/// Ends or starts a rollout if the spec asks for another revision than the current one.
pub(super) fn follow_spec(engine: &mut Engine<'_>) -> bool {
    target::unpin(engine);
    let Some(wanted) = target::wanted(engine) else { return false };
    if let Some(canary) = &mut engine.state.canary {
        if canary.revision == wanted {
            // The spec changed and changed back before stable could take over.
            let back = canary
                .withdrawal
                .as_ref()
                .is_some_and(|withdrawal| withdrawal.result == AttemptResult::Replaced);
            if back {
                canary.withdrawal = None;
            }
            return back;
        }
        if canary.withdrawal.is_some() {
            return false;
        }
        rollback::withdraw(
            engine,
            AttemptResult::Replaced,
            match target::pin(engine) {
                Some(_) => format!("a person asked for revision {wanted} (rollback-to)"),
                None => format!("the spec now asks for revision {wanted}"),
            },
            false,
        );
        return true;
    }
    if engine.state.stable.as_ref().is_some_and(|stable| stable.revision == wanted)
        || target::blocked(engine, &wanted)
    {
        return false;
    }
    if let Some(previous) = engine.state.previous.as_mut().filter(|previous| !previous.guard_over) {
        previous.guard_over = true;
        return true;
    }
    make_room(engine, &wanted).unwrap_or_else(|| {
        let asked_for = target::pin(engine).map(|pin| {
            let instead_of = &pin.instead_of;
            format!(
                "a person asked for it (rollback-to), not the spec, which asks for {instead_of}"
            )
        });
        start_attempt(engine, wanted, asked_for);
        true
    })
}

/// Keeps the number of live revisions at four or less, including those that are still deployed
/// without a role. `None` means that there is room for one more.
pub(super) fn make_room(engine: &mut Engine<'_>, wanted: &Revision) -> Option<bool> {
    let roles = scale::with_role(&engine.state);
    let deployed = engine.input.revisions.iter().filter(|(_, facts)| facts.deployed.is_some());
    let others =
        deployed.map(|(revision, _)| revision).chain(roles).filter(|revision| *revision != wanted);
    if others.collect::<BTreeSet<_>>().len() < 4 {
        return None;
    }
    // Without its role it is removed as soon as the routers obey.
    Some(engine.state.failed.take_if(|failed| failed.revision != *wanted).is_some())
}

/// Starts an attempt.
pub(super) fn start_attempt(engine: &mut Engine<'_>, revision: Revision, because: Option<String>) {
    let last = engine.state.records.get(&revision);
    let attempt = match last {
        None => 1,
        Some(AttemptRecord { attempt, result: None, .. }) => *attempt,
        Some(AttemptRecord { attempt, result: Some(_), .. }) => attempt.saturating_add(1),
    };
    let skip_steps = match &engine.state.stable {
        None => Some(SkipReason::FirstDeployment),
        Some(_) if qualifies_for_fast_rollback(engine, &revision) => Some(SkipReason::FastRollback),
        Some(stable) if never_worked(engine, stable) => Some(SkipReason::FirstDeployment),
        Some(_) => None,
    };
    engine.state.failed.take_if(|failed| failed.revision == revision);
    engine.state.previous.take_if(|previous| previous.revision == revision);
    let spec_revision = engine.state.spec_revision.as_ref().map(|spec| spec.revision.clone());
    if spec_revision.as_ref() != Some(&revision) {
        flags::inherit(&mut engine.state, engine.input, spec_revision.as_ref(), &revision);
    }
    engine.state.judgment = None;
    engine.state.rollback = None;
    // The pods of a fast rollback have run before. Their earlier restarts do not count.
    engine.state.restarts = engine
        .input
        .revisions
        .get(&revision)
        .map(|facts| facts.restarts.clone())
        .unwrap_or_default();
    let now = engine.now();
    let record = AttemptRecord { attempt, result: None, reason: String::new(), at: now };
    engine.state.records.insert(revision.clone(), record);
    let why = explanation(engine, &revision, attempt, skip_steps, because);
    engine.emit(false, "RolloutStarted", format!("revision {revision}, attempt {attempt}: {why}"));
    engine.state.canary = Some(Canary {
        revision,
        attempt,
        started: now,
        base_replicas: engine.input.replicas,
        weight: Weight::ZERO,
        step: None,
        connected: false,
        progress_since: now,
        first_ready: None,
        self_check: SelfCheckTries::default(),
        skip_steps,
        paused: None,
        hold: None,
        withdrawal: None,
        never_worked: None,
        exceptions: Vec::new(),
    });
}

/// Why an attempt starts, and what is special about it.
fn explanation(
    engine: &Engine<'_>,
    revision: &Revision,
    attempt: u32,
    skip_steps: Option<SkipReason>,
    because: Option<String>,
) -> String {
    let mut why = because.unwrap_or_else(|| "the spec asks for it".into());
    if skip_steps == Some(SkipReason::FirstDeployment) && engine.state.stable.is_some() {
        why.push_str("; it takes no steps, because stable was never connected to a server");
    }
    if let Some(flags) = engine.state.flags_rolled_back.get(revision) {
        let flags = flags::listed(flags);
        why = format!(
            "{why}; flags that were rolled back stay so: {flags}, until the spec changes them or a \
             person asks for resume-flags/{revision}/{attempt}"
        );
    }
    why
}

/// Stable was never connected to any server, so there is nothing that the steps could protect. Its
/// pods must have said so themselves.
fn never_worked(engine: &Engine<'_>, stable: &Stable) -> bool {
    let facts = engine.input.revisions.get(&stable.revision);
    let answered = facts.is_some_and(|facts| {
        matches!(facts.self_check, SelfCheckFact::Passed | SelfCheckFact::Failed(_))
    });
    answered && !stable.connected
}

fn qualifies_for_fast_rollback(engine: &Engine<'_>, revision: &Revision) -> bool {
    scale::fast_rollbacks(&engine.state, engine.input.policy).contains(&revision)
}
