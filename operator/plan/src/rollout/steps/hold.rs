//! Hold: a rollout that waits by itself, and what happens when it waits too long.

use mcphub_crds::rollout::OnHoldTimeout;

use crate::rollout::clock::elapsed;
use crate::rollout::engine::Engine;
use crate::rollout::rollback;
use crate::rollout::state::{Hold, HoldReason, SkipReason};
use crate::rollout::text::plain;

/// Holds the canary; `false` if it is already held for that reason with that message.
pub(super) fn hold(engine: &mut Engine<'_>, reason: HoldReason, message: String) -> bool {
    let now = engine.now();
    let Some(canary) = &mut engine.state.canary else { return false };
    match &mut canary.hold {
        Some(hold) if hold.reason == reason => {
            let changed = hold.message != message;
            hold.message = message;
            changed
        }
        other => {
            // An unreachable Prometheus and one without data are one outage, so the timeout
            // continues.
            let since = other.as_ref().filter(|hold| about_data(hold.reason) && about_data(reason));
            let since = since.map_or(now, |hold| hold.since);
            *other = Some(Hold { reason, since, message: message.clone() });
            engine.emit(false, "Holding", format!("{reason:?}: {message}"));
            true
        }
    }
}

/// Ends a hold for one of these reasons; `false` if there is none.
pub(super) fn release(engine: &mut Engine<'_>, reasons: &[HoldReason]) -> bool {
    let hold = engine.state.canary.as_mut().map(|canary| &mut canary.hold);
    hold.is_some_and(|hold| hold.take_if(|hold| reasons.contains(&hold.reason)).is_some())
}

pub(super) fn release_any(engine: &mut Engine<'_>) -> bool {
    engine.state.canary.as_mut().is_some_and(|canary| canary.hold.take().is_some())
}

/// Ends a hold for missing data, an unreachable Prometheus or routers that lag, if it has lasted
/// too long.
pub(super) fn time_out(engine: &mut Engine<'_>) -> bool {
    let (now, limit) = (engine.now(), engine.input.policy.hold_timeout);
    let Some(canary) = &mut engine.state.canary else { return false };
    let ends = |reason| about_data(reason) || reason == HoldReason::RoutersLag;
    let Some(hold) = canary.hold.as_ref().filter(|hold| ends(hold.reason)) else {
        return false;
    };
    if elapsed(now, hold.since) < limit || canary.paused.is_some() {
        return false;
    }
    let why = format!("{:?} for {}", hold.reason, plain(limit));
    match engine.input.policy.on_hold_timeout {
        OnHoldTimeout::Pause => {
            canary.paused = Some(format!("{why} (onHoldTimeout: Pause)"));
            engine.emit(
                true,
                "RolloutPaused",
                format!("{why}; repair the cause, then resume or abort"),
            );
        }
        OnHoldTimeout::Rollback => {
            rollback::roll_back(engine, format!("{why} (onHoldTimeout: Rollback)"), None, false);
        }
        OnHoldTimeout::Promote => {
            canary.skip_steps = Some(SkipReason::HoldTimeout);
            canary.exceptions.push(format!("{why} (onHoldTimeout: Promote)"));
            engine.emit(
                true,
                "RolloutUnjudged",
                format!("{why}; goes to 100% without a verdict, because onHoldTimeout is Promote"),
            );
        }
    }
    true
}

fn about_data(reason: HoldReason) -> bool {
    match reason {
        HoldReason::NoData | HoldReason::ProviderDown => true,
        HoldReason::GateNotMet
        | HoldReason::TooFewSamples
        | HoldReason::NodeLost
        | HoldReason::Unschedulable
        | HoldReason::PodsMissing
        | HoldReason::RoutersLag
        | HoldReason::Unknown => false,
    }
}
