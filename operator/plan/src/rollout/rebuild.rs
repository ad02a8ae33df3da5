//! Rebuilds a lost state without moving any weight: from the roles and weights that pods obey, and
//! from the attempts that ControllerRevisions record.

use std::collections::BTreeMap;

use mcphub_hub_wire::dataplane::{Dataplane, Revision, Role, Weight};

use super::attempt::{AttemptRecord, AttemptResult};
use super::clock::{after, millis};
use super::input::{EngineInput, RevisionFacts};
use super::state::{
    Canary, EngineState, FailedRevision, Pin, Previous, SelfCheckTries, Stable, StepState,
};

/// The state of a hub whose state is lost.
pub(super) fn rebuild(input: &EngineInput<'_>) -> EngineState {
    match input.dataplane.and_then(|dataplane| Serving::new(dataplane, input)) {
        Some(serving) => serving.state(input),
        None => from_records(input),
    }
}

/// Without anything that says what pods obey: the latest promoted revision is stable, and an
/// unfinished attempt starts again at its first step.
fn from_records(input: &EngineInput<'_>) -> EngineState {
    let promoted = input.revisions.iter().filter_map(|(revision, facts)| {
        let record = facts
            .attempt
            .as_ref()
            .filter(|record| record.result == Some(AttemptResult::Promoted))?;
        Some((record.at, facts.created, revision))
    });
    let latest = promoted.max();
    let deployed = input.revisions.values().any(|facts| facts.deployed.is_some());
    EngineState {
        stable: latest.map(|(_, _, revision)| stable(revision, input)),
        // Routers obey the highest generation that they have seen, and nobody remembers which one
        // that was. The seconds since 1970 are more than any hub has counted to.
        generation: if deployed {
            u64::try_from(input.now.as_second()).unwrap_or_default()
        } else {
            0
        },
        ..EngineState::default()
    }
}

/// The revisions that pods obey, by role. There is one stable revision, and all are known.
struct Serving<'a> {
    dataplane: &'a Dataplane,
    stable: &'a Revision,
    canary: Option<&'a Revision>,
    previous: Option<&'a Revision>,
    failed: Option<&'a Revision>,
}

impl<'a> Serving<'a> {
    /// `None` if it is not what an operator would have written.
    fn new(dataplane: &'a Dataplane, input: &EngineInput<'_>) -> Option<Self> {
        let mut roles: BTreeMap<u8, &Revision> = BTreeMap::new();
        for (revision, state) in &dataplane.revisions {
            if !input.revisions.contains_key(revision) || state.role == Role::Unknown {
                return None;
            }
            if roles.insert(state.role as u8, revision).is_some() {
                return None;
            }
        }
        let role = |role: Role| roles.get(&(role as u8)).copied();
        let stable = role(Role::Stable)?;
        let weight = |revision: Option<&Revision>| {
            revision.map_or(Weight::ZERO, |revision| dataplane.revisions[revision].weight)
        };
        let canary = role(Role::Canary);
        let whole = weight(Some(stable)) == weight(canary).rest()
            && weight(role(Role::Previous)) == Weight::ZERO
            && weight(role(Role::Failed)) == Weight::ZERO;
        // Whoever can edit the ConfigMap could name any revision here.
        let trusted = input.dataplane_signed
            || input.revisions[stable]
                .attempt
                .as_ref()
                .is_none_or(|record| matches!(record.result, None | Some(AttemptResult::Promoted)));
        let (previous, failed) = (role(Role::Previous), role(Role::Failed));
        (whole && trusted).then_some(Self { dataplane, stable, canary, previous, failed })
    }

