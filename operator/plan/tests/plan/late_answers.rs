//! Answers of Prometheus that come after the plan that asked for them.

use mcphub_operator_plan::PlanInput;
use mcphub_operator_plan::probes::{PrometheusAnswers, PrometheusQueries, QueryResult};
use serde_json::Value;

use super::cluster::{Cluster, SPEC};
use super::status::canary_of;

/// A canary at 10% that is evaluated every second.
fn canary() -> Cluster {
    canary_of(&format!("{SPEC}\nrollout: {{interval: 1s, warmup: 0s}}"))
}

fn asked(cluster: &Cluster) -> Option<PrometheusQueries> {
    PlanInput::read(&cluster.snapshot).probes().prometheus
}

/// Prometheus answers that there is nothing.
fn answers(asked: PrometheusQueries) -> PrometheusAnswers {
    let PrometheusQueries { at, queries, .. } = asked;
    let empty = queries.iter().map(|query| (query.key.clone(), QueryResult::Series(Vec::new())));
    PrometheusAnswers { at, results: empty.collect(), queries }
}

fn last_judged(cluster: &Cluster) -> Value {
    let engine: Value = serde_json::from_str(&cluster.runtime_file("engine.json")).expect("json");
    engine["lastJudged"].clone()
}

#[test]
fn an_answer_is_judged_for_the_time_of_its_question_however_late_it_comes() {
    let mut cluster = canary();
    cluster.pass(30);
    let answers = answers(asked(&cluster).expect("queries are due"));
    cluster.pass(3);
    cluster.ask();
    assert!(PlanInput::read(&cluster.snapshot).fits(&answers));
    let at = answers.at.to_string();
    cluster.results.prometheus = Some(answers.clone());
    let plan = cluster.plan_with_results();
    cluster.apply(&plan);
    assert_eq!(last_judged(&cluster), at.as_str());
    assert!(!PlanInput::read(&cluster.snapshot).fits(&answers), "it is not judged twice");
}

#[test]
fn nothing_is_judged_before_the_answers_come() {
    let mut cluster = canary();
    let before = last_judged(&cluster);
    cluster.pass(3600 * 5);
    cluster.settle();
    assert_eq!(last_judged(&cluster), before);
    assert_eq!(cluster.status().canary.as_ref().map(|canary| canary.weight), Some(10));
}

#[test]
fn answers_to_other_questions_do_not_fit() {
    let mut cluster = canary();
    cluster.pass(30);
    let answers = answers(asked(&cluster).expect("queries are due"));
    let mut changed = answers.clone();
    changed.queries[0].promql.push('0');
    assert!(!PlanInput::read(&cluster.snapshot).fits(&changed));
    // The rollout has moved on.
    let canary = cluster.status().canary.clone().expect("a canary").revision;
    cluster.intent(&format!("abort/{canary}/1"));
    cluster.settle();
    assert!(!PlanInput::read(&cluster.snapshot).fits(&answers));
}
