//! The values of feature flags in force, and the memory of those that were rolled back.
//!
//! A rolled-back flag stays so in the next revisions too: the spec still asks for the value that
//! did harm. It ends when the spec's value of that flag changes or a person resumes it. The memory
//! is the entry of the spec's revision in `flagsRolledBack`. Flags have two values, so what is
//! remembered is always the opposite of what the spec says.

use std::collections::{BTreeMap, BTreeSet};

use mcphub_hub_wire::dataplane::Revision;

use super::input::EngineInput;
use super::state::EngineState;

pub(super) type Flags = BTreeMap<String, bool>;

/// A flag that a revision does not have is off there.
pub(super) fn is_on(flags: &Flags, name: &str) -> bool {
    flags.get(name).copied().unwrap_or(false)
}

/// Flags of the revision's spec, except for those that were rolled back.
pub(crate) fn in_force(state: &EngineState, input: &EngineInput<'_>, revision: &Revision) -> Flags {
    let mut flags = in_spec(input, revision);
    flags.extend(state.flags_rolled_back.get(revision).cloned().unwrap_or_default());
    flags
}

fn in_spec(input: &EngineInput<'_>, revision: &Revision) -> Flags {
    input.revisions.get(revision).map(|facts| facts.flags.clone()).unwrap_or_default()
}

/// Rolls back flags of a revision, and of the one that the spec asks for if nobody uses that yet.
pub(super) fn roll_back(
    state: &mut EngineState,
    input: &EngineInput<'_>,
    revision: &Revision,
    changed: &Flags,
) {
    let next = spec_revision(state).filter(|next| *next != revision && !serves(state, next));
    for revision in [Some(revision.clone()), next.cloned()].into_iter().flatten() {
        let spec = in_spec(input, &revision);
        let mut flags = state.flags_rolled_back.remove(&revision).unwrap_or_default();
        flags.extend(changed.clone());
        flags.retain(|name, value| is_on(&spec, name) != *value);
        set(state, revision, flags);
    }
}

/// Gives a revision the rolled-back flags of another one that its own spec sets the same way. One
/// with traffic keeps its flags: a change of the spec alone must not change it.
pub(super) fn inherit(
    state: &mut EngineState,
    input: &EngineInput<'_>,
    from: Option<&Revision>,
    revision: &Revision,
) {
    if serves(state, revision) {
        return;
    }
    let spec = in_spec(input, revision);
    let mut flags =
        from.and_then(|from| state.flags_rolled_back.get(from)).cloned().unwrap_or_default();
    flags.retain(|name, value| is_on(&spec, name) != *value);
    set(state, revision.clone(), flags);
}

/// Gives a revision the flags of its spec again. `None` if no flag of it was rolled back.
pub(super) fn resume(state: &mut EngineState, revision: &Revision) -> Option<Flags> {
    let resumed = state.flags_rolled_back.remove(revision)?;
    let next = spec_revision(state).filter(|next| !serves(state, next)).cloned();
    if let Some(flags) = next.and_then(|next| state.flags_rolled_back.get_mut(&next)) {
        flags.retain(|name, _| !resumed.contains_key(name));
    }
    Some(resumed)
}

/// Forgets flags of revisions that neither have a role nor are what the spec asks for.
pub(super) fn forget_removed_revisions(state: &mut EngineState, roles: &BTreeSet<Revision>) {
    let next = spec_revision(state).cloned();
    state.flags_rolled_back.retain(|revision, flags| {
        (roles.contains(revision) || next.as_ref() == Some(revision)) && !flags.is_empty()
    });
}

fn set(state: &mut EngineState, revision: Revision, flags: Flags) {
    if flags.is_empty() {
        state.flags_rolled_back.remove(&revision);
    } else {
        state.flags_rolled_back.insert(revision, flags);
    }
}

fn spec_revision(state: &EngineState) -> Option<&Revision> {
    state.spec_revision.as_ref().map(|spec_revision| &spec_revision.revision)
}

fn serves(state: &EngineState, revision: &Revision) -> bool {
    let stable = state.stable.as_ref().map(|stable| &stable.revision);
    let canary = state.canary.as_ref().map(|canary| &canary.revision);
    stable == Some(revision) || canary == Some(revision)
}

pub(super) fn listed(flags: &Flags) -> String {
    flags.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ")
}
