//! Rules about metrics that a hub measures by itself. They are evaluated without any request.

use mcphub_crds::status::{HoldReason, Phase};

use super::story::{MINUTE, NEXT, Story};
use crate::rollout::AttemptResult;

const RULE: &str = "rules: [{name: recall, metric: SelectionRecall, promoteWhen: {atLeast: '0.9'}, \
                    rollbackWhen: {below: '0.8', for: 2m}}]\n";

/// A hub that serves with full recall. Each window has four scrapes of each pod and no request.
fn serving(rules: &str) -> Story {
    let mut story = Story::ruled(rules);
    for name in [super::story::GOOD, NEXT] {
        let truth = story.truth(name);
        (truth.values, truth.samples) = (vec![(i64::MIN, 1.0)], vec![(i64::MIN, 4.0)]);
    }
    story.at_rest().until(MINUTE)
}

#[test]
fn a_filter_that_hides_what_golden_questions_need_is_rolled_back_without_any_request() {
    let story = serving(RULE).errors(NEXT, [(0, 0.5)]).spec(NEXT).until(4 * MINUTE);
    assert_eq!(
        (story.phase(), story.weights()),
        (Phase::Progressing, "aaaaaaaa 90, bbbbbbbb 10".into())
    );
    let story = story.until(6 * MINUTE);
    assert_eq!((story.phase(), story.weights()), (Phase::RolledBack, "aaaaaaaa 100".into()));
    assert_eq!(story.result(NEXT), Some(AttemptResult::RolledBack));
    assert!(story.reason(NEXT).contains("recall"), "{}", story.reason(NEXT));
}

#[test]
fn a_filter_with_good_recall_walks_its_steps_though_nobody_calls() {
    let story = serving(RULE).spec(NEXT).until(35 * MINUTE);
    assert_eq!(story.weights(), "aaaaaaaa 50, bbbbbbbb 50", "{}", story.message());
}

// The value is between the bounds: too good for a rollback, too bad for the next step.
#[test]
fn recall_below_its_gate_and_above_its_trigger_holds() {
    let story = serving(RULE).errors(NEXT, [(0, 0.85)]).spec(NEXT).until(40 * MINUTE);
    assert_eq!(
        (story.holding(), story.weights()),
        (Some(HoldReason::GateNotMet), "aaaaaaaa 90, bbbbbbbb 10".into())
    );
}

// A pod that has not ranked its questions yet exports nothing. That is neither good nor bad.
#[test]
fn a_canary_that_exports_no_recall_holds_for_data_and_is_neither_promoted_nor_rolled_back() {
    let mut story = serving(RULE);
    let truth = story.truth(NEXT);
    (truth.values, truth.samples) = (Vec::new(), Vec::new());
    let story = story.spec(NEXT).until(60 * MINUTE);
    assert_eq!(
        (story.holding(), story.weights()),
        (Some(HoldReason::NoData), "aaaaaaaa 90, bbbbbbbb 10".into())
    );
}

// Three of the default rules are about language models. A hub without one must not wait for them.
#[test]
fn rules_on_a_language_model_hold_nothing_up_where_there_is_none() {
    let rules = "rules: [{name: llm, metric: LlmSuccessRate, promoteWhen: {atLeast: '0.95'}}]\n";
    let mut story = serving(rules);
    let truth = story.truth(NEXT);
    (truth.values, truth.samples) = (Vec::new(), Vec::new());
    let story = story.spec(NEXT).until(35 * MINUTE);
    assert_eq!(story.weights(), "aaaaaaaa 50, bbbbbbbb 50", "{}", story.message());
}