    fn state(&self, input: &EngineInput<'_>) -> EngineState {
        let (now, policy) = (input.now, input.policy);
        let canary = self.canary.map(|revision| self.canary(revision, input));
        let records = canary.iter().map(|canary| {
            let attempt = canary.attempt;
            let record = AttemptRecord { attempt, result: None, reason: String::new(), at: now };
            (canary.revision.clone(), record)
        });
        EngineState {
            generation: self.dataplane.generation,
            stable: Some(stable(self.stable, input)),
            previous: self.previous.map(|revision| Previous {
                revision: revision.clone(),
                since: now,
                guard_until: after(now, policy.guard),
                drained_at: after(now, policy.drain_timeout),
                guard_over: canary.is_some(),
            }),
            failed: self.failed.map(|revision| FailedRevision {
                revision: revision.clone(),
                since: now,
                replicas: input.revisions[revision].deployed.unwrap_or(1),
            }),
            pin: self.pin(input),
            flags_rolled_back: self.flags_rolled_back(input),
            records: records.collect(),
            canary,
            ..EngineState::default()
        }
    }

    /// The canary keeps its weight, and bakes again at the step of that weight.
    fn canary(&self, revision: &Revision, input: &EngineInput<'_>) -> Canary {
        let facts = &input.revisions[revision];
        let weight = self.dataplane.revisions[revision].weight;
        let steps = &input.policy.steps;
        let at = steps.iter().position(|step| step.traffic >= weight);
        let step = at.filter(|_| weight > Weight::ZERO).map(|at| StepState {
            number: u32::try_from(at).unwrap_or(u32::MAX).saturating_add(1),
            traffic: weight,
            bake_ms: millis(steps[at].bake),
            pause: steps[at].pause,
            advanced: false,
            weight_since: Some(input.now),
            bake: None,
            unmet_from_ms: None,
            resumed_at_ms: 0,
        });
        Canary {
            revision: revision.clone(),
            attempt: attempt(facts),
            started: input.now,
            base_replicas: input.replicas,
            weight,
            step,
            connected: true,
            progress_since: input.now,
            first_ready: facts.ready_since,
            self_check: SelfCheckTries::default(),
            skip_steps: None,
            paused: None,
            hold: None,
            withdrawal: None,
            never_worked: None,
            exceptions: Vec::new(),
        }
    }

    /// The spec asks for a revision that was promoted and does not serve: somebody went back with
    /// `rollback-to`. Starting the revision of the spec again would move weight.
    fn pin(&self, input: &EngineInput<'_>) -> Option<Pin> {
        let desired = input.desired.filter(|desired| *desired != self.stable)?;
        let record = input.revisions.get(desired)?.attempt.as_ref()?;
        let promoted = record.result == Some(AttemptResult::Promoted) && self.canary.is_none();
        promoted.then(|| Pin { revision: self.stable.clone(), instead_of: desired.clone() })
    }

    /// Flags that have another value on pods than in the spec.
    fn flags_rolled_back(
        &self,
        input: &EngineInput<'_>,
    ) -> BTreeMap<Revision, BTreeMap<String, bool>> {
        let signed = self.dataplane.revisions.iter().filter(|_| input.dataplane_signed);
        let changed = signed.filter_map(|(revision, state)| {
            let spec = &input.revisions[revision].flags;
            let changed = state
                .flags
                .iter()
                .filter(|(name, value)| spec.get(*name).is_some_and(|spec| spec != *value));
            let changed: BTreeMap<_, _> =
                changed.map(|(name, value)| (name.clone(), *value)).collect();
            (!changed.is_empty()).then(|| (revision.clone(), changed))
        });
        changed.collect()
    }
}

/// The attempt that is under way. The ControllerRevision is annotated after the state is written.
fn attempt(facts: &RevisionFacts) -> u32 {
    match &facts.attempt {
        None => 1,
        Some(AttemptRecord { attempt, result: None, .. }) => *attempt,
        Some(AttemptRecord { attempt, .. }) => attempt.saturating_add(1),
    }
}

fn stable(revision: &Revision, input: &EngineInput<'_>) -> Stable {
    let record = input.revisions.get(revision).and_then(|facts| facts.attempt.as_ref());
    Stable {
        revision: revision.clone(),
        since: record.map_or(input.now, |record| record.at),
        // Without an epoch no trigger would be judged, and a guard would be blind.
        epoch: Some(input.now),
        forced: false,
        flags_tried: false,
        // Nobody remembers, and a revision that has worked must be protected.
        connected: true,
    }
}
