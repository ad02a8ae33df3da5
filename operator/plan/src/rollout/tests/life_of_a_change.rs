//! The life of a change, from the first deployment to the end of the guard.

use mcphub_crds::status::{HoldReason, Phase};
use mcphub_hub_wire::dataplane::Role;

use super::story::{GOOD, HOUR, MINUTE, NEXT, OTHER, Story, policy, revision};
use crate::rollout::AttemptResult;

#[test]
fn a_first_deployment_serves_after_its_self_check_without_bake() {
    let story = Story::new("").until(1);
    assert_eq!((story.phase(), story.weights()), (Phase::Healthy, "aaaaaaaa 100".into()));
    assert_eq!(story.result(GOOD), Some(AttemptResult::Promoted));
    assert_eq!(story.pods_of(GOOD), Some(4));
}

#[test]
fn a_first_deployment_that_does_not_work_is_failed_and_serves_as_soon_as_it_does() {
    let mut story = Story::new("");
    story.truth(GOOD).self_check_fails = true;
    let mut story = story.until(MINUTE);
    assert_eq!((story.phase(), story.weights()), (Phase::Failed, String::new()));
    assert!(story.message().contains("server \"files\" is not connected"), "{}", story.message());
    story.truth(GOOD).self_check_fails = false;
    let story = story.until(2 * MINUTE);
    assert_eq!((story.phase(), story.weights()), (Phase::Healthy, "aaaaaaaa 100".into()));
}

#[test]
fn a_first_deployment_without_pods_fails_after_the_deadline_and_a_newer_spec_replaces_it() {
    let story = Story::new("").pods(GOOD, 0).until(11 * MINUTE);
    assert_eq!(story.phase(), Phase::Failed);
    let story = story.spec(NEXT).until(12 * MINUTE);
    assert_eq!((story.phase(), story.weights()), (Phase::Healthy, "bbbbbbbb 100".into()));
    assert_eq!((story.result(GOOD), story.pods_of(GOOD)), (Some(AttemptResult::Failed), None));
}

#[test]
fn a_change_walks_ten_fifty_hundred_with_its_bakes_and_rests_after_the_guard() {
    let story = Story::canary("").until(31 * MINUTE);
    assert_eq!(story.weights(), "aaaaaaaa 90, bbbbbbbb 10");
    let story = story.until(33 * MINUTE);
    assert_eq!((story.weights(), story.step()), ("aaaaaaaa 50, bbbbbbbb 50".into(), 2));
    let story = story.until(91 * MINUTE);
    assert_eq!(story.weights(), "aaaaaaaa 50, bbbbbbbb 50");
    let story = story.until(94 * MINUTE);
    assert_eq!((story.weights(), story.phase()), ("bbbbbbbb 100".into(), Phase::Guard));
    assert_eq!((story.role(GOOD), story.pods_of(GOOD)), (Some(Role::Previous), Some(4)));
    let story = story.until(125 * MINUTE);
    assert_eq!(
        (story.phase(), story.role(GOOD), story.pods_of(GOOD)),
        (Phase::Healthy, None, None)
    );
    assert_eq!(story.reason(NEXT), "all steps passed");
}

#[test]
fn no_weight_before_the_self_check_has_passed_and_three_failures_roll_back() {
    let mut story = Story::healthy("").until(MINUTE);
    story.truth(NEXT).self_check_fails = true;
    let story = story.spec(NEXT).until(MINUTE + 3);
    assert_eq!((story.weights(), story.phase()), ("aaaaaaaa 100".into(), Phase::Progressing));
    let story = story.until(MINUTE + 6);
    assert_eq!(
        (story.phase(), story.result(NEXT)),
        (Phase::RolledBack, Some(AttemptResult::RolledBack))
    );
    assert!(story.message().contains("server \"files\" is not connected"), "{}", story.message());
}

