//! What the engine learns from pods and probes.

use super::cluster::{Cluster, SPEC};
use k8s_openapi::api::core::v1::Pod;
use mcphub_hub_wire::admin::{Check, SelfCheck, ServerState};
use mcphub_hub_wire::dataplane::Revision;
use mcphub_operator_plan::PlanInput;
use mcphub_operator_plan::rollout::{RevisionFacts, SelfCheckFact};
use rstest::rstest;
use serde_json::{Value, json};

/// Facts of the serving revision after `change` of the first of its two pods.
fn with_pod(change: impl FnOnce(&mut Value)) -> RevisionFacts {
    facts_of(&changed(change))
}

fn changed(change: impl FnOnce(&mut Value)) -> Cluster {
    let mut cluster = Cluster::settled(SPEC);
    let revision = cluster.serving();
    let name = format!("team-r-{revision}-0");
    let mut pod = serde_json::to_value(&cluster.snapshot.objects.pods[&name]).expect("json");
    change(&mut pod);
    let pod: Pod = serde_json::from_value(pod).expect("a Pod");
    cluster.snapshot.objects.pods.insert(name, pod);
    cluster
}

fn facts_of(cluster: &Cluster) -> RevisionFacts {
    let input = PlanInput::read(&cluster.snapshot).with_results(&cluster.results);
    input.revision_facts()[&cluster.serving()].clone()
}

fn ready(status: &str, since: &str) -> Value {
    json!({"type": "Ready", "status": status, "lastTransitionTime": since})
}

const LONG_AGO: &str = "2025-12-31T00:00:00Z";

#[test]
fn ready_pods_are_counted() {
    let facts = with_pod(|_| {});
    assert_eq!((facts.ready, facts.unschedulable, facts.broken), (2, 0, Vec::new()));
    assert_eq!(facts.deployed, Some(2));
}

#[test]
fn a_terminating_pod_does_not_count_and_is_not_broken() {
    let facts = with_pod(|pod| {
        pod["metadata"]["deletionTimestamp"] = json!(LONG_AGO);
        pod["status"]["conditions"] = json!([ready("False", LONG_AGO)]);
    });
    assert_eq!((facts.ready, facts.broken), (1, Vec::new()));
}

fn whole(mut container: Value) -> Value {
    for (key, value) in [("image", json!("")), ("imageID", json!("")), ("ready", json!(false))] {
        container[key] = value;
    }
    container
}

#[rstest]
#[case(json!({"name": "hub", "restartCount": 1,
    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}}),
    "CrashLoopBackOff: back-off 10s")]
#[case(json!({"name": "hub", "restartCount": 1, "state": {"running": {}},
    "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}),
    "container hub ran out of memory")]
#[case(json!({"name": "hub", "restartCount": 2, "state": {"running": {}}}),
    "container hub was restarted 2 times")]
fn a_broken_container_is_reported_with_its_reason(#[case] container: Value, #[case] why: &str) {
    let facts = with_pod(|pod| pod["status"]["containerStatuses"] = json!([whole(container)]));
    let words: Vec<_> = facts.broken.iter().map(|pod| pod.why.as_str()).collect();
    assert_eq!(words, [why]);
}

// A fast rollback goes to pods that have run for weeks. If their old restarts counted, it would
// return to the bad revision.
#[test]
fn only_restarts_since_the_attempt_began_count() {
    let restarted = |count: i32| {
        let old = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
        let container = json!({"name": "hub", "restartCount": count, "state": {"running": {}},
            "lastState": old});
        changed(|pod| pod["status"]["containerStatuses"] = json!([whole(container)]))
    };
    let five_before_the_attempt = |mut cluster: Cluster| {
        let container = format!("team-r-{}-0/hub", cluster.serving());
        cluster.edit_engine(|engine| engine["restarts"] = json!({container: 5}));
        facts_of(&cluster)
    };
    let cluster = restarted(5);
    let container = format!("team-r-{}-0/hub", cluster.serving());
    assert_eq!(facts_of(&cluster).restarts, [(container, 5)].into());
    assert_eq!(five_before_the_attempt(cluster).broken, Vec::new());
    let broken = five_before_the_attempt(restarted(6)).broken;
    assert_eq!(broken[0].why, "container hub ran out of memory");
}

