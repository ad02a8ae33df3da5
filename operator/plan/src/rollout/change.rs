//! What a new spec or an intent starts and ends.

use std::collections::BTreeSet;

use mcphub_hub_wire::dataplane::{Revision, Weight};

use super::engine::Engine;
use super::intent::{Intent, Verb};
use super::state::{Asked, Canary, Consumed, Leave, Pinned, Straight, Tries};
use super::{Record, RevisionResult, scale};

/// Intents that are remembered.
const INTENTS: usize = 10;

impl Engine<'_> {
    /// Notes what the spec asks for. After a loss of the state nobody can say that it changed.
    pub(super) fn note_spec(&mut self, lost: bool) {
        let Some(desired) = self.input.desired else { return };
        if self.state.asked.as_ref().is_some_and(|asked| asked.revision == *desired) {
            return;
        }
        let first = self.state.asked.is_none() && lost;
        self.state.asked = Some(Asked { revision: desired.clone(), fresh: !first });
    }

    /// What is to serve in the end: what the spec asks for, or what `rollback-to` put in its place.
    pub(super) fn wanted(&self) -> Option<Revision> {
        let asked = &self.state.asked.as_ref()?.revision;
        let pinned = self.state.pinned.as_ref().filter(|pinned| pinned.instead_of == *asked);
        Some(pinned.map_or(asked, |pinned| &pinned.revision).clone())
    }

    /// Its last attempt ended badly: it is tried again only when somebody says so.
    pub(super) fn blocked(&self, revision: &Revision) -> bool {
        let fresh = self
            .state
            .asked
            .as_ref()
            .is_some_and(|asked| asked.fresh && asked.revision == *revision);
        match self.state.records.get(revision).and_then(|record| record.result) {
            None | Some(RevisionResult::Promoted | RevisionResult::Replaced) => false,
            Some(RevisionResult::RolledBack) => true,
            Some(RevisionResult::Aborted) => !fresh,
            Some(RevisionResult::Failed) => !fresh && self.state.stable.is_some(),
        }
    }

    /// Ends or begins a rollout where the spec asks for another revision than the one at hand.
    pub(super) fn follow_spec(&mut self) -> bool {
        self.unpin();
        let Some(wanted) = self.wanted() else { return false };
        if let Some(canary) = &mut self.state.canary {
            if canary.revision == wanted {
                // The spec went away and came back before stable could take over.
                let back = canary
                    .leave
                    .as_ref()
                    .is_some_and(|leave| leave.result == RevisionResult::Replaced);
                if back {
                    canary.leave = None;
                }
                return back;
            }
            if canary.leave.is_some() {
                return false;
            }
            self.leave(RevisionResult::Replaced, format!("the spec asks for {wanted} now"), false);
            return true;
        }
        if self.state.stable.as_ref().is_some_and(|stable| stable.revision == wanted)
            || self.blocked(&wanted)
        {
            return false;
        }
        if let Some(previous) = self.state.previous.as_mut().filter(|previous| !previous.guard_over)
        {
            previous.guard_over = true;
            return true;
        }
        self.make_room(&wanted).unwrap_or_else(|| {
            self.begin(wanted, None);
            true
        })
    }

    pub(super) fn unpin(&mut self) {
        let asked = self.state.asked.as_ref().map(|asked| &asked.revision);
        if self.state.pinned.as_ref().is_some_and(|pinned| Some(&pinned.instead_of) != asked) {
            self.state.pinned = None;
        }
    }

    /// Never more than four live revisions, those that are on their way out and still deployed included. `None`: there
    /// is room for one more.
    fn make_room(&mut self, wanted: &Revision) -> Option<bool> {
        let roles = scale::with_role(&self.state);
        let deployed = self.input.revisions.iter().filter(|(_, facts)| facts.deployed.is_some());
        let others = deployed
            .map(|(revision, _)| revision)
            .chain(roles)
            .filter(|revision| *revision != wanted);
        if others.collect::<BTreeSet<_>>().len() < 4 {
            return None;
        }
        // Without its role it goes as soon as the routers obey that.
        Some(self.state.failed.take().is_some())
    }

    /// Begins an attempt.
    pub(super) fn begin(&mut self, revision: Revision, because: Option<String>) {
        let last = self.state.records.get(&revision);
        let attempt = match last {
            None => 1,
            Some(Record { attempt, result: None, .. }) => *attempt,
            Some(Record { attempt, result: Some(_), .. }) => attempt.saturating_add(1),
        };
        let straight = match &self.state.stable {
            None => Some(Straight::FirstDeployment),
            Some(_) if self.promoted_not_long_ago(&revision) => Some(Straight::FastRollback),
            Some(_) => None,
        };
        self.state.failed.take_if(|failed| failed.revision == revision);
        self.state.previous.take_if(|previous| previous.revision == revision);
        self.state.flags_rolled_back.remove(&revision);
        self.state.judged = None;
        self.state.rollback = None;
        // Pods of a fast rollback have lived: what they went through before is not held against it.
        self.state.restarts = self
            .input
            .revisions
            .get(&revision)
            .map(|facts| facts.restarts.clone())
            .unwrap_or_default();
        let now = self.now();
        let record = Record { attempt, result: None, reason: String::new(), at: now };
        self.state.records.insert(revision.clone(), record);
        let why = because.unwrap_or_else(|| "the spec asks for it".into());
        self.tell(
            false,
            "RolloutStarted",
            format!("revision {revision}, attempt {attempt}: {why}"),
        );
        self.state.canary = Some(Canary {
            revision,
            attempt,
            started: now,
            base_replicas: self.input.replicas,
            weight: Weight::ZERO,
            step: None,
            progress_since: now,
            first_ready: None,
            self_check: Tries::default(),
            straight,
            paused: None,
            hold: None,
            leave: None,
            never_worked: None,
            exceptions: Vec::new(),
        });
    }

    /// It is one of the last `fastRollback` promoted revisions beside stable.
    fn promoted_not_long_ago(&self, revision: &Revision) -> bool {
        let stable = self.state.stable.as_ref().map(|stable| &stable.revision);
        let promoted = self.state.records.iter().filter(|(other, record)| {
            record.result == Some(RevisionResult::Promoted) && Some(*other) != stable
        });
        let mut promoted: Vec<_> = promoted.map(|(other, record)| (record.at, other)).collect();
        promoted.sort_unstable_by(|a, b| b.cmp(a));
        promoted
            .iter()
            .take(self.input.policy.fast_rollback as usize)
            .any(|(_, other)| *other == revision)
    }

    /// Sends the canary on its way out.
    pub(super) fn leave(&mut self, result: RevisionResult, reason: String, harmful: bool) {
        let since = self.now();
        if let Some(canary) = &mut self.state.canary {
            canary.hold = None;
            canary.leave = Some(Leave { result, reason, harmful, since });
        }
    }

    /// Looks at the intent once.
    pub(super) fn obey_intent(&mut self) -> bool {
        let intent = match self.input.intent.clone().transpose() {
            Ok(intent) => {
                self.state.misread = None;
                intent
            }
            Err(message) => return self.refuse_to_read(message),
        };
        let Some(intent) = intent else { return false };
        if self.state.intents.last().is_some_and(|last| last.intent == intent) {
            return false;
        }
        let outcome = self.carry_out(&intent);
        let refused = outcome.is_err();
        let outcome = outcome.unwrap_or_else(|refusal| refusal);
        self.tell(
            refused,
            if refused { "IntentRefused" } else { "IntentObeyed" },
            format!("{intent}: {outcome}"),
        );
        self.state.intents.push(Consumed { intent, at: self.now(), outcome });
        let surplus = self.state.intents.len().saturating_sub(INTENTS);
        self.state.intents.drain(..surplus);
        true
    }

    fn refuse_to_read(&mut self, message: String) -> bool {
        if self.state.misread.as_ref() == Some(&message) {
            return false;
        }
        self.tell(true, "IntentRefused", message.clone());
        self.state.misread = Some(message);
        true
    }

    fn carry_out(&mut self, intent: &Intent) -> Result<String, String> {
        let Intent { verb, revision, attempt } = intent;
        match verb {
            Verb::Retry => self.retry(revision, *attempt),
            Verb::RollbackTo => self.roll_back_to(revision, *attempt),
            Verb::ResumeFlags => match self.state.flags_rolled_back.remove(revision) {
                Some(_) => Ok("flags are what the spec says again".into()),
                None => Err("no flag of this revision was rolled back".into()),
            },
            Verb::Promote
            | Verb::PromoteForce
            | Verb::Advance { .. }
            | Verb::Abort
            | Verb::Pause
            | Verb::Resume => {
                let canary = self.state.canary.as_ref();
                if canary.is_some_and(|canary| {
                    canary.revision == *revision && canary.attempt == *attempt
                }) {
                    self.steer(*verb)
                } else {
                    Err("void, this attempt is over".into())
                }
            }
        }
    }

    /// Steers the canary at hand.
    fn steer(&mut self, verb: Verb) -> Result<String, String> {
        let now = self.now();
        let Some(canary) = &mut self.state.canary else {
            return Err("void, no rollout is going on".into());
        };
        let leaving = canary
            .leave
            .as_ref()
            .map(|leave| format!("refused, it is being taken back: {}", leave.reason));
        match (verb, leaving) {
            (Verb::PromoteForce, _) => {
                canary.leave = None;
                canary.straight = Some(Straight::PromoteForce);
                canary.paused = None;
                canary
                    .exceptions
                    .push("promoted by force, whatever the rules say (promote-force)".into());
                Ok("goes to 100 % by force; no rule takes it back any more".into())
            }
            (_, Some(refusal)) => Err(refusal),
            (Verb::Promote, None) => {
                canary.straight = Some(Straight::Promote);
                canary.paused = None;
                canary.exceptions.push("steps skipped by a person (promote)".into());
                Ok("goes to 100 %".into())
            }
            (Verb::Advance { step }, None) => match &mut canary.step {
                Some(at) if at.number == step => {
                    at.advanced = true;
                    Ok(format!("step {step} waits for no person any more"))
                }
                Some(at) => Err(format!("void, it is at step {}", at.number)),
                None => Err("void, it has not reached its first step".into()),
            },
            (Verb::Pause, None) => {
                canary.paused = Some("a person asked for it".into());
                Ok(format!("stays at {} %", canary.weight.percent()))
            }
            (Verb::Resume, None) => {
                canary.paused = None;
                if let Some(hold) = &mut canary.hold {
                    hold.since = now;
                }
                if let Some(step) = &mut canary.step {
                    step.advanced = true;
                }
                Ok("goes on".into())
            }
            (Verb::Abort, None) => {
                self.leave(RevisionResult::Aborted, "a person ended it (abort)".into(), false);
                Ok("goes back to stable".into())
            }
            (Verb::Retry | Verb::RollbackTo | Verb::ResumeFlags, None) => {
                Err("not for a canary".into())
            }
        }
    }

    fn retry(&mut self, revision: &Revision, attempt: u32) -> Result<String, String> {
        if self.wanted().as_ref() != Some(revision) {
            return Err(
                "refused, the spec asks for another revision; set the spec to it instead".into()
            );
        }
        if self.state.canary.is_some() {
            return Err("refused, a rollout is going on; abort it first".into());
        }
        match self.state.records.get(revision) {
            Some(record)
                if record.attempt == attempt
                    && record.result.is_some()
                    && self.blocked(revision) => {}
            Some(record) => {
                return Err(format!(
                    "void, attempt {} is the last one and nothing stops it",
                    record.attempt
                ));
            }
            None => return Err("void, it has never been tried".into()),
        }
        if let Some(previous) = &mut self.state.previous {
            previous.guard_over = true;
        }
        if self.make_room(revision).is_some() {
            return Err("refused, four revisions are live; try again in a minute".into());
        }
        self.begin(revision.clone(), Some("a person asked for it again (retry)".into()));
        Ok(format!("attempt {} begins", attempt.saturating_add(1)))
    }

    fn roll_back_to(&mut self, revision: &Revision, attempt: u32) -> Result<String, String> {
        let record = self.state.records.get(revision);
        let promoted = record.filter(|record| record.result == Some(RevisionResult::Promoted));
        if promoted.is_none_or(|record| record.attempt != attempt)
            || !self.input.revisions.contains_key(revision)
        {
            return Err("refused, this attempt was not promoted; name one that was".into());
        }
        let Some(asked) = &self.state.asked else {
            return Err("refused, nothing was ever asked for".into());
        };
        if asked.revision == *revision {
            return Err("refused, the spec asks for it already".into());
        }
        self.state.pinned =
            Some(Pinned { revision: revision.clone(), instead_of: asked.revision.clone() });
        Ok("serves until the spec's revision changes".into())
    }
}
