//! The table of situations in the documentation, one test for each row.

use mcphub_crds::status::{HoldReason, Phase, RuleVerdict};
use rstest::rstest;

use super::story::{GOOD, HOUR, MINUTE, NEXT, Story};
use crate::rollout::AttemptResult;

#[test]
fn a_breach_that_lasts_for_its_for_rolls_back_within_one_interval() {
    let bad_from = 20 * MINUTE;
    let story =
        Story::canary("").errors(NEXT, [(bad_from, 0.2)]).until(bad_from + 2 * MINUTE + 15 + 30);
    assert_eq!(story.weights(), "aaaaaaaa 100");
    assert_eq!(
        (story.phase(), story.result(NEXT)),
        (Phase::RolledBack, Some(AttemptResult::RolledBack))
    );
    let rolled_back = story.event("RolledBack").unwrap();
    assert!(rolled_back >= bad_from + 2 * MINUTE, "not before its `for` has passed: {rolled_back}");
}

#[test]
fn breach_shorter_than_for_then_recovery_keeps_the_canary() {
    let story = Story::canary("")
        .errors(NEXT, [(20 * MINUTE, 0.2), (21 * MINUTE + 45, 0.0)])
        .until(25 * MINUTE);
    assert_eq!(story.weights(), "aaaaaaaa 90, bbbbbbbb 10");
    assert_eq!(story.report().rules.first().unwrap().verdict, RuleVerdict::Good);
}

#[test]
fn gate_not_met_holds_and_ends_by_itself_when_early_errors_have_aged_out() {
    let story = Story::canary("").errors(NEXT, [(5 * MINUTE, 0.05)]).until(40 * MINUTE);
    assert_eq!(
        (story.holding(), story.weights()),
        (Some(HoldReason::GateNotMet), "aaaaaaaa 90, bbbbbbbb 10".into())
    );
    assert_eq!(story.phase(), Phase::Holding);
    let story = story.errors(NEXT, [(41 * MINUTE, 0.001)]).until(43 * MINUTE);
    assert_eq!((story.holding(), story.weights()), (None, "aaaaaaaa 50, bbbbbbbb 50".into()));
}

#[test]
fn gate_not_met_for_gate_timeout_rolls_back() {
    let story =
        Story::canary("gateTimeout: 10m").errors(NEXT, [(5 * MINUTE, 0.05)]).until(50 * MINUTE);
    assert_eq!(
        (story.weights(), story.result(NEXT)),
        ("aaaaaaaa 100".into(), Some(AttemptResult::RolledBack))
    );
    assert!(
        story.reason(NEXT).contains("gate not met for 10m: errors is 0.05"),
        "{}",
        story.reason(NEXT)
    );
}

#[rstest]
#[case::too_few(7.0)]
#[case::no_traffic_at_all(0.0)]
fn too_few_samples_hold_at_the_end_of_the_bake_and_proceed_after_max_bake(#[case] samples: f64) {
    let story = Story::canary("").samples(NEXT, [(0, samples)]).until(20 * MINUTE);
    assert_eq!(story.holding(), None, "not before the bake is over");
    let story = story.until(40 * MINUTE);
    assert_eq!((story.holding(), story.step()), (Some(HoldReason::TooFewSamples), 1));
    let story = story.until(88 * MINUTE);
    assert_eq!(story.step(), 1);
    let story = story.until(95 * MINUTE);
    assert_eq!(story.weights(), "aaaaaaaa 50, bbbbbbbb 50");
    assert!(story.event("StepPassedUnjudged").is_some());
}

#[test]
fn too_few_samples_wait_for_a_person_where_the_spec_says_pause() {
    let story = Story::canary("onTooFew: Pause").samples(NEXT, [(0, 7.0)]).until(2 * HOUR);
    assert_eq!((story.phase(), story.step()), (Phase::Paused, 1));
    assert!(story.message().contains("resume/bbbbbbbb/1"), "{}", story.message());
}

