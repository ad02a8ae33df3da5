//! 100 %, and the time after it in which the old revision is kept warm.

use std::time::Duration;

use mcphub_crds::rollout::RollbackOrder;

use super::engine::Engine;
use super::report::advice;
use super::rollback::{Harm, listed};
use super::state::{Previous, Stable, Straight, after, before, elapsed};
use super::{RevisionResult, scale};

impl Engine<'_> {
    /// The canary becomes stable. Roles change, pods do not.
    pub(super) fn promote(&mut self) {
        let (now, policy) = (self.now(), self.input.policy);
        let Some(canary) = self.state.canary.take() else { return };
        let epoch = canary.first_ready.map(|ready| after(ready, policy.warmup));
        let forced = canary.straight == Some(Straight::PromoteForce);
        let stable = Stable {
            revision: canary.revision.clone(),
            since: now,
            epoch,
            forced,
            flags_tried: false,
        };
        let old = self.state.stable.replace(stable);
        if let Some(old) = old {
            // The one that is kept already gives way: its sessions begin anew. There is room for one.
            self.state.previous = Some(Previous {
                revision: old.revision,
                since: now,
                guard_until: after(now, policy.guard),
                drained_at: after(now, policy.drain_timeout),
                guard_over: false,
            });
        }
        let how = match canary.straight {
            None => "all steps passed".into(),
            Some(Straight::FirstDeployment) => "first deployment".into(),
            Some(Straight::FastRollback) => {
                "it was promoted before, so no steps (fastRollback)".into()
            }
            Some(Straight::Promote | Straight::PromoteForce | Straight::HoldTimeout) => {
                String::new()
            }
        };
        let reasons = Some(how)
            .into_iter()
            .chain(canary.exceptions)
            .filter(|reason: &String| !reason.is_empty());
        let reason = reasons.collect::<Vec<_>>().join("; ");
        self.state.rollback = None;
        self.record(&canary.revision, canary.attempt, RevisionResult::Promoted, reason.clone());
        self.tell(
            forced,
            "Promoted",
            format!("revision {} serves 100 %: {reason}", canary.revision),
        );
    }

    /// A trigger that holds on a promoted revision whose predecessor is still warm.
    pub(super) fn obey_guard_trigger(&mut self) -> bool {
        let Some(stable) = &self.state.stable else { return false };
        let Some(previous) = &self.state.previous else { return false };
        let waits = stable.flags_tried && stable.epoch.is_some_and(|epoch| epoch > self.now());
        if previous.guard_over || stable.forced || waits || self.state.canary.is_some() {
            return false;
        }
        let Some(harm) = self.harm(&stable.revision) else { return false };
        let together = self.input.policy.rollback.order == Some(RollbackOrder::Together);
        if !together && !stable.flags_tried && self.flags_first(&harm) {
            return true;
        }
        self.back_to_previous(harm)
    }

    /// Sets flags back and gives them `flagGrace`; `false`: there is no flag that could help.
    fn flags_first(&mut self, harm: &Harm) -> bool {
        let Some((stable, previous)) = self.state.stable.clone().zip(self.state.previous.clone())
        else {
            return false;
        };
        let flags = self.set_flags_back(&stable.revision, Some(&previous.revision));
        let grace = after(self.now(), self.input.policy.rollback.flag_grace);
        if let Some(stable) = &mut self.state.stable {
            stable.flags_tried = true;
            if !flags.is_empty() {
                // A new epoch: what was measured with the flags on says nothing of the revision without them.
                stable.epoch = Some(grace);
            }
        }
        if flags.is_empty() {
            return false;
        }
        self.state.judged = None;
        self.tell(
            true,
            "FlagsRolledBack",
            format!("revision {}: {}; {}", stable.revision, listed(&flags), harm.reason),
        );
        true
    }

    fn back_to_previous(&mut self, harm: Harm) -> bool {
        let Some((stable, previous)) = self.state.stable.clone().zip(self.state.previous.clone())
        else {
            return false;
        };
        if scale::ready(self.input, &previous.revision) == 0 {
            return false;
        }
        let flags = match self.input.policy.rollback.order {
            Some(RollbackOrder::Together) => {
                self.set_flags_back(&stable.revision, Some(&previous.revision))
            }
            Some(RollbackOrder::FlagsFirst) | None => {
                self.state.flags_rolled_back.get(&stable.revision).cloned().unwrap_or_default()
            }
        };
        let attempt = self.state.records.get(&stable.revision).map_or(1, |record| record.attempt);
        let pods = scale::replicas(&self.state, self.input);
        let then = advice(&stable.revision, attempt);
        self.tell(
            true,
            "RolledBack",
            format!("revision {}, in guard: {}; {then}", stable.revision, harm.reason),
        );
        self.record(&stable.revision, attempt, RevisionResult::RolledBack, harm.reason.clone());
        self.note_cause(stable.revision.clone(), attempt, &harm.reason, harm.rule, flags);
        self.keep_failed(stable.revision, pods);
        self.state.previous = None;
        self.state.judged = None;
        self.state.stable = Some(Stable {
            revision: previous.revision,
            since: self.now(),
            epoch: None,
            forced: false,
            flags_tried: false,
        });
        true
    }

    /// Lets the previous revision go: its sessions are drained, and its time is over.
    pub(super) fn end_guard(&mut self) -> bool {
        let now = self.now();
        let Some(previous) = &self.state.previous else { return false };
        if now < previous.drained_at
            || (!previous.guard_over && (now < previous.guard_until || self.unseen_guard()))
        {
            return false;
        }
        let guarded = !previous.guard_over;
        self.state.previous = None;
        if self.state.canary.is_none() {
            self.state.judged = None;
        }
        if guarded {
            self.tell(false, "GuardEnded", "no trigger held; the previous revision goes".into());
        }
        true
    }

    /// Guard ends after a look at what happened in it, not because an operator or a Prometheus was away so long;
    /// but not for ever.
    fn unseen_guard(&self) -> bool {
        let Some((stable, previous)) = self.state.stable.as_ref().zip(self.state.previous.as_ref())
        else {
            return false;
        };
        let triggers = self
            .input
            .policy
            .rules
            .iter()
            .any(|rule| rule.applicable && rule.rollback_when.is_some());
        if !triggers || stable.forced || self.input.policy.prometheus.is_none() {
            return false;
        }
        let delay = self
            .input
            .policy
            .prometheus
            .as_ref()
            .map_or(Duration::ZERO, |prometheus| prometheus.ingest_delay);
        let enough = before(previous.guard_until, delay);
        let judged = self.state.judged.as_ref().filter(|judged| judged.revision == stable.revision);
        let seen_until =
            judged.and_then(|judged| judged.rules.iter().filter_map(|rule| rule.seen_until).min());
        let looked = seen_until.is_some_and(|until| until >= enough);
        !looked && elapsed(self.now(), previous.guard_until) < self.input.policy.hold_timeout
    }
}
