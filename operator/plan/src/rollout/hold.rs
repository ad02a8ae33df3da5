//! Hold: a rollout that waits by itself, and what happens when it waits too long.

use mcphub_crds::rollout::OnHoldTimeout;

use super::engine::Engine;
use super::report::plain;
use super::state::{Hold, HoldReason, Straight, elapsed};

impl Engine<'_> {
    /// Holds the canary; `false`: it is held for that reason already.
    pub(super) fn hold(&mut self, reason: HoldReason, message: String) -> bool {
        let now = self.now();
        let Some(canary) = &mut self.state.canary else { return false };
        match &mut canary.hold {
            Some(hold) if hold.reason == reason => {
                let changed = hold.message != message;
                hold.message = message;
                changed
            }
            other => {
                // A Prometheus that is down and one that has no data are one outage: its timeout runs on.
                let since =
                    other.as_ref().filter(|hold| about_data(hold.reason) && about_data(reason));
                let since = since.map_or(now, |hold| hold.since);
                *other = Some(Hold { reason, since, message: message.clone() });
                self.tell(false, "Holding", format!("{reason:?}: {message}"));
                true
            }
        }
    }

    /// Ends a hold for one of these reasons; `false`: there is none.
    pub(super) fn release(&mut self, reasons: &[HoldReason]) -> bool {
        let hold = self.state.canary.as_mut().map(|canary| &mut canary.hold);
        hold.is_some_and(|hold| hold.take_if(|hold| reasons.contains(&hold.reason)).is_some())
    }

    /// What is done about a hold by data or provider that has lasted too long.
    pub(super) fn time_out_hold(&mut self) -> bool {
        let (now, limit) = (self.now(), self.input.policy.hold_timeout);
        let Some(canary) = &mut self.state.canary else { return false };
        let Some(hold) = canary.hold.as_ref().filter(|hold| about_data(hold.reason)) else {
            return false;
        };
        if elapsed(now, hold.since) < limit || canary.paused.is_some() {
            return false;
        }
        let why = format!("{:?} for {}", hold.reason, plain(limit));
        match self.input.policy.on_hold_timeout {
            OnHoldTimeout::Pause => {
                canary.paused = Some(format!("{why} (onHoldTimeout: Pause)"));
                self.tell(
                    true,
                    "RolloutPaused",
                    format!("{why}; look after Prometheus, then resume or abort"),
                );
            }
            OnHoldTimeout::Rollback => {
                self.roll_back(format!("{why} (onHoldTimeout: Rollback)"), None, false)
            }
            OnHoldTimeout::Promote => {
                canary.straight = Some(Straight::HoldTimeout);
                canary.exceptions.push(format!("{why} (onHoldTimeout: Promote)"));
                self.tell(
                    true,
                    "RolloutUnjudged",
                    format!("{why}; goes to 100 % unjudged, as onHoldTimeout says"),
                );
            }
        }
        true
    }
}

fn about_data(reason: HoldReason) -> bool {
    match reason {
        HoldReason::NoData | HoldReason::ProviderDown => true,
        HoldReason::GateNotMet
        | HoldReason::TooFewSamples
        | HoldReason::NodeLost
        | HoldReason::Unschedulable
        | HoldReason::Unknown => false,
    }
}
