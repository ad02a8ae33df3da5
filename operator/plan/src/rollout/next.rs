//! When to look again even if nothing changes.

use std::time::Duration;

use jiff::Timestamp;

use super::engine::Engine;
use super::questions::{QueryPlan, awaits_routers, due, queries};
use super::state::{Canary, after, elapsed};
use super::{launch, scale};
use crate::plan::Next;

/// Routers obey in well under a second, and the bake starts when they do. One that does not is asked ever less often.
const ROUTERS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// Objects that nobody needs any more may wait a little.
const REMOVAL: Duration = Duration::from_secs(2);
/// A question that was due at this look and was not answered.
const UNANSWERED: Duration = Duration::from_millis(500);
/// No two looks for the passing of time are closer.
const LEAST: Duration = Duration::from_millis(50);

impl Engine<'_> {
    pub(super) fn next(&self) -> Next {
        let canary = self.state.canary.as_ref();
        let waits = [
            canary.and_then(|canary| self.next_of_canary(canary)),
            canary.and_then(|canary| self.next_of_routers(canary)),
            (!scale::leaving(&self.state, self.input).is_empty() && self.input.routers.ready > 0)
                .then_some(REMOVAL),
            self.next_judgment(),
            self.next_of_guard(),
            self.state.failed.as_ref().and_then(|failed| {
                self.until(after(failed.since, self.input.policy.rollback.keep_for))
            }),
        ];
        waits.into_iter().flatten().min().map_or(Next::Idle, |wait| Next::In(wait.max(LEAST)))
    }

    /// Time to an instant that lies ahead.
    fn until(&self, then: Timestamp) -> Option<Duration> {
        (then > self.now()).then(|| elapsed(then, self.now()))
    }

    fn next_of_canary(&self, canary: &Canary) -> Option<Duration> {
        let policy = self.input.policy;
        if let Some(leave) = &canary.leave {
            return self.until(after(leave.since, policy.progress_deadline));
        }
        let hold = canary
            .hold
            .as_ref()
            .and_then(|hold| self.until(after(hold.since, policy.hold_timeout)));
        let deadline = self.until(after(canary.progress_since, policy.progress_deadline));
        let checking = canary.step.is_none()
            && scale::ready(self.input, &canary.revision)
                >= scale::launch_pods(canary, &self.state, self.input);
        let check = checking.then(|| {
            let last = canary.self_check.last;
            let wait = last.and_then(|last| {
                self.until(after(last, launch::pause_between(canary, self.input)))
            });
            wait.unwrap_or(UNANSWERED)
        });
        [hold, deadline, check].into_iter().flatten().min()
    }

    fn next_of_routers(&self, canary: &Canary) -> Option<Duration> {
        let waits = awaits_routers(canary) && self.input.routers.ready > 0;
        let since = canary.step.as_ref().and_then(|step| step.weight_since)?;
        let (least, most) = ROUTERS;
        waits.then(|| (elapsed(self.now(), since) / 4).clamp(least, most))
    }

    fn next_judgment(&self) -> Option<Duration> {
        QueryPlan::new(&self.state, self.input)?;
        let interval = self.input.policy.interval;
        if !due(&self.state, self.input) {
            return self.state.last_judged.and_then(|last| self.until(after(last, interval)));
        }
        Some(if queries(&self.state, self.input).is_empty() {
            interval
        } else {
            UNANSWERED.min(interval)
        })
    }

    fn next_of_guard(&self) -> Option<Duration> {
        let previous = self.state.previous.as_ref()?;
        let times = [
            previous.drained_at,
            previous.guard_until,
            after(previous.guard_until, self.input.policy.hold_timeout),
        ];
        let flags = self
            .state
            .stable
            .as_ref()
            .filter(|stable| stable.flags_tried)
            .and_then(|stable| stable.epoch);
        times.into_iter().chain(flags).filter_map(|then| self.until(then)).min()
    }
}
