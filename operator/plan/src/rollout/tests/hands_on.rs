//! What intents do.

use mcphub_crds::status::Phase;

use super::story::{GOOD, HOUR, MINUTE, NEXT, OTHER, RULE, Story, policy};
use crate::rollout::AttemptResult;

#[test]
fn promote_skips_to_the_end_and_history_says_so() {
    let story =
        Story::canary("").until(5 * MINUTE).intent("promote/bbbbbbbb/1").until(5 * MINUTE + 1);
    assert_eq!((story.weights(), story.phase()), ("bbbbbbbb 100".into(), Phase::Guard));
    assert_eq!(story.reason(NEXT), "a person skipped the steps (promote)");
}

#[test]
fn promote_is_refused_while_the_trigger_is_obeyed_and_promote_force_is_not() {
    let bad = || Story::canary("").until(5 * MINUTE).pods(GOOD, 0).broken(NEXT);
    let story = bad().intent("promote/bbbbbbbb/1").until(6 * MINUTE);
    assert!(story.event("IntentRefused").is_some());
    assert_eq!(
        story.weights(),
        "aaaaaaaa 90, bbbbbbbb 10",
        "stable has no pod that could take over"
    );
    let story = bad().intent("promote-force/bbbbbbbb/1").until(6 * MINUTE);
    assert_eq!((story.weights(), story.phase()), ("bbbbbbbb 100".into(), Phase::Guard));
    // Guard does not roll back a forced promotion either.
    assert_eq!(story.pods(GOOD, 4).until(20 * MINUTE).weights(), "bbbbbbbb 100");
}

#[test]
fn a_pause_step_waits_for_advance_and_for_nothing_else() {
    let steps = "steps: [{traffic: 10, bake: 5m, pause: true}, {traffic: 100}]";
    let story = Story::canary(steps).until(3 * HOUR);
    assert_eq!(
        (story.phase(), story.weights()),
        (Phase::Paused, "aaaaaaaa 90, bbbbbbbb 10".into())
    );
    assert!(story.message().contains("advance/bbbbbbbb/1/1"), "{}", story.message());
    let story = story.intent("advance/bbbbbbbb/1/1").until(3 * HOUR + 1);
    assert_eq!(story.weights(), "bbbbbbbb 100");
}

#[test]
fn advance_waives_the_pause_but_neither_bake_nor_gate() {
    let steps = "steps: [{traffic: 10, bake: 5m, pause: true}, {traffic: 100}]";
    let story = Story::canary(steps).intent("advance/bbbbbbbb/1/1").until(4 * MINUTE);
    assert_eq!(story.weights(), "aaaaaaaa 90, bbbbbbbb 10");
    assert_eq!(story.until(8 * MINUTE).weights(), "bbbbbbbb 100");
}

#[test]
fn pause_stops_and_resume_goes_on() {
    let story = Story::canary("").intent("pause/bbbbbbbb/1").until(2 * HOUR);
    assert_eq!(
        (story.phase(), story.weights()),
        (Phase::Paused, "aaaaaaaa 90, bbbbbbbb 10".into())
    );
    let story = story.intent("resume/bbbbbbbb/1").until(2 * HOUR + 31);
    assert_eq!(story.weights(), "aaaaaaaa 50, bbbbbbbb 50");
}

#[test]
fn a_paused_spec_stops_promotion_but_not_a_rollback() {
    let mut story = Story::canary("");
    story.simulation.policy = policy(&format!("{RULE}paused: true"));
    let story = story.until(HOUR);
    assert_eq!(
        (story.phase(), story.weights()),
        (Phase::Paused, "aaaaaaaa 90, bbbbbbbb 10".into())
    );
    assert_eq!(story.broken(NEXT).until(HOUR + 30).weights(), "aaaaaaaa 100");
}

#[test]
fn abort_goes_back_to_stable_and_the_revision_is_not_tried_again_until_the_spec_changes() {
    let story = Story::canary("").intent("abort/bbbbbbbb/1").until(2 * HOUR);
    assert_eq!(
        (story.weights(), story.result(NEXT)),
        ("aaaaaaaa 100".into(), Some(AttemptResult::Aborted))
    );
    assert_eq!((story.phase(), story.report().reason.as_str()), (Phase::RolledBack, "Aborted"));
    let story = story.spec(GOOD).until(2 * HOUR + 60).spec(NEXT).until(2 * HOUR + 70);
    assert_eq!(story.weights(), "aaaaaaaa 90, bbbbbbbb 10");
}

#[test]
fn retry_tries_a_rolled_back_revision_again_from_step_one() {
    let mut story = Story::canary("").broken(NEXT).until(5 * MINUTE);
    story.truth(NEXT).broken.clear();
    let story = story.intent("retry/bbbbbbbb/1").until(5 * MINUTE + 5);
    assert_eq!((story.weights(), story.step()), ("aaaaaaaa 90, bbbbbbbb 10".into(), 1));
    assert_eq!(story.report().canary.as_ref().unwrap().attempt, 2);
}