// Otherwise a canary without traffic would hold at its pause step forever, and nobody would be
// asked.
#[test]
fn too_few_samples_at_a_pause_step_end_as_the_pause_and_advance_goes_on() {
    let pause = "steps: [{traffic: 10, bake: 30m, pause: true}, {traffic: 100}]";
    let story = Story::canary(pause).samples(NEXT, [(0, 7.0)]).until(HOUR);
    assert_eq!(story.holding(), Some(HoldReason::TooFewSamples));
    let story = story.until(2 * HOUR);
    assert_eq!(story.phase(), Phase::Paused);
    assert!(story.message().contains("advance/bbbbbbbb/1/1"), "{}", story.message());
    let story = story.intent("advance/bbbbbbbb/1/1").until(2 * HOUR + 5 * MINUTE);
    assert_eq!(story.weights(), "bbbbbbbb 100");
}

#[test]
fn too_few_samples_do_not_proceed_on_a_self_check_that_fails_now() {
    let mut story = Story::canary("").samples(NEXT, [(0, 7.0)]);
    story.truth(NEXT).self_check_fails = true;
    let story = story.until(3 * HOUR);
    assert_eq!((story.holding(), story.step()), (Some(HoldReason::TooFewSamples), 1));
}

// Argo Rollouts counts NaN as success, and Flagger counts missing data as failure.
#[test]
fn no_data_holds_and_neither_promotes_nor_rolls_back() {
    let story = Story::canary("").unscraped(20 * MINUTE, 60 * MINUTE).until(50 * MINUTE);
    assert_eq!(
        (story.holding(), story.weights()),
        (Some(HoldReason::NoData), "aaaaaaaa 90, bbbbbbbb 10".into())
    );
    let story = story.until(61 * MINUTE + 30);
    assert_eq!((story.holding(), story.step()), (None, 1));
}

// Argo Rollouts retries every 10 s and aborts at the fifth error, so a 40 s outage of Prometheus
// ends a canary.
#[test]
fn prometheus_down_holds_and_neither_promotes_nor_rolls_back() {
    let story = Story::canary("").prometheus_down(20 * MINUTE, 60 * MINUTE).until(50 * MINUTE);
    assert_eq!(
        (story.holding(), story.weights()),
        (Some(HoldReason::ProviderDown), "aaaaaaaa 90, bbbbbbbb 10".into())
    );
    // Scrapes continued all the time, so the bake of that time counts.
    let story = story.until(61 * MINUTE);
    assert_eq!((story.holding(), story.weights()), (None, "aaaaaaaa 50, bbbbbbbb 50".into()));
}

#[rstest]
#[case("Pause", Phase::Paused, "aaaaaaaa 90, bbbbbbbb 10")]
#[case("Rollback", Phase::RolledBack, "aaaaaaaa 100")]
#[case("Promote", Phase::Guard, "bbbbbbbb 100")]
fn a_hold_longer_than_hold_timeout_ends_as_the_spec_says(
    #[case] then: &str,
    #[case] phase: Phase,
    #[case] weights: &str,
) {
    let story =
        Story::canary(&format!("onHoldTimeout: {then}")).prometheus_down(10 * MINUTE, 10 * HOUR);
    let story = story.until(2 * HOUR);
    assert_eq!(
        (story.phase(), story.weights()),
        (Phase::Holding, "aaaaaaaa 90, bbbbbbbb 10".into())
    );
    let story = story.until(2 * HOUR + 12 * MINUTE);
    assert_eq!((story.phase(), story.weights().as_str()), (phase, weights));
}

#[test]
fn pods_that_crash_with_weight_roll_back_with_prometheus_down() {
    let story = Story::canary("").prometheus_down(0, 10 * HOUR).broken(NEXT).until(90);
    assert_eq!((story.phase(), story.weights()), (Phase::RolledBack, "aaaaaaaa 100".into()));
    assert_eq!(story.reason(NEXT), "pod pod-1 is crash-looping");
}