#[test]
fn a_canary_not_available_within_the_deadline_is_rolled_back() {
    let story = Story::healthy("").until(MINUTE).pods(NEXT, 0).spec(NEXT).until(10 * MINUTE);
    assert_eq!(story.phase(), Phase::Progressing);
    let story = story.until(12 * MINUTE);
    assert_eq!((story.phase(), story.weights()), (Phase::RolledBack, "aaaaaaaa 100".into()));
}

#[test]
fn an_unschedulable_pod_is_a_hold_and_not_the_revisions_fault() {
    let mut story = Story::healthy("").until(MINUTE).pods(NEXT, 0);
    story.truth(NEXT).unschedulable = 4;
    let mut story = story.spec(NEXT).until(2 * HOUR);
    assert_eq!((story.holding(), story.phase()), (Some(HoldReason::Unschedulable), Phase::Holding));
    story.truth(NEXT).unschedulable = 0;
    let story = story.until(2 * HOUR + MINUTE).pods(NEXT, 4).until(2 * HOUR + 2 * MINUTE);
    assert_eq!(story.weights(), "aaaaaaaa 90, bbbbbbbb 10");
}

#[test]
fn weight_moves_only_when_the_pods_for_it_are_ready() {
    let story = Story::canary("").pods(NEXT, 1).until(40 * MINUTE);
    assert_eq!(
        (story.weights(), story.pods_of(NEXT)),
        ("aaaaaaaa 90, bbbbbbbb 10".into(), Some(2))
    );
    let story = story.pods(NEXT, 4).until(41 * MINUTE);
    assert_eq!(story.weights(), "aaaaaaaa 50, bbbbbbbb 50");
}

#[test]
fn a_step_bakes_only_from_when_all_routers_obey_its_weight() {
    let mut story = Story::canary("");
    let generation = story.simulation.dataplane.as_ref().unwrap().generation;
    let step =
        story.simulation.state.as_mut().unwrap().canary.as_mut().unwrap().step.as_mut().unwrap();
    step.bake = None;
    story.simulation.routers_stuck_at = Some(generation - 1);
    let mut story = story.until(HOUR);
    assert_eq!((story.step(), story.observed()), (1, 0));
    story.simulation.routers_stuck_at = None;
    let story = story.until(HOUR + 29 * MINUTE);
    assert_eq!(story.step(), 1);
    assert_eq!(story.until(HOUR + 32 * MINUTE).step(), 2);
}

#[test]
fn a_newer_spec_replaces_the_canary_and_starts_at_step_one() {
    let story = Story::canary("").until(40 * MINUTE).spec(OTHER).until(40 * MINUTE + 10);
    assert_eq!((story.weights(), story.step()), ("aaaaaaaa 90, cccccccc 10".into(), 1));
    assert_eq!((story.result(NEXT), story.pods_of(NEXT)), (Some(AttemptResult::Replaced), None));
}

#[test]
fn setting_the_spec_back_to_stable_ends_the_rollout_at_once() {
    let story = Story::canary("").until(40 * MINUTE).spec(GOOD).until(40 * MINUTE + 2);
    assert_eq!((story.weights(), story.phase()), ("aaaaaaaa 100".into(), Phase::Healthy));
    assert_eq!(story.pods_of(NEXT), None);
}

#[test]
fn a_withdrawal_waits_until_stable_has_all_its_pods() {
    let story = Story::canary("").until(40 * MINUTE).pods(GOOD, 1).spec(GOOD).until(41 * MINUTE);
    assert_eq!(story.weights(), "aaaaaaaa 50, bbbbbbbb 50");
    assert!(story.message().contains("until the stable pods are Ready"), "{}", story.message());
    assert_eq!(story.pods(GOOD, 4).until(41 * MINUTE + 30).weights(), "aaaaaaaa 100");
}

#[test]
fn a_harmful_canary_loses_its_traffic_even_if_stable_lacks_pods() {
    let story =
        Story::canary("").until(40 * MINUTE).pods(GOOD, 1).broken(NEXT).until(40 * MINUTE + 30);
    assert_eq!(story.weights(), "aaaaaaaa 100");
}

