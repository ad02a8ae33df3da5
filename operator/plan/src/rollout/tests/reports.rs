//! What the status says after a rollback and after guard.

use mcphub_crds::status::{Phase, RuleVerdict};

use super::story::{GOOD, MINUTE, NEXT, Story};
use crate::rollout::AttemptResult;

/// A canary that rule "errors" rolled back at step 1.
fn rolled_back() -> Story {
    let mut story = Story::canary("").until(10 * MINUTE).errors(NEXT, [(10 * MINUTE, 0.5)]);
    story.truth(NEXT).failing_tools =
        vec![("files", "files__stat", 4.0), ("deepwiki", "deepwiki__ask_question", 904.0)];
    let story = story.until(20 * MINUTE);
    assert_eq!(story.result(NEXT), Some(AttemptResult::RolledBack), "{}", story.message());
    story
}

// A rule and a value say that something is wrong, but not what.
#[test]
fn a_rollback_names_the_tools_with_most_failures() {
    let reason = rolled_back().reason(NEXT);
    let tools = " on 1000 samples (deepwiki: deepwiki__ask_question, files: files__stat), since ";
    assert!(reason.contains(tools), "{reason}");
}

#[test]
fn a_rollback_does_not_wait_for_the_names_of_tools() {
    let without = Story::canary("").until(10 * MINUTE).errors(NEXT, [(10 * MINUTE, 0.5)]);
    let without = without.until(20 * MINUTE);
    assert_eq!(without.event("RolledBack"), rolled_back().event("RolledBack"));
    assert!(without.reason(NEXT).contains(" on 1000 samples, since "), "{}", without.reason(NEXT));
}

#[test]
fn after_a_rollback_the_canary_and_its_rules_stay_as_they_were() {
    let story = rolled_back();
    let canary = story.report().canary.clone().expect("the canary");
    assert_eq!((canary.revision.as_str(), canary.step), (NEXT, 1));
    assert_eq!(canary.weight.percent(), 0);
    assert!(!canary.bake_observed.is_zero() && !canary.bake_required.is_zero());
    let rules = &story.report().rules;
    assert_eq!(rules.len(), 1);
    assert_eq!((rules[0].value, rules[0].verdict), (Some(0.5), RuleVerdict::Breach));
    let story = story.spec(GOOD).until(30 * MINUTE);
    assert_eq!((story.phase(), &story.report().canary), (Phase::Healthy, &None));
    assert_eq!((&story.report().rollback, &*story.report().rules), (&None, &[][..]));
}

#[test]
fn an_aborted_canary_and_its_rules_stay_as_they_were() {
    let story = Story::canary("").until(10 * MINUTE).intent("abort/bbbbbbbb/1");
    let story = story.until(11 * MINUTE);
    assert_eq!(story.report().canary.as_ref().map(|canary| canary.step), Some(1));
    assert_eq!(story.report().rules.len(), 1);
}

#[test]
fn after_guard_the_hub_is_healthy_while_old_sessions_end() {
    let story = Story::canary("guard: 1m\ndrainTimeout: 10m\n").intent("promote/bbbbbbbb/1");
    let story = story.until(MINUTE + 30);
    assert_eq!(story.phase(), Phase::Guard, "{}", story.message());
    let story = story.until(5 * MINUTE);
    assert_eq!(story.phase(), Phase::Healthy, "{}", story.message());
    assert_eq!(
        story.message(),
        "the revision that the spec asks for serves; sessions of revision aaaaaaaa end until \
         08:11:05 UTC"
    );
    let story = story.until(20 * MINUTE);
    assert_eq!(story.message(), "the revision that the spec asks for serves");
}