// More weight means more pods, also on nodes that do not have the image yet.
#[rstest]
#[case::pulls(json!({"waiting": {"reason": "ContainerCreating"}}), 0, "23:55:04", &[])]
#[case::starts(json!({"running": {}}), 0, "23:55:04", &[])]
#[case::starts_again(json!({"running": {}}), 1, "23:55:04", &["not Ready for 300 s"])]
#[case::starts_for_ever(json!({"running": {}}), 0, "23:50:04", &["not Ready for 600 s"])]
#[case::cannot_pull(json!({"waiting": {"reason": "ErrImagePull", "message": "no tag"}}), 0,
    "23:55:04", &["ErrImagePull: no tag"])]
fn a_pod_that_starts_is_not_broken_unless_it_is_stuck(
    #[case] state: Value,
    #[case] restarts: i32,
    #[case] since: &str,
    #[case] broken: &[&str],
) {
    let container =
        json!({"name": "hub", "restartCount": restarts, "started": false, "state": state});
    let unready = ready("False", &format!("2025-12-31T{since}Z"));
    let facts = with_pod(|pod| {
        pod["status"]["containerStatuses"] = json!([whole(container)]);
        pod["status"]["conditions"] =
            json!([unready, {"type": "ContainersReady", "status": "False"}]);
    });
    assert_eq!(facts.broken.iter().map(|pod| pod.why.as_str()).collect::<Vec<_>>(), broken);
}

#[test]
fn one_failed_pull_is_not_a_stuck_pod() {
    let waiting = json!({"waiting": {"reason": "ErrImagePull", "message": "registry is busy"}});
    let container = json!({"name": "hub", "restartCount": 0, "started": false, "state": waiting});
    let cluster = changed(|pod| {
        pod["status"]["containerStatuses"] = json!([whole(container)]);
        pod["status"]["conditions"] = json!([ready("False", "2026-01-01T00:00:00Z")]);
    });
    assert_eq!(facts_of(&cluster).broken, Vec::new());
}

#[test]
fn a_scheduled_pod_that_is_not_ready_for_30_s_is_broken() {
    let facts = with_pod(|pod| {
        pod["status"]["conditions"] =
            json!([ready("False", LONG_AGO), {"type": "ContainersReady", "status": "False"}]);
    });
    assert_eq!(facts.broken.len(), 1);
    assert_eq!(facts.unschedulable, 0);
}

// A lost node must hold a rollout, not roll it back.
#[rstest]
#[case(json!([ready("False", LONG_AGO), {"type": "ContainersReady", "status": "True"}]))]
#[case(json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]))]
fn a_pod_without_a_node_is_not_the_revisions_fault(#[case] conditions: Value) {
    let facts = with_pod(|pod| pod["status"]["conditions"] = conditions);
    assert_eq!((facts.unschedulable, facts.broken), (1, Vec::new()));
}

fn check(connected: bool) -> SelfCheck {
    let line = Check { name: "tools/list".into(), passed: true, message: String::new() };
    let server = ServerState {
        name: "files".into(),
        connected,
        tools: 1,
        message: "connection refused".into(),
    };
    SelfCheck {
        passed: true,
        checks: vec![line],
        servers: vec![server],
        visible_tools: Some(1),
        warnings: Vec::new(),
    }
}