#[test]
fn pods_stay_until_the_routers_obey_the_generation_without_them() {
    let mut story = Story::canary("").until(40 * MINUTE);
    story.simulation.routers_stuck_at =
        Some(story.simulation.dataplane.as_ref().unwrap().generation);
    let mut story = story.spec(GOOD).until(45 * MINUTE);
    assert_eq!((story.weights(), story.pods_of(NEXT)), ("aaaaaaaa 100".into(), Some(2)));
    story.simulation.routers_stuck_at = None;
    assert_eq!(story.until(45 * MINUTE + 5).pods_of(NEXT), None);
}

#[test]
fn editing_steps_counts_from_the_next_step_on() {
    let mut story = Story::canary("").until(20 * MINUTE);
    let edited = "steps: [{traffic: 5, bake: 1m}, {traffic: 20, bake: 5m}, {traffic: 100}]";
    story.simulation.policy = policy(&format!("{}{edited}", super::story::RULE));
    let story = story.until(31 * MINUTE);
    assert_eq!(story.weights(), "aaaaaaaa 90, bbbbbbbb 10");
    let story = story.until(33 * MINUTE);
    assert_eq!(story.weights(), "aaaaaaaa 80, bbbbbbbb 20");
    assert_eq!(story.until(40 * MINUTE).weights(), "bbbbbbbb 100");
}

#[test]
fn a_recently_promoted_revision_goes_to_hundred_without_steps() {
    let story = Story::promoted("").until(4 * HOUR).spec(GOOD).until(4 * HOUR + 2);
    assert_eq!(story.weights(), "aaaaaaaa 100");
    assert!(story.reason(GOOD).contains("fastRollback"), "{}", story.reason(GOOD));
}

#[test]
fn fast_rollback_of_zero_takes_all_steps() {
    let story = Story::promoted("fastRollback: 0").until(4 * HOUR).spec(GOOD).until(4 * HOUR + 5);
    assert_eq!(story.weights(), "aaaaaaaa 10, bbbbbbbb 90");
}

#[test]
fn a_trigger_in_guard_moves_the_traffic_to_the_previous_revision() {
    let story = Story::promoted("");
    let now = story.simulation.second();
    let story = story.errors(NEXT, [(now, 0.3)]).until(now + 4 * MINUTE);
    assert_eq!((story.weights(), story.phase()), ("aaaaaaaa 100".into(), Phase::RolledBack));
    assert_eq!(
        (story.role(NEXT), story.result(NEXT)),
        (Some(Role::Failed), Some(AttemptResult::RolledBack))
    );
}

#[test]
fn a_trigger_in_guard_rolls_back_flags_first_and_moves_traffic_only_if_that_does_not_help() {
    let mut story = Story::healthy("").until(MINUTE);
    story.truth(GOOD).flags = [("beta".to_owned(), false)].into();
    story.truth(NEXT).flags = [("beta".to_owned(), true)].into();
    let story = story.spec(NEXT).until(2 * HOUR - 10 * MINUTE);
    assert_eq!((story.phase(), story.flag(NEXT, "beta")), (Phase::Guard, Some(true)));
    let now = story.simulation.second();
    let story = story.errors(NEXT, [(now, 0.3)]).until(now + 3 * MINUTE);
    assert_eq!((story.weights(), story.flag(NEXT, "beta")), ("bbbbbbbb 100".into(), Some(false)));
    let story = story.until(now + 8 * MINUTE);
    assert_eq!((story.weights(), story.phase()), ("aaaaaaaa 100".into(), Phase::RolledBack));
}

