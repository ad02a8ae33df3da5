//! Notices that somebody else puts back what we take out, so that two controllers do not write against each other for
//! ever.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mcphub_operator_plan::api::ObjectName;
use tokio::time::Instant;

const WINDOW: Duration = Duration::from_mins(1);
const TRUCE: Duration = Duration::from_hours(1);

/// Removals of foreign entries, by namespace and object.
#[derive(Debug, Default)]
pub struct DriftConflicts(Mutex<BTreeMap<(String, ObjectName), Conflict>>);

#[derive(Debug, Default)]
struct Conflict {
    removed: Vec<Instant>,
    truce: Option<Instant>,
}

/// What to do about foreign entries in one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reaction {
    /// Take them out.
    Remove,
    /// They came back twice within a minute: tell, and leave them for an hour.
    Report,
    /// Told already.
    Leave,
}

impl DriftConflicts {
    /// Foreign entries were found: what to do.
    pub(super) fn found(&self, namespace: &str, object: &ObjectName) -> Reaction {
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

    /// What was to be removed was not: the object had changed meanwhile, and nothing has come back.
    pub(super) fn missed(&self, namespace: &str, object: &ObjectName) {
        let mut conflicts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = conflicts.get_mut(&(namespace.to_owned(), object.clone())) {
            state.removed.pop();
        }
    }

    /// What was to be removed has to stay, says a policy: to be left for an hour.
    pub(super) fn refused(&self, namespace: &str, object: &ObjectName) {
        let mut conflicts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let state = Conflict { removed: Vec::new(), truce: Some(Instant::now() + TRUCE) };
        conflicts.insert((namespace.to_owned(), object.clone()), state);
    }

    /// Forgets all of a namespace that is over and done with.
    pub fn forget(&self, namespace: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(of, _), state| {
            of != namespace || state.truce.is_some_and(|until| Instant::now() < until)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment() -> ObjectName {
        ObjectName { kind: "Deployment", name: "team-r-0a1b2c3d".into() }
    }

    // A sidecar injector that reacts to every write would otherwise have us both write without end.
    #[tokio::test(start_paused = true)]
    async fn entries_that_return_twice_within_a_minute_are_told_once_and_left_for_an_hour() {
        let conflicts = DriftConflicts::default();
        let mut reactions = Vec::new();
        for _ in 0..4 {
            reactions.push(conflicts.found("ai", &deployment()));
            tokio::time::advance(Duration::from_secs(5)).await;
        }
        assert_eq!(
            reactions,
            [Reaction::Remove, Reaction::Remove, Reaction::Report, Reaction::Leave]
        );
        tokio::time::advance(TRUCE).await;
        assert_eq!(conflicts.found("ai", &deployment()), Reaction::Remove);
    }

    // The status of a young Deployment changes several times a second: what somebody put into it then would stay for an hour.
    #[tokio::test(start_paused = true)]
    async fn a_removal_that_met_a_newer_object_counts_for_nothing() {
        let conflicts = DriftConflicts::default();
        for _ in 0..5 {
            assert_eq!(conflicts.found("ai", &deployment()), Reaction::Remove);
            conflicts.missed("ai", &deployment());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_policy_keeps_is_left_for_an_hour() {
        let conflicts = DriftConflicts::default();
        assert_eq!(conflicts.found("ai", &deployment()), Reaction::Remove);
        conflicts.refused("ai", &deployment());
        assert_eq!(conflicts.found("ai", &deployment()), Reaction::Leave);
        tokio::time::advance(TRUCE).await;
        assert_eq!(conflicts.found("ai", &deployment()), Reaction::Remove);
    }

    #[tokio::test(start_paused = true)]
    async fn edits_by_hand_once_in_a_while_are_always_taken_out() {
        let conflicts = DriftConflicts::default();
        for _ in 0..5 {
            assert_eq!(conflicts.found("ai", &deployment()), Reaction::Remove);
            tokio::time::advance(Duration::from_secs(31)).await;
        }
    }
}