#[test]
fn a_failed_self_check_is_a_failure_and_a_pod_that_does_not_answer_is_unknown() {
    let mut cluster = Cluster::settled(SPEC);
    let pod = format!("team-r-{}-0", cluster.serving());
    cluster.results.self_checks.clear();
    assert_eq!(facts_of(&cluster).self_check, SelfCheckFact::Unknown);
    cluster.results.self_checks.insert(pod.clone(), Ok(check(true)));
    assert_eq!(facts_of(&cluster).self_check, SelfCheckFact::Passed);
    let mut failed = check(true);
    (failed.passed, failed.checks[0].passed, failed.checks[0].message) =
        (false, false, "timed out".into());
    cluster.results.self_checks.insert(pod.clone(), Ok(failed));
    assert_eq!(
        facts_of(&cluster).self_check,
        SelfCheckFact::Failed(format!("{pod}: tools/list: timed out"))
    );
    cluster.results.self_checks.insert(pod.clone(), Err("connection refused".into()));
    assert_eq!(
        facts_of(&cluster).self_check,
        SelfCheckFact::Unanswered(format!("{pod}: connection refused"))
    );
}

/// A hub with a canary, its stable revision, and a pod of the canary.
fn with_canary() -> (Cluster, Revision, String) {
    let mut cluster = Cluster::settled(SPEC);
    let stable = cluster.serving();
    cluster.set_spec(&SPEC.replace("files:1", "files:2"));
    let plan = cluster.plan();
    cluster.apply(&plan);
    cluster.run_pods();
    let other = |name: &&String| name.starts_with("team-r-") && !name.contains(stable.as_str());
    let canary = cluster.snapshot.objects.pods.keys().find(other).cloned().expect("a canary pod");
    (cluster, stable, canary)
}

// A server that is down for everybody must not keep every change from being rolled out.
#[test]
fn a_canary_is_blamed_for_a_server_only_if_stable_reaches_it() {
    let (mut cluster, stable, canary) = with_canary();
    let self_check = |cluster: &mut Cluster, on_stable: Option<bool>| {
        let checks = &mut cluster.results.self_checks;
        let of_stable = on_stable.map(check).ok_or_else(|| "timed out".to_owned());
        checks.insert(format!("team-r-{stable}-0"), of_stable);
        checks.insert(canary.clone(), Ok(check(false)));
        let input = PlanInput::read(&cluster.snapshot).with_results(&cluster.results);
        let mut others = input.revision_facts().iter().filter(|(revision, _)| **revision != stable);
        others.next().expect("the canary").1.self_check.clone()
    };
    assert_eq!(self_check(&mut cluster, Some(false)), SelfCheckFact::Passed);
    let words = format!(
        "{canary}: server \"files\" is connected on stable but not on this pod: connection refused"
    );
    assert_eq!(self_check(&mut cluster, Some(true)), SelfCheckFact::Failed(words));
    let unknown = format!(
        "{canary}: server \"files\" is not connected, and no stable pod says whether it can be \
         reached"
    );
    assert_eq!(self_check(&mut cluster, None), SelfCheckFact::Unanswered(unknown));
}

// Rules measure only calls, and nobody can call a tool that nobody sees.
#[test]
fn a_canary_whose_filter_hides_every_tool_fails_if_stable_shows_one() {
    let (mut cluster, stable, canary) = with_canary();
    let mut hidden = check(true);
    hidden.visible_tools = Some(0);
    hidden.warnings = vec!["filtering.static.tools: \"a\" matches no tool".into()];
    let mut self_check = |shown_on_stable: u32| {
        let checks = &mut cluster.results.self_checks;
        let on_stable = SelfCheck { visible_tools: Some(shown_on_stable), ..check(true) };
        checks.insert(format!("team-r-{stable}-0"), Ok(on_stable));
        checks.insert(canary.clone(), Ok(hidden.clone()));
        let input = PlanInput::read(&cluster.snapshot).with_results(&cluster.results);
        let mut others = input.revision_facts().iter().filter(|(revision, _)| **revision != stable);
        others.next().expect("the canary").1.self_check.clone()
    };
    assert_eq!(self_check(0), SelfCheckFact::Passed, "stable shows nothing either");
    let words = format!(
        "{canary}: clients would see none of 1 tool; filtering.static.tools: \"a\" matches no tool"
    );
    assert_eq!(self_check(1), SelfCheckFact::Failed(words));
}