#[test]
fn flags_that_differ_are_rolled_back_with_the_traffic_and_stay_so() {
    let mut story = Story::healthy("").until(MINUTE);
    story.truth(GOOD).flags = [("beta".to_owned(), false), ("kept".to_owned(), true)].into();
    story.truth(NEXT).flags = [("beta".to_owned(), true), ("kept".to_owned(), true)].into();
    let story = story.spec(NEXT).until(5 * MINUTE).broken(NEXT).until(5 * MINUTE + 30);
    assert_eq!((story.weights(), story.flag(NEXT, "beta")), ("aaaaaaaa 100".into(), Some(false)));
    assert_eq!(story.report().rollback.clone().unwrap().flags, [("beta".to_owned(), false)].into());
}

// Most changes of flags add a flag that only the new revision has.
#[test]
fn a_flag_that_only_one_of_the_two_knows_is_off_in_the_other() {
    let mut story = Story::healthy("").until(MINUTE);
    story.truth(GOOD).flags = [("old".to_owned(), true)].into();
    story.truth(NEXT).flags = [("new".to_owned(), true)].into();
    let story = story.spec(NEXT).until(5 * MINUTE).broken(NEXT).until(5 * MINUTE + 30);
    assert_eq!((story.flag(NEXT, "new"), story.flag(NEXT, "old")), (Some(false), Some(true)));
}

#[test]
fn a_newer_spec_in_guard_makes_the_promoted_revision_the_base() {
    let story = Story::promoted("");
    let now = story.simulation.second();
    let story = story.spec(OTHER).until(now + 10);
    assert_eq!(story.weights(), "bbbbbbbb 90, cccccccc 10");
    assert_eq!(story.role(GOOD), Some(Role::Previous), "its sessions still drain");
    assert_eq!(story.until(now + 6 * MINUTE).role(GOOD), None);
}

// A newer spec ends the guard. If it came together with the trigger, the bad revision would become
// the base.
#[test]
fn a_newer_spec_that_is_seen_together_with_a_trigger_in_guard_waits_for_the_guards_rollback() {
    let story = Story::promoted("");
    let now = story.simulation.second();
    let story = story.broken(NEXT).spec(OTHER).until(now + 10);
    assert_eq!(story.weights(), "aaaaaaaa 90, cccccccc 10");
    assert_eq!(
        (story.role(NEXT), story.result(NEXT)),
        (Some(Role::Failed), Some(AttemptResult::RolledBack))
    );
}

// A fast rollback goes to pods that have run for weeks.
#[test]
fn restarts_that_were_there_before_an_attempt_are_noted_when_it_begins() {
    let mut story = Story::promoted("").until(4 * HOUR);
    let before = [("pod-1/hub".to_owned(), 3)];
    story.simulation.facts.get_mut(&revision(GOOD)).unwrap().restarts = before.clone().into();
    let story = story.spec(GOOD).until(4 * HOUR + 5);
    assert_eq!((story.weights(), story.phase()), ("aaaaaaaa 100".into(), Phase::Guard));
    assert_eq!(story.simulation.state.unwrap().restarts, before.into());
}

#[test]
fn a_failed_revision_is_kept_for_keep_for_and_not_tried_again() {
    let story = Story::canary("").broken(NEXT).until(2 * MINUTE);
    assert_eq!((story.role(NEXT), story.pods_of(NEXT)), (Some(Role::Failed), Some(1)));
    let told =
        story.simulation.events.iter().find(|(_, event)| event.starts_with("RolledBack")).unwrap();
    assert!(
        told.1.ends_with("set the annotation mcphub.dev/intent to retry/bbbbbbbb/1"),
        "{}",
        told.1
    );
    let story = story.until(40 * MINUTE);
    assert_eq!(
        (story.role(NEXT), story.pods_of(NEXT), story.phase()),
        (None, None, Phase::RolledBack)
    );
    // The spec changes and changes back. Still, only a retry starts the revision again.
    let story = story.spec(GOOD).until(41 * MINUTE).spec(NEXT).until(3 * HOUR);
    assert_eq!((story.weights(), story.phase()), ("aaaaaaaa 100".into(), Phase::RolledBack));
}