// GitOps leaves an annotation in place forever.
#[test]
fn an_intent_is_obeyed_once_and_void_when_its_attempt_is_over() {
    let mut story =
        Story::canary("").broken(NEXT).until(5 * MINUTE).intent("retry/bbbbbbbb/1").until(HOUR);
    assert_eq!((story.weights(), story.phase()), ("aaaaaaaa 100".into(), Phase::RolledBack));
    story.truth(NEXT).broken.clear();
    assert_eq!(story.until(3 * HOUR).weights(), "aaaaaaaa 100");
}

#[test]
fn an_intent_for_an_earlier_attempt_does_nothing() {
    let mut story = Story::canary("").broken(NEXT).until(5 * MINUTE).intent("retry/bbbbbbbb/1");
    story.truth(NEXT).broken.clear();
    let story = story.until(6 * MINUTE).intent("promote/bbbbbbbb/1").until(7 * MINUTE);
    assert_eq!(story.weights(), "aaaaaaaa 90, bbbbbbbb 10");
    assert!(story.event("IntentRefused").is_some());
}

#[test]
fn rollback_to_lasts_until_the_revision_of_the_spec_changes() {
    let story =
        Story::promoted("").until(3 * HOUR).intent("rollback-to/aaaaaaaa/1").until(3 * HOUR + 2);
    assert_eq!(story.weights(), "aaaaaaaa 100");
    let story = story.until(6 * HOUR);
    assert_eq!((story.weights(), story.phase()), ("aaaaaaaa 100".into(), Phase::RolledBack));
    let story = story.spec(OTHER).until(6 * HOUR + 5);
    assert_eq!(story.weights(), "aaaaaaaa 90, cccccccc 10");
}

// The next shift must not see a healthy hub and then wonder why the next edit of the spec brings
// back what somebody took away.
#[test]
fn after_rollback_to_everything_says_that_a_person_asked_for_it_and_not_the_spec() {
    let story =
        Story::promoted("").until(3 * HOUR).intent("rollback-to/aaaaaaaa/1").until(4 * HOUR);
    assert_eq!((story.phase(), story.report().reason.as_str()), (Phase::RolledBack, "RollbackTo"));
    assert_eq!(
        story.message(),
        "revision aaaaaaaa serves, because a person asked for it (rollback-to), and revision \
         bbbbbbbb, which the spec asks for, does not; this ends when the spec changes"
    );
    let reason = story.reason(GOOD);
    assert!(reason.starts_with("a person asked for it (rollback-to); "), "{reason}");
    let events = &story.simulation.events;
    let started = "RolloutStarted: revision aaaaaaaa, attempt 2: a person asked for it \
                   (rollback-to), not the spec, which asks for bbbbbbbb";
    assert!(events.iter().any(|(_, event)| event == started), "{events:?}");
    assert!(story.report().pinned.is_some());
    let story = story.spec(GOOD).until(5 * HOUR);
    assert_eq!((story.phase(), &story.report().pinned), (Phase::Healthy, &None));
}

#[test]
fn an_intent_about_another_revision_or_attempt_is_told_what_to_write() {
    for (intent, expected) in [
        (
            "promote/deadbeef/1",
            "ignored: there is no revision deadbeef; the canary is bbbbbbbb, attempt 1: write \
             promote/bbbbbbbb/1",
        ),
        (
            "abort/bbbbbbbb/2",
            "ignored: revision bbbbbbbb has no attempt 2; the canary is bbbbbbbb, attempt 1: \
             write abort/bbbbbbbb/1",
        ),
        (
            "advance/aaaaaaaa/1/1",
            "ignored: attempt 1 of revision aaaaaaaa is over; the canary is bbbbbbbb, attempt 1: \
             write advance/bbbbbbbb/1/1",
        ),
        (
            "rollback-to/deadbeef/1",
            "refused: attempt 1 of revision deadbeef was not promoted; write one that was: \
             rollback-to/aaaaaaaa/1",
        ),
    ] {
        let story = Story::canary("").intent(intent).until(2 * MINUTE);
        let outcome = &story.report().intents.last().unwrap().outcome;
        assert_eq!(outcome, expected);
    }
    let story = Story::healthy("").intent("pause/aaaaaaaa/1").until(MINUTE);
    let outcome = &story.report().intents.last().unwrap().outcome;
    assert_eq!(
        outcome,
        "ignored: attempt 1 of revision aaaaaaaa is over; no rollout is in progress"
    );
}

#[test]
fn resume_flags_gives_a_revision_its_flags_back() {
    let mut story = Story::healthy("").until(MINUTE);
    story.truth(GOOD).flags = [("beta".to_owned(), false)].into();
    story.truth(NEXT).flags = [("beta".to_owned(), true)].into();
    let story = story.spec(NEXT).until(2 * HOUR - 10 * MINUTE);
    let now = story.simulation.second();
    let story = story.errors(NEXT, [(now, 0.3), (now + 3 * MINUTE, 0.0)]).until(now + 10 * MINUTE);
    assert_eq!((story.weights(), story.flag(NEXT, "beta")), ("bbbbbbbb 100".into(), Some(false)));
    let story = story.intent("resume-flags/bbbbbbbb/1").until(now + 11 * MINUTE);
    assert_eq!(story.flag(NEXT, "beta"), Some(true));
}