#[test]
fn errors_of_the_warmup_are_not_judged() {
    let story =
        Story::canary("warmup: 5m").errors(NEXT, [(60, 0.9), (5 * MINUTE, 0.0)]).until(20 * MINUTE);
    assert_eq!(story.weights(), "aaaaaaaa 90, bbbbbbbb 10");
    assert_eq!(story.event("RolledBack"), None);
}

#[test]
fn a_dry_run_rule_is_shown_and_never_acted_on() {
    let rule = "rules: [{name: errors, metric: HubErrorRate, dryRun: true, promoteWhen: {atMost: \
                '0.01'}, rollbackWhen: {above: '0.10', for: 2m}}]";
    let mut story = Story::healthy("").until(MINUTE);
    story.simulation.policy = super::story::policy(rule);
    let story = story.spec(NEXT).errors(NEXT, [(0, 0.9)]).until(20 * MINUTE);
    assert_eq!(story.report().rules.first().unwrap().verdict, RuleVerdict::Breach);
    assert_eq!(story.weights(), "aaaaaaaa 90, bbbbbbbb 10");
    assert_eq!(story.until(34 * MINUTE).weights(), "aaaaaaaa 50, bbbbbbbb 50");
}

#[test]
fn a_rollback_says_rule_value_threshold_since_when_and_on_how_many_samples() {
    let story = Story::canary("").errors(NEXT, [(20 * MINUTE, 0.2)]).until(25 * MINUTE);
    let cause = story.report().rollback.clone().unwrap();
    let rule = cause.rule.unwrap();
    assert_eq!(
        (rule.name.as_str(), rule.value, rule.threshold.as_str()),
        ("errors", Some(0.2), "above 0.1")
    );
    assert_eq!((rule.samples, rule.since >= super::at(20 * MINUTE)), (Some(1000.0), true));
    assert!(
        cause.reason.starts_with("rule errors above 0.1 for 2m: 0.2 on 1000 samples, since "),
        "{}",
        cause.reason
    );
    assert!(story.message().contains("retry/bbbbbbbb/1"), "{}", story.message());
    assert_eq!(story.report().stable.as_ref().unwrap().revision.as_str(), GOOD);
}

#[test]
fn a_gate_that_was_met_again_starts_its_timeout_again() {
    let steps = "steps: [{traffic: 10, bake: 30m, pause: true}, {traffic: 100}]\n";
    let late = 4 * HOUR;
    let errors = [(31 * MINUTE, 0.05), (36 * MINUTE, 0.0), (late, 0.05), (late + MINUTE, 0.0)];
    let story = Story::canary(steps).errors(NEXT, errors).until(33 * MINUTE);
    assert_eq!(story.holding(), Some(HoldReason::GateNotMet));
    let story = story.until(late - MINUTE);
    assert_eq!(story.phase(), Phase::Paused);
    let story = story.until(late + 30 * MINUTE);
    assert_eq!(
        (story.phase(), story.weights()),
        (Phase::Paused, "aaaaaaaa 90, bbbbbbbb 10".into())
    );
}

#[test]
fn a_pod_that_does_not_answer_its_self_check_is_unknown_until_the_progress_deadline() {
    let mut story = Story::healthy("").until(MINUTE);
    story.truth(NEXT).unanswered = Some("10.0.0.7: timed out".into());
    let story = story.spec(NEXT).until(10 * MINUTE);
    assert_eq!((story.phase(), story.weights()), (Phase::Progressing, "aaaaaaaa 100".into()));
    assert!(story.message().contains("not answered yet: 10.0.0.7"), "{}", story.message());
    let story = story.until(12 * MINUTE);
    assert_eq!(story.phase(), Phase::RolledBack);
    assert!(story.reason(NEXT).contains("did not answer"), "{}", story.reason(NEXT));
}