// Argo Rollouts and Flagger pause by the wall clock. After an outage they promote at once.
#[test]
fn an_operator_that_was_away_sees_what_happened_and_neither_promotes_nor_forgets() {
    let unscraped = Story::canary("").until(10 * MINUTE).unscraped(12 * MINUTE, 3 * HOUR);
    let story = unscraped.away_until(4 * HOUR).until(4 * HOUR + 1);
    assert_eq!(
        (story.step(), story.phase()),
        (2, Phase::Progressing),
        "an hour was really observed"
    );
    let story = Story::canary("").until(10 * MINUTE).unscraped(12 * MINUTE, 4 * HOUR - 5 * MINUTE);
    let story = story.away_until(4 * HOUR).until(4 * HOUR + 1);
    assert_eq!((story.step(), story.phase()), (1, Phase::Progressing), "a few minutes were");
    let story = Story::canary("").until(10 * MINUTE).errors(NEXT, [(3 * HOUR, 0.5)]);
    let story = story.away_until(4 * HOUR).until(4 * HOUR + 1);
    assert_eq!((story.weights(), story.phase()), ("aaaaaaaa 100".into(), Phase::RolledBack));
}

#[test]
fn a_lost_runtime_config_map_is_rebuilt_and_the_attempt_begins_again_at_step_one() {
    let story = Story::canary("").until(40 * MINUTE);
    let generation = story.simulation.dataplane.as_ref().unwrap().generation;
    let story = story.runtime_config_map_deleted().until(40 * MINUTE + 5);
    assert_eq!((story.weights(), story.step()), ("aaaaaaaa 90, bbbbbbbb 10".into(), 1));
    assert_eq!(story.simulation.state.as_ref().unwrap().canary.as_ref().unwrap().attempt, 1);
    // Routers obey the highest generation that they have seen. No router would obey a new count
    // from 1.
    assert!(story.simulation.dataplane.as_ref().unwrap().generation > generation);
}

#[test]
fn a_lost_runtime_config_map_does_not_bring_a_rolled_back_revision_back() {
    let story =
        Story::canary("").broken(NEXT).until(2 * MINUTE).runtime_config_map_deleted().until(HOUR);
    assert_eq!((story.weights(), story.phase()), ("aaaaaaaa 100".into(), Phase::RolledBack));
}

#[test]
fn a_dataplane_edited_by_hand_is_put_back_under_a_higher_generation() {
    let mut story = Story::canary("").until(20 * MINUTE);
    let edited = story.simulation.dataplane.as_mut().unwrap();
    let generation = edited.generation;
    edited.revisions.remove(&revision(NEXT));
    let story = story.until(20 * MINUTE + 1);
    assert_eq!(story.weights(), "aaaaaaaa 90, bbbbbbbb 10");
    assert_eq!(story.simulation.dataplane.as_ref().unwrap().generation, generation + 1);
}

#[test]
fn n_does_not_fall_during_a_rollout() {
    let mut story = Story::canary("").until(20 * MINUTE);
    story.simulation.replicas = 2;
    let story = story.until(40 * MINUTE);
    assert_eq!((story.pods_of(GOOD), story.pods_of(NEXT)), (Some(4), Some(2)));
    let story = story.until(2 * HOUR);
    assert_eq!(story.pods_of(NEXT), Some(2));
}

#[test]
fn engine_json_of_a_newer_operator_is_read_and_of_an_older_one_too() {
    let state = Story::canary("").until(20 * MINUTE).simulation.state.unwrap();
    let mut newer = serde_json::to_value(&state).unwrap();
    newer["hint"] = "x".into();
    newer["canary"]["hint"] = "x".into();
    assert_eq!(serde_json::from_value::<crate::rollout::state::EngineState>(newer).unwrap(), state);
    let oldest = r#"{"schema":1}"#;
    assert_eq!(
        serde_json::from_str::<crate::rollout::state::EngineState>(oldest).unwrap(),
        crate::rollout::state::EngineState::default()
    );
}

