//! Events are stored with the state that they report, and sent once, whatever dies.

use super::cluster::{Cluster, SPEC};
use super::damage::{phase, steps};
use mcphub_operator_plan::plan::Plan;

const CHANGED: &str = "
replicas: 2
servers:
- name: github
  remote: {url: 'https://mcp.example.com/v2'}
- name: files
  container: {image: 'registry.example/files:1', command: [mcp-files, /data]}
";

/// Reasons of the Events in the cluster, sorted.
fn reasons(cluster: &Cluster) -> Vec<String> {
    let mut reasons: Vec<_> = cluster.events.values().map(|event| event.reason.clone()).collect();
    reasons.sort();
    reasons
}

fn pending(plan: &Plan) -> Vec<&str> {
    plan.outbox.iter().flatten().map(|pending| pending.reason.as_str()).collect()
}

/// The operator is killed and another one starts, which does not know what was sent.
fn restart(cluster: &mut Cluster) {
    cluster.snapshot.sent_events.clear();
}

#[test]
fn an_operator_killed_at_any_point_of_a_rollout_loses_no_event_and_sends_none_twice() {
    let mut changed = Cluster::settled(SPEC);
    changed.set_spec(CHANGED);
    let mut undisturbed = changed.clone();
    undisturbed.settle();
    let expected = reasons(&undisturbed);
    assert!(expected.contains(&"Promoted".to_owned()), "{expected:?}");
    for writes in 1..8 {
        for sends in [false, true] {
            let mut cluster = changed.clone();
            for _ in 0..12 {
                cluster.run_pods();
                let plan = cluster.plan();
                let acknowledged = cluster.apply_some(&plan, writes);
                let mut written = acknowledged.objects.iter().map(|write| write.object.name());
                let written = written.any(|name| name == "team-runtime");
                if sends && written {
                    cluster.send(&plan);
                }
                restart(&mut cluster);
                cluster.pass(2);
            }
            cluster.settle();
            assert_eq!(reasons(&cluster), expected, "after {writes} writes, sent: {sends}");
        }
    }
}

#[test]
fn an_event_waits_in_the_state_until_it_was_sent_and_is_dropped_by_the_next_write() {
    let mut cluster = Cluster::settled(SPEC);
    cluster.set_spec(CHANGED);
    let plan = cluster.plan();
    assert_eq!(pending(&plan), ["RolloutStarted"]);
    cluster.apply_some(&plan, usize::MAX);
    restart(&mut cluster);
    let again = cluster.plan();
    assert_eq!((again.events.len(), pending(&again)), (0, vec!["RolloutStarted"]));
    cluster.send(&again);
    let plan = cluster.plan();
    assert!(!pending(&plan).contains(&"RolloutStarted"));
    cluster.settle();
    assert!(!cluster.runtime_file("engine.json").contains("RolloutStarted"));
    assert_eq!(reasons(&cluster).iter().filter(|reason| *reason == "RolloutStarted").count(), 2);
}

#[test]
fn a_rollback_whose_other_writes_fail_is_reported_once() {
    let mut cluster = phase("canary");
    cluster.healthy = false;
    cluster.set_spec(&steps(10, 3));
    for _ in 0..20 {
        cluster.run_pods();
        let plan = cluster.plan();
        cluster.apply_without(&plan, |object| object.kind == "Secret");
        cluster.send(&plan);
        cluster.pass(5);
    }
    let reasons = reasons(&cluster);
    let rolled_back = reasons.iter().filter(|reason| *reason == "RolledBack");
    assert_eq!(rolled_back.count(), 1, "{reasons:?}");
}

// The status that would say that it was reported cannot be written.
#[test]
fn an_event_that_the_status_does_not_report_yet_is_sent_once() {
    let mut cluster = Cluster::settled(SPEC);
    cluster.set_spec("servers: []\nrollout: {steps: [{traffic: 10, pause: true}]}\n");
    for _ in 0..4 {
        let plan = cluster.plan();
        cluster.apply_some(&plan, usize::MAX);
        cluster.send(&plan);
    }
    let invalid = || cluster.events.values().filter(|event| event.reason == "InvalidSpec");
    assert_eq!(invalid().count(), 1, "{:?}", cluster.events);
    cluster.settle();
    assert!(!cluster.runtime_file("engine.json").contains("InvalidSpec"));
}
