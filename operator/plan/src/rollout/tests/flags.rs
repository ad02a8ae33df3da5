//! Stories of flags that a rollback has set.

use mcphub_crds::status::Phase;

use super::story::{GOOD, HOUR, MINUTE, NEXT, OTHER, Story, revision};

/// Not seen by the other stories.
const LAST: &str = "dddddddd";

fn beta(on: bool) -> std::collections::BTreeMap<String, bool> {
    [("beta".to_owned(), on)].into()
}

/// `NEXT` turned `beta` on, which did harm in guard. Without it, `NEXT` is well and stays. Times
/// are from the returned second on.
fn flag_rolled_back() -> (Story, i64) {
    let mut story = Story::healthy("").until(MINUTE);
    story.truth(GOOD).flags = beta(false);
    for name in [NEXT, OTHER, LAST] {
        story.truth(name).flags = beta(true);
    }
    let story = story.spec(NEXT).until(2 * HOUR - 10 * MINUTE);
    let now = story.simulation.second();
    let story = story.errors(NEXT, [(now, 0.3), (now + 3 * MINUTE, 0.0)]).until(now + HOUR);
    assert_eq!((story.weights(), story.flag(NEXT, "beta")), ("bbbbbbbb 100".into(), Some(false)));
    assert_eq!(story.phase(), Phase::Healthy);
    let now = story.simulation.second();
    (story, now)
}

#[test]
fn a_flag_that_was_rolled_back_stays_so_in_the_next_revisions() {
    let (story, now) = flag_rolled_back();
    let story = story.spec(OTHER).until(now + 5 * MINUTE);
    assert_eq!((story.step(), story.flag(OTHER, "beta")), (1, Some(false)));
    let started = story.events("RolloutStarted").last().unwrap().to_string();
    assert!(started.contains("stay so: beta=false"), "{started}");
    assert!(started.ends_with("asks for resume-flags/cccccccc/1"), "{started}");
    let story = story.spec(LAST).until(now + 10 * MINUTE);
    assert_eq!(story.flag(LAST, "beta"), Some(false));
}

#[test]
fn a_flag_that_was_rolled_back_is_on_again_after_the_spec_turned_it_off_and_on() {
    let (mut story, now) = flag_rolled_back();
    story.truth(OTHER).flags = beta(false);
    let story = story.spec(OTHER).until(now + 5 * MINUTE).spec(LAST).until(now + 10 * MINUTE);
    assert_eq!((story.flag(NEXT, "beta"), story.flag(LAST, "beta")), (Some(false), Some(true)));
}

#[test]
fn a_flag_that_a_person_resumed_is_on_in_the_next_revisions_too() {
    let (story, now) = flag_rolled_back();
    let story = story.intent("resume-flags/bbbbbbbb/1").until(now + MINUTE);
    let story = story.spec(OTHER).until(now + 5 * MINUTE);
    assert_eq!((story.flag(NEXT, "beta"), story.flag(OTHER, "beta")), (Some(true), Some(true)));
}

// The spec of both says that the flag is on.
#[test]
fn a_second_rollback_compares_the_values_in_force() {
    let (story, now) = flag_rolled_back();
    let story = story.spec(OTHER).until(now + 5 * MINUTE);
    let story = story.intent("resume-flags/cccccccc/1").until(now + 6 * MINUTE);
    assert_eq!((story.flag(NEXT, "beta"), story.flag(OTHER, "beta")), (Some(false), Some(true)));
    let story = story.broken(OTHER).until(now + 7 * MINUTE);
    assert_eq!((story.weights(), story.flag(OTHER, "beta")), ("bbbbbbbb 100".into(), Some(false)));
    assert_eq!(story.report().rollback.clone().unwrap().flags, beta(false));
}

#[test]
fn a_flag_of_a_revision_that_is_gone_is_remembered_as_long_as_the_spec_asks_for_it() {
    let mut story = Story::healthy("rollback: {keepFor: 10m}").until(MINUTE);
    story.truth(GOOD).flags = beta(false);
    for name in [NEXT, OTHER] {
        story.truth(name).flags = beta(true);
    }
    let story = story.spec(NEXT).until(5 * MINUTE).broken(NEXT).until(HOUR);
    assert_eq!((story.phase(), story.role(NEXT)), (Phase::RolledBack, None));
    let flags = &story.report().flags_rolled_back;
    assert_eq!(flags.get(&revision(NEXT)), Some(&beta(false)));
    let story = story.spec(OTHER).until(HOUR + 5 * MINUTE);
    assert_eq!((story.step(), story.flag(OTHER, "beta")), (1, Some(false)));
    let story = story.spec(GOOD).until(HOUR + 6 * MINUTE);
    assert!(story.report().flags_rolled_back.is_empty(), "the spec turned the flag off");
}

// Flags of stable are not its own business: what serves must not change with the spec alone.
#[test]
fn a_spec_that_goes_back_to_stable_turns_none_of_its_flags_on() {
    let (mut story, now) = flag_rolled_back();
    story.truth(OTHER).flags = beta(false);
    let story = story.spec(OTHER).until(now + 5 * MINUTE).spec(NEXT).until(now + 10 * MINUTE);
    assert_eq!((story.weights(), story.flag(NEXT, "beta")), ("bbbbbbbb 100".into(), Some(false)));
}
