//! Detects that somebody else puts back what the operator removes, so that two controllers do not
//! overwrite each other forever.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mcphub_operator_plan::api::ObjectName;
use tokio::time::Instant;

const WINDOW: Duration = Duration::from_mins(1);
const TRUCE: Duration = Duration::from_hours(1);

/// Recent removals of foreign entries, by namespace and object.
#[derive(Debug, Default)]
pub(crate) struct DriftConflicts(Mutex<BTreeMap<(String, ObjectName), Conflict>>);

#[derive(Debug, Default)]
struct Conflict {
    removed: Vec<Instant>,
    truce: Option<Instant>,
}

/// How to react to foreign entries in one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reaction {
    /// Remove them.
    Remove,
    /// They came back twice within a minute. Report it, and leave them for an hour.
    Report,
    /// It was reported already.
    Leave,
}

impl DriftConflicts {
    /// Records that foreign entries were found.
    pub(super) fn react(&self, namespace: &str, object: &ObjectName) -> Reaction {
        let now = Instant::now();
        let mut conflicts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let state = conflicts.entry((namespace.to_owned(), object.clone())).or_default();
        if state.truce.is_some_and(|until| now < until) {
            return Reaction::Leave;
        }
        state.removed.retain(|at| now < *at + WINDOW);
        if state.removed.len() < 2 {
            state.truce = None;
            state.removed.push(now);
            return Reaction::Remove;
        }
        *state = Conflict { removed: Vec::new(), truce: Some(now + TRUCE) };
        Reaction::Report
    }

    /// Takes back the last record: the object had changed, so nothing was removed that could come
    /// back.
    pub(super) fn cancel(&self, namespace: &str, object: &ObjectName) {
        let mut conflicts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = conflicts.get_mut(&(namespace.to_owned(), object.clone())) {
            state.removed.pop();
        }
    }

    /// A policy rejects the removal. Leaves the entries for an hour.
    pub(super) fn yield_to_policy(&self, namespace: &str, object: &ObjectName) {
        let mut conflicts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let state = Conflict { removed: Vec::new(), truce: Some(Instant::now() + TRUCE) };
        conflicts.insert((namespace.to_owned(), object.clone()), state);
    }

    /// Forgets everything about a namespace, except entries that are still to be left.
    pub(crate) fn forget(&self, namespace: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(owner, _), state| {
            owner != namespace || state.truce.is_some_and(|until| Instant::now() < until)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment() -> ObjectName {
        ObjectName { kind: "Deployment", name: "team-r-0a1b2c3d".into() }
    }

    // A sidecar injector that reacts to every write would otherwise make both write without end.
    #[tokio::test(start_paused = true)]
    async fn entries_that_return_twice_within_a_minute_are_reported_once_and_left_for_an_hour() {
        let conflicts = DriftConflicts::default();
        let mut reactions = Vec::new();
        for _ in 0..4 {
            reactions.push(conflicts.react("ai", &deployment()));
            tokio::time::advance(Duration::from_secs(5)).await;
        }
        assert_eq!(
            reactions,
            [Reaction::Remove, Reaction::Remove, Reaction::Report, Reaction::Leave]
        );
        tokio::time::advance(TRUCE).await;
        assert_eq!(conflicts.react("ai", &deployment()), Reaction::Remove);
    }

    // The status of a new Deployment changes several times per second. A foreign entry that was
    // added at that time would stay for an hour.
    #[tokio::test(start_paused = true)]
    async fn a_removal_that_met_a_newer_object_does_not_count() {
        let conflicts = DriftConflicts::default();
        for _ in 0..5 {
            assert_eq!(conflicts.react("ai", &deployment()), Reaction::Remove);
            conflicts.cancel("ai", &deployment());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn entries_that_a_policy_protects_are_left_for_an_hour() {
        let conflicts = DriftConflicts::default();
        assert_eq!(conflicts.react("ai", &deployment()), Reaction::Remove);
        conflicts.yield_to_policy("ai", &deployment());
        assert_eq!(conflicts.react("ai", &deployment()), Reaction::Leave);
        tokio::time::advance(TRUCE).await;
        assert_eq!(conflicts.react("ai", &deployment()), Reaction::Remove);
    }

    #[tokio::test(start_paused = true)]
    async fn occasional_edits_by_hand_are_always_removed() {
        let conflicts = DriftConflicts::default();
        for _ in 0..5 {
            assert_eq!(conflicts.react("ai", &deployment()), Reaction::Remove);
            tokio::time::advance(Duration::from_secs(31)).await;
        }
    }
}
