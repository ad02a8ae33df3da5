//! When to reconcile again even if nothing changes.

use std::time::Duration;

use jiff::Timestamp;

use super::clock::{after, elapsed};
use super::engine::Engine;
use super::probes::awaits_routers;
use super::rules::query_plan::{QueryPlan, due, queries};
use super::scale;
use super::state::{Canary, HoldReason};
use super::steps::{self_check, step};
use crate::next::Next;

/// Minimum and maximum interval at which routers are asked for their generation. They obey in well
/// under a second, and the bake starts when they do. A router that lags is asked less and less
/// often.
const ROUTERS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// Interval at which routers are asked while objects wait for their removal.
const REMOVAL: Duration = Duration::from_secs(2);

/// Retry of a probe that was due and was not answered.
const UNANSWERED: Duration = Duration::from_millis(500);

/// Retry of queries that were due and were not answered. The operator reconciles as soon as the
/// answers come.
const UNJUDGED: Duration = Duration::from_secs(5);

/// Minimum time between two reconciles that only wait for time to pass.
const LEAST: Duration = Duration::from_millis(50);

pub(super) fn next(engine: &Engine<'_>) -> Next {
    let canary = engine.state.canary.as_ref();
    let waits = [
        canary.and_then(|canary| next_of_canary(engine, canary)),
        canary.and_then(|canary| next_of_routers(engine, canary)),
        (!scale::leaving(&engine.state, engine.input).is_empty() && engine.input.routers.ready > 0)
            .then_some(REMOVAL),
        next_judgment(engine),
        next_of_guard(engine),
        engine.state.failed.as_ref().and_then(|failed| {
            until(engine, after(failed.since, engine.input.policy.rollback.keep_for))
        }),
    ];
    waits.into_iter().flatten().min().map_or(Next::Idle, |wait| Next::In(wait.max(LEAST)))
}

/// Time until an instant in the future.
fn until(engine: &Engine<'_>, then: Timestamp) -> Option<Duration> {
    (then > engine.now()).then(|| elapsed(then, engine.now()))
}

fn next_of_canary(engine: &Engine<'_>, canary: &Canary) -> Option<Duration> {
    let policy = engine.input.policy;
    if let Some(withdrawal) = &canary.withdrawal {
        return until(engine, after(withdrawal.since, policy.progress_deadline));
    }
    let hold =
        canary.hold.as_ref().and_then(|hold| until(engine, after(hold.since, policy.hold_timeout)));
    let missing = canary.hold.as_ref().filter(|hold| hold.reason == HoldReason::PodsMissing);
    let deadline = missing.map_or(canary.progress_since, |hold| hold.since);
    let deadline = until(engine, after(deadline, policy.progress_deadline));
    let checking = canary.step.is_none()
        && scale::ready(engine.input, &canary.revision)
            >= scale::launch_pods(canary, &engine.state, engine.input);
    let check = checking.then(|| {
        let last = canary.self_check.last;
        let wait = last.and_then(|last| {
            until(engine, after(last, self_check::pause_between(canary, engine.input)))
        });
        wait.unwrap_or(UNANSWERED)
    });
    let baking = canary.step.as_ref().is_none_or(|step| step.bake.is_some());
    let warm = step::warmup_end(engine.input, Some(canary)).filter(|_| !baking);
    let warm = warm.and_then(|end| until(engine, end));
    [hold, deadline, check, warm].into_iter().flatten().min()
}

fn next_of_routers(engine: &Engine<'_>, canary: &Canary) -> Option<Duration> {
    let waits = awaits_routers(canary) && engine.input.routers.ready > 0;
    let since = canary.step.as_ref().and_then(|step| step.weight_since)?;
    let (least, most) = ROUTERS;
    waits.then(|| (elapsed(engine.now(), since) / 4).clamp(least, most))
}

fn next_judgment(engine: &Engine<'_>) -> Option<Duration> {
    QueryPlan::new(&engine.state, engine.input)?;
    let interval = engine.input.policy.interval;
    if !due(&engine.state, engine.input) {
        return engine.state.last_judgment.and_then(|last| until(engine, after(last, interval)));
    }
    Some(if queries(&engine.state, engine.input).is_empty() {
        interval
    } else {
        UNJUDGED.min(interval)
    })
}

fn next_of_guard(engine: &Engine<'_>) -> Option<Duration> {
    let previous = engine.state.previous.as_ref()?;
    let times = [
        previous.drained_at,
        previous.guard_until,
        after(previous.guard_until, engine.input.policy.hold_timeout),
    ];
    let flags = engine
        .state
        .stable
        .as_ref()
        .filter(|stable| stable.flags_tried)
        .and_then(|stable| stable.epoch);
    times.into_iter().chain(flags).filter_map(|then| until(engine, then)).min()
}
