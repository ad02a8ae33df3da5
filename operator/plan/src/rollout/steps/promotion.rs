//! The canary becomes stable.

use crate::rollout::attempt::AttemptResult;
use crate::rollout::clock::after;
use crate::rollout::engine::Engine;
use crate::rollout::state::{Previous, SkipReason, Stable};
use crate::rollout::target;

/// Promotes the canary. Roles change, pods do not.
pub(super) fn promote(engine: &mut Engine<'_>) {
    let (now, policy) = (engine.now(), engine.input.policy);
    let Some(canary) = engine.state.canary.take() else { return };
    let epoch = canary.first_ready.map(|ready| after(ready, policy.warmup));
    let forced = canary.skip_steps == Some(SkipReason::PromoteForce);
    let stable = Stable {
        revision: canary.revision.clone(),
        since: now,
        epoch,
        forced,
        flags_tried: false,
        connected: canary.connected,
    };
    let old = engine.state.stable.replace(stable);
    if let Some(old) = old {
        // Only one previous revision is kept. If there is one already, it is replaced and its
        // sessions start over.
        engine.state.previous = Some(Previous {
            revision: old.revision,
            since: now,
            guard_until: after(now, policy.guard),
            drained_at: after(now, policy.drain_timeout),
            guard_over: false,
        });
    }
    let how = match canary.skip_steps {
        None => "all steps passed".into(),
        Some(SkipReason::FirstDeployment) if engine.state.previous.is_some() => {
            "stable was never connected to a server, so there was nothing to protect".into()
        }
        Some(SkipReason::FirstDeployment) => "first deployment".into(),
        Some(SkipReason::FastRollback) => {
            "it was promoted before, so it takes no steps (fastRollback)".into()
        }
        Some(SkipReason::Promote | SkipReason::PromoteForce | SkipReason::HoldTimeout) => {
            String::new()
        }
    };
    let pinned = target::pin(engine).filter(|pin| pin.revision == canary.revision);
    let person = pinned.map(|_| "a person asked for it (rollback-to)".to_owned());
    let all = person.into_iter().chain([how]).chain(canary.exceptions);
    let reasons = all.filter(|reason| !reason.is_empty());
    let reason = reasons.collect::<Vec<_>>().join("; ");
    engine.state.rollback = None;
    engine.record(&canary.revision, canary.attempt, AttemptResult::Promoted, reason.clone());
    engine.emit(forced, "Promoted", format!("revision {} serves 100%: {reason}", canary.revision));
}
