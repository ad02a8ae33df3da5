//! `spec.rollout`: its defaults, and what is rejected.

use std::collections::BTreeMap;
use std::time::Duration;

use mcphub_crds::rollout::Rollout;
use rstest::rstest;

use crate::rollout::policy::{HubFeatures, Policy};
use crate::snapshot::PrometheusTiming;

fn read(yaml: &str, prometheus: bool) -> Result<Policy, String> {
    read_of(yaml, prometheus, HubFeatures::default())
}

fn read_of(yaml: &str, prometheus: bool, has: HubFeatures) -> Result<Policy, String> {
    let spec: Rollout = serde_yaml_ng::from_str(yaml).unwrap();
    let seconds = Duration::from_secs;
    let server = PrometheusTiming { scrape_interval: seconds(30), ingest_delay: seconds(30) };
    let flags = BTreeMap::from([("autoCorrection".to_owned(), false)]);
    Policy::from_spec(Some(&spec), prometheus.then_some(("main", &server)), &flags, has)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

#[rstest]
#[case(
    "rules: [{name: e, metric: HubErrorRate, rollbackWhen: {above: '0.1', for: 10s}}]",
    "rollout.rules[0].rollbackWhen.for is 10s, but Prometheus \"main\" is scraped every 30s; use \
     at least 2m"
)]
#[case(
    "steps: [{traffic: 10, bake: 1m}, {traffic: 100}]",
    "rollout.steps[0].bake is 1m, but Prometheus \"main\" is scraped every 30s; use at least 2m"
)]
#[case(
    "interval: 5s",
    "rollout.interval is 5s, but Prometheus \"main\" is scraped every 30s; use at least 30s"
)]
#[case(
    "steps: [{traffic: 10}, {traffic: 100}]",
    "rollout.steps[0].bake is missing; set for how long 10% is observed, such as 30m"
)]
#[case("steps: [{traffic: 10, bake: 5m}]", "rollout.steps does not end at 100; add {traffic: 100}")]
#[case(
    "steps: [{traffic: 50, bake: 5m}, {traffic: 10, bake: 5m}, {traffic: 100}]",
    "rollout.steps[1].traffic is 10, but the step before it has 50; steps must increase"
)]
#[case(
    "rules: [{name: e, metric: HubErrorRate}]",
    "rollout.rules[0] has neither promoteWhen nor rollbackWhen; add one"
)]
#[case(
    "rules: [{name: e, query: up, rollbackWhen: {above: '1', for: 5m}}]",
    "rollout.rules[0].query is not supported yet"
)]
#[case(
    "rollback: {flags: [{name: autocorrection}]}",
    "rollout.rollback.flags[0].name is \"autocorrection\", but this hub has no such flag; use one \
     of autoCorrection"
)]
#[case(
    "steps: [{traffic: 100, bake: 5m}]",
    "rollout.steps[0] has a bake or a pause at 100%; remove it, because rollout.guard is the \
     observed time at 100%"
)]
#[case("preview: {}", "rollout.preview is not supported yet; remove it")]
#[case("flagChanges: Immediate", "rollout.flagChanges is not supported yet; remove it")]
fn an_invalid_policy_is_rejected_with_what_to_write(#[case] yaml: &str, #[case] message: &str) {
    let refused = read(yaml, true).unwrap_err();
    assert!(refused.contains(message), "{refused}");
}

#[rstest]
#[case(
    "prometheus: backup",
    "rollout.prometheus is \"backup\", but the operator has no Prometheus of that name"
)]
#[case(
    "steps: [{traffic: 10, bake: 5m}, {traffic: 100}]",
    "rollout.steps[0].bake needs a Prometheus, but the operator has none named \"main\"; configure \
     one in the operator's settings, or use steps: [{traffic: 100}]"
)]
#[case("steps: [{traffic: 10}, {traffic: 100}]", "rollout.steps[0] has neither bake nor pause")]
#[case(
    "rules: [{name: e, metric: HubErrorRate, rollbackWhen: {above: '0.1', for: 5m}}]",
    "rollout.rules needs a Prometheus, but the operator has none named \"main\"; configure one in \
     the operator's settings, or remove the rules"
)]
fn what_needs_a_prometheus_is_refused_where_there_is_none(
    #[case] yaml: &str,
    #[case] message: &str,
) {
    let refused = read(yaml, false).unwrap_err();
    assert!(refused.contains(message), "{refused}");
}

#[test]
fn without_a_prometheus_a_hub_that_asks_for_nothing_goes_straight_to_hundred() {
    let policy = read("{}", false).unwrap();
    assert_eq!((policy.steps.len(), policy.rules.len(), policy.prometheus), (1, 0, None));
}

#[test]
fn defaults_are_the_documented_ones() {
    let policy = read("{}", true).unwrap();
    let steps: Vec<_> = policy
        .steps
        .iter()
        .map(|step| (step.traffic.percent(), step.bake.as_secs() / 60))
        .collect();
    assert_eq!(steps, [(10, 30), (50, 60), (100, 0)]);
    let rules: Vec<_> =
        policy.rules.iter().map(|rule| (rule.name.as_str(), rule.applicable)).collect();
    assert_eq!(
        rules,
        [
            ("error-rate", true),
            ("hub-latency-p95", true),
            ("availability", true),
            ("llm-success-rate", false),
            ("llm-latency-p95", false),
            ("circuit-breaker", false)
        ]
    );
    // With a scrape every 30 s, a `for` of 1m could fire because of one late scrape.
    let lasting: Vec<_> =
        policy.rules.iter().map(|rule| rule.rollback_when.unwrap().lasting.as_secs()).collect();
    assert_eq!(lasting, [120, 180, 120, 300, 300, 120]);
    assert_eq!(policy.prometheus.unwrap().window(), Duration::from_mins(2));
}

// A metric that a hub measures by itself has no requests behind it. With a minimum of 50 requests
// it would never be evaluated.
#[test]
fn a_language_model_and_golden_questions_make_their_rules_apply_and_scrapes_are_their_samples() {
    let recall =
        "rules: [{name: recall, metric: SelectionRecall, rollbackWhen: {below: '0.8', for: 2m}}]";
    let read = |yaml, llm, golden_questions| {
        let policy = read_of(yaml, true, HubFeatures { llm, golden_questions }).unwrap();
        let rules = policy.rules.iter().filter(|rule| {
            !["error-rate", "hub-latency-p95", "availability"].contains(&&*rule.name)
        });
        rules.map(|rule| (rule.name.clone(), rule.applicable, rule.min_samples)).collect::<Vec<_>>()
    };
    assert_eq!(read(recall, false, true), [("recall".into(), true, 1)]);
    assert_eq!(read(recall, true, false), [("recall".into(), false, 1)]);
    assert_eq!(
        read("{}", true, false),
        [
            ("llm-success-rate".into(), true, 50),
            ("llm-latency-p95".into(), true, 50),
            ("circuit-breaker".into(), true, 1)
        ]
    );
}