// Otherwise the Event says that it goes to 100%, and nothing moves.
#[test]
fn promote_of_a_paused_spec_says_that_it_waits() {
    let mut story = Story::canary("");
    story.simulation.policy = policy(&format!("{RULE}paused: true"));
    let story = story.intent("promote-force/bbbbbbbb/1").until(5 * MINUTE);
    assert_eq!(story.weights(), "aaaaaaaa 90, bbbbbbbb 10");
    let outcome = &story.report().intents.last().unwrap().outcome;
    assert!(outcome.ends_with(", as soon as spec.rollout.paused is false"), "{outcome}");
}

#[test]
fn an_intent_whose_annotation_is_removed_and_set_again_is_obeyed_again() {
    let story = Story::canary("")
        .intent("pause/bbbbbbbb/1")
        .until(3 * MINUTE)
        .intent("resume/bbbbbbbb/1")
        .until(4 * MINUTE)
        .no_intent()
        .until(5 * MINUTE)
        .intent("resume/bbbbbbbb/1")
        .until(6 * MINUTE);
    let refused = story.events("IntentRefused");
    assert_eq!(refused.len(), 1, "the second one is answered as well: {refused:?}");
}

#[test]
fn a_paused_rollout_never_suggests_the_intent_that_its_annotation_already_has() {
    let down = (4 * MINUTE, 30 * HOUR);
    let story = Story::canary("holdTimeout: 10m\nonHoldTimeout: Pause\n")
        .prometheus_down(down.0, down.1)
        .until(HOUR);
    assert_eq!(story.phase(), Phase::Paused);
    assert!(story.message().contains("resume/bbbbbbbb/1,"), "{}", story.message());
    let story = story.intent("resume/bbbbbbbb/1").until(HOUR + 5 * MINUTE);
    assert_eq!(story.phase(), Phase::Holding);
    // Prometheus is still down, so the same pause comes again.
    let story = story.until(2 * HOUR);
    assert_eq!(story.phase(), Phase::Paused);
    assert!(story.message().contains("resume/bbbbbbbb/1/2,"), "{}", story.message());
    let story = story.intent("resume/bbbbbbbb/1/2").until(2 * HOUR + 5 * MINUTE);
    assert_eq!(story.phase(), Phase::Holding);
}

#[test]
fn a_rollout_that_resumes_after_too_few_samples_waits_for_more_instead_of_pausing_at_once() {
    let story = Story::canary("onTooFew: Pause\n").samples(NEXT, [(0, 5.0)]).until(3 * HOUR);
    assert_eq!(story.phase(), Phase::Paused);
    let story = story.intent("resume/bbbbbbbb/1").until(3 * HOUR + 5 * MINUTE);
    assert_eq!(story.phase(), Phase::Holding, "{}", story.message());
    let story = story.samples(NEXT, [(3 * HOUR, 500.0)]).until(3 * HOUR + 10 * MINUTE);
    assert_eq!(story.weights(), "aaaaaaaa 50, bbbbbbbb 50");
}

#[test]
fn resume_passes_no_pause_step_and_says_what_does() {
    let steps = "steps: [{traffic: 10, bake: 5m, pause: true}, {traffic: 100}]";
    let story = Story::canary(steps)
        .intent("pause/bbbbbbbb/1")
        .until(HOUR)
        .intent("resume/bbbbbbbb/1")
        .until(2 * HOUR);
    assert_eq!(story.weights(), "aaaaaaaa 90, bbbbbbbb 10");
    assert!(story.message().contains("advance/bbbbbbbb/1/1"), "{}", story.message());
    let story = story.intent("resume/bbbbbbbb/1/2").until(2 * HOUR + MINUTE);
    assert_eq!(story.weights(), "aaaaaaaa 90, bbbbbbbb 10");
    let refused = story.events("IntentRefused");
    assert!(refused[0].contains("write advance/bbbbbbbb/1/1"), "{refused:?}");
}

#[test]
fn a_retry_without_room_waits_for_room_and_ends_no_guard_meanwhile() {
    let mut story = Story::healthy("").until(MINUTE).broken(OTHER).spec(OTHER).until(2 * MINUTE);
    assert_eq!(story.result(OTHER), Some(AttemptResult::RolledBack), "{}", story.message());
    story.truth(OTHER).broken.clear();
    let story = story.spec(NEXT).until(96 * MINUTE);
    assert_eq!(story.phase(), Phase::Guard, "{}", story.message());
    let mut story = story.spec(OTHER).leftover("dddddddd").leftover("eeeeeeee");
    story.simulation.routers_stuck_at = Some(0);
    let mut story = story.intent("retry/cccccccc/1").until(98 * MINUTE);
    assert_eq!(story.events("IntentWaits").len(), 1, "{:?}", story.simulation.events);
    let previous = story.simulation.state.as_ref().unwrap().previous.as_ref().unwrap();
    assert!(!previous.guard_over);
    story.simulation.routers_stuck_at = None;
    let story = story.until(99 * MINUTE);
    assert_eq!(story.report().canary.as_ref().unwrap().attempt, 2);
}