/// A promoted revision whose guard has three minutes left, and the second at which it ends.
fn late_in_guard() -> (Story, i64) {
    let story = Story::promoted("");
    let previous = story.simulation.state.as_ref().unwrap().previous.as_ref().unwrap();
    let end = previous.guard_until.as_second() - super::START;
    (story.until(end - 3 * MINUTE), end)
}

#[test]
fn a_breach_that_is_open_at_the_end_of_the_guard_still_rolls_back() {
    let (story, end) = late_in_guard();
    let story = story.errors(NEXT, [(end - MINUTE, 0.5)]).until(end + 30);
    assert_eq!(story.phase(), Phase::Guard, "{}", story.message());
    assert!(story.message().contains("rule errors is breached"), "{}", story.message());
    let story = story.until(end + 4 * MINUTE);
    assert_eq!((story.phase(), story.weights()), (Phase::RolledBack, "aaaaaaaa 100".into()));
}

#[test]
fn a_breach_that_ends_after_the_end_of_the_guard_ends_the_guard() {
    let (story, end) = late_in_guard();
    let story = story.errors(NEXT, [(end - MINUTE, 0.5), (end, 0.0)]).until(end + 3 * MINUTE);
    assert_eq!((story.phase(), story.weights()), (Phase::Healthy, "bbbbbbbb 100".into()));
    assert_eq!(story.role(GOOD), None);
}

#[test]
fn flags_that_are_rolled_back_late_in_the_guard_must_help_before_it_ends() {
    let (mut story, end) = late_in_guard();
    story.truth(GOOD).flags = [("beta".to_owned(), false)].into();
    story.truth(NEXT).flags = [("beta".to_owned(), true)].into();
    let story = story.errors(NEXT, [(end - 3 * MINUTE, 0.5)]).until(end + 30);
    assert_eq!((story.flag(NEXT, "beta"), story.phase()), (Some(false), Phase::Guard));
    let story = story.until(end + 10 * MINUTE);
    assert_eq!((story.phase(), story.weights()), (Phase::RolledBack, "aaaaaaaa 100".into()));
}

#[test]
fn a_guard_that_cannot_be_settled_ends_after_the_hold_timeout() {
    let (story, end) = late_in_guard();
    let story = story.errors(NEXT, [(end - MINUTE, 0.5)]).prometheus_down(end, end + 9 * HOUR);
    let story = story.until(end + HOUR);
    assert_eq!(story.role(GOOD), Some(Role::Previous));
    assert_eq!(story.until(end + 2 * HOUR + MINUTE).role(GOOD), None);
}

#[test]
fn the_successor_of_a_revision_that_was_never_connected_takes_no_steps() {
    let mut story = Story::new("");
    story.truth(GOOD).connected = false;
    story.truth(GOOD).stable_answers = true;
    let story = story.until(10).spec(NEXT).until(MINUTE);
    assert_eq!(story.weights(), "bbbbbbbb 100", "{}", story.message());
    assert!(story.reason(NEXT).contains("never connected"), "{}", story.reason(NEXT));
}

// Its servers may be down at this moment, and it must be protected all the same.
#[test]
fn the_successor_of_a_revision_that_was_connected_once_takes_all_steps() {
    let mut story = Story::new("");
    story.truth(GOOD).stable_answers = true;
    let mut story = story.until(MINUTE);
    story.truth(GOOD).connected = false;
    let story = story.until(2 * MINUTE).spec(NEXT).until(3 * MINUTE);
    assert_eq!(story.weights(), "aaaaaaaa 90, bbbbbbbb 10");
}

// It is asked for its servers at its launch, and not again while it bakes.
#[test]
fn a_revision_that_was_connected_as_a_canary_counts_as_connected_when_it_is_stable() {
    let story = Story::promoted("");
    assert!(story.simulation.state.as_ref().unwrap().stable.as_ref().unwrap().connected);
}