#[test]
fn a_pod_that_answers_in_the_end_loses_nothing_by_its_silence() {
    let mut story = Story::healthy("").until(MINUTE);
    story.truth(NEXT).unanswered = Some("10.0.0.7: timed out".into());
    let mut story = story.spec(NEXT).until(5 * MINUTE);
    story.truth(NEXT).unanswered = None;
    assert_eq!(story.until(6 * MINUTE).weights(), "aaaaaaaa 90, bbbbbbbb 10");
}

#[test]
fn pods_that_vanish_in_a_bake_hold_the_rollout_and_end_it_at_the_progress_deadline() {
    let story = Story::canary("").until(10 * MINUTE).pods(NEXT, 0).until(15 * MINUTE);
    assert_eq!(story.holding(), Some(HoldReason::PodsMissing));
    assert_eq!(story.phase(), Phase::Holding);
    let story = story.until(22 * MINUTE);
    assert_eq!((story.phase(), story.weights()), (Phase::RolledBack, "aaaaaaaa 100".into()));
}

#[test]
fn pods_that_come_back_in_time_end_the_hold() {
    let story = Story::canary("").until(10 * MINUTE).pods(NEXT, 0).until(15 * MINUTE);
    let story = story.pods(NEXT, 4).until(17 * MINUTE);
    assert_eq!((story.holding(), story.phase()), (None, Phase::Progressing));
    assert_eq!(story.until(60 * MINUTE).step(), 2);
}

#[test]
fn routers_that_do_not_obey_hold_the_rollout_and_pause_it_after_the_hold_timeout() {
    let mut story = Story::healthy("").until(MINUTE);
    let generation = story.simulation.dataplane.as_ref().unwrap().generation;
    story.simulation.routers_stuck_at = Some(generation);
    let story = story.spec(NEXT).until(5 * MINUTE);
    assert_eq!(story.holding(), Some(HoldReason::RoutersLag), "{}", story.message());
    let story = story.until(3 * HOUR);
    assert_eq!(story.phase(), Phase::Paused);
    assert!(story.message().contains("RoutersLag for 2h"), "{}", story.message());
}

#[test]
fn new_pods_that_are_not_scraped_yet_are_no_hold() {
    let story = Story::canary("").unscraped(MINUTE, 2 * MINUTE).until(2 * MINUTE + 10);
    assert_eq!(story.holding(), None, "{}", story.message());
    assert!(story.events("Holding").is_empty());
}

#[test]
fn a_bake_starts_at_the_end_of_the_warmup_and_no_rule_has_a_verdict_before() {
    let story = Story::canary("warmup: 5m\n").until(4 * MINUTE);
    assert_eq!((story.weights(), story.observed()), ("aaaaaaaa 90, bbbbbbbb 10".into(), 0));
    let verdicts: Vec<_> = story.report().rules.iter().map(|rule| rule.verdict).collect();
    assert_eq!(verdicts, [RuleVerdict::WarmingUp]);
    assert!(story.message().contains("its bake starts after the warmup"), "{}", story.message());
    let story = story.until(35 * MINUTE);
    assert_eq!(story.step(), 1);
    assert_eq!(story.until(38 * MINUTE).step(), 2);
}

#[test]
fn a_revision_that_fails_every_call_never_reaches_all_traffic_however_short_its_bakes_are() {
    let rollout = "rules: [{name: tool-errors, metric: ToolErrorRate, minSamples: 20, \
                   rollbackWhen: {above: '0.30', for: 1m}}]\n\
                   steps: [{traffic: 10, bake: 1m}, {traffic: 50, bake: 1m}, {traffic: 100}]\n";
    let mut story = Story::ruled(rollout).errors(NEXT, [(0, 1.0)]).until(MINUTE).spec(NEXT);
    while story.phase() != Phase::RolledBack {
        story = story.until_next();
        assert!(!story.weights().contains("bbbbbbbb 100"), "{}", story.message());
        assert!(story.simulation.second() < HOUR, "{}", story.message());
    }
}
