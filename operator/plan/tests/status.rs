//! Status: what it says, and that it says nothing which was not acknowledged.
#![allow(missing_docs, clippy::expect_used, clippy::panic, reason = "a test")]

mod common;

use std::time::Duration;

use common::{SPEC, World};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, Time};
use mcphub_crds::status::Phase;
use mcphub_operator_plan::plan::{Acknowledged, Next, Rejection};
use mcphub_operator_plan::probes::ProbeResults;
use mcphub_operator_plan::snapshot::{ObjectName, Prometheus};
use mcphub_operator_plan::status;

/// With a Prometheus, so that a second revision stays a canary.
fn canary() -> World {
    let mut world = World::new(SPEC);
    let second = Duration::from_secs(1);
    world
        .snapshot
        .operator
        .prometheus
        .insert("main".into(), Prometheus { scrape_interval: second, ingest_delay: second });
    world.settle();
    world.set_spec(&format!("{SPEC}\nfeatureFlags: {{custom: {{compactAnswers: true}}}}"));
    for _ in 0..10 {
        let plan = world.plan();
        world.apply(&plan);
        world.run_pods();
        world.pass(1);
    }
    world
}

fn standing(world: &World) -> [String; 3] {
    ["Ready", "Reconciling", "Stalled"].map(|kind| world.condition(kind).0)
}

#[test]
fn a_healthy_hub_says_so() {
    let world = World::settled(SPEC);
    insta::with_settings!({sort_maps => true}, { insta::assert_yaml_snapshot!(world.status()) });
}

#[test]
fn a_hub_with_a_canary_says_where_it_is() {
    let world = canary();
    insta::with_settings!({sort_maps => true}, { insta::assert_yaml_snapshot!(world.status()) });
}

#[test]
fn phases_and_the_three_conditions_of_kstatus_go_together() {
    let mut world = World::new(SPEC);
    let plan = world.plan();
    world.apply(&plan);
    assert_eq!(
        (world.status().phase, standing(&world)),
        (Some(Phase::Initializing), ["False", "True", "False"].map(Into::into))
    );
    world.settle();
    assert_eq!(
        (world.status().phase, standing(&world)),
        (Some(Phase::Healthy), ["True", "False", "False"].map(Into::into))
    );
    let world = canary();
    assert_eq!(world.status().phase, Some(Phase::Progressing));
    assert_eq!(standing(&world), ["False", "True", "False"]);
}

#[test]
fn a_transition_time_stays_while_the_condition_does() {
    let mut world = World::settled(SPEC);
    let ready = |world: &World| {
        world
            .status()
            .conditions
            .iter()
            .find(|c| c.type_ == "Ready")
            .map(|c| c.last_transition_time.clone())
    };
    let since = ready(&world);
    world.pass(3600);
    world.set_spec(&SPEC.replace("replicas: 2", "replicas: 3"));
    world.settle();
    assert_eq!(world.condition("Ready").0, "True");
    assert_eq!(ready(&world), since);
}

// Said before it is done, a tool that waits for observedGeneration goes on too early.
#[test]
fn nothing_is_said_of_writes_that_were_not_acknowledged() {
    let mut world = World::settled(SPEC);
    let before = world.status().clone();
    world.set_spec(&SPEC.replace("files:1", "files:2"));
    let plan = world.plan();
    for writes in 0..plan.objects.len() {
        let mut killed = world.clone();
        let acknowledged = killed.apply_some(&plan, writes);
        let whole = acknowledged.objects.len() == plan.objects.len();
        let written = status(&plan.status, &acknowledged);
        assert_eq!(
            written.observed_generation,
            if whole { Some(2) } else { before.observed_generation },
            "{writes} writes"
        );
        let runtime =
            acknowledged.objects.iter().any(|object| object.child.name() == "team-runtime");
        assert_eq!(written.canary.is_some(), runtime, "{writes} writes");
    }
}

#[test]
fn an_object_that_the_api_server_refuses_is_named_with_its_words() {
    let mut world = World::settled(SPEC);
    let plan = world.plan();
    let mut acknowledged = world.apply_some(&plan, usize::MAX);
    let object = ObjectName { kind: "PodDisruptionBudget", name: "team-router".into() };
    acknowledged.objects.retain(|other| other.child.object_name() != object);
    acknowledged.rejections.push(Rejection { object, message: "exceeded quota: pdbs".into() });
    world.snapshot.hub.status = Some(status(&plan.status, &acknowledged));
    let (stalled, reason, message) = world.condition("Stalled");
    assert_eq!((stalled.as_str(), reason.as_str()), ("True", "WriteRefused"));
    assert_eq!(
        message,
        "the API server refuses PodDisruptionBudget \"team-router\": exceeded quota: pdbs; mend what it names, the operator tries again"
    );
    assert_eq!(world.condition("Ready").0, "False");
}

#[test]
fn a_server_that_is_not_connected_is_named_and_the_hub_stays_ready() {
    let mut world = World::settled(SPEC);
    world.ask();
    for check in world.results.self_checks.values_mut() {
        let server = &mut check.as_mut().expect("an answer").servers[1];
        server.connected = false;
        server.message = "connection refused".into();
    }
    let plan = world.plan_with_results();
    world.apply(&plan);
    assert_eq!(world.status().servers_ready.as_deref(), Some("1/2"));
    assert_eq!(
        world.condition("ServersReady").2,
        "1 of 2 servers are not connected: files; see status.servers"
    );
    assert_eq!(world.condition("Ready").0, "True");
    // A server that comes up after its hub tells nobody: status would say "1/2" until the next hourly look.
    assert_eq!(plan.next, Next::In(Duration::from_secs(10)));
    assert_eq!(world.plan().next, Next::Idle, "all are connected");
}

#[test]
fn nothing_acknowledged_leaves_status_as_it_was_but_for_saying_that_it_is_at_work() {
    let mut world = World::settled(SPEC);
    let before = world.status().clone();
    world.set_spec(&SPEC.replace("files:1", "files:2"));
    let after = status(&world.plan().status, &Acknowledged::default());
    assert_eq!(after.stable, before.stable);
    assert_eq!(after.observed_generation, before.observed_generation);
}

// Written every second, it would wake everybody who watches hubs.
#[test]
fn what_only_ticks_is_written_once_a_minute() {
    let mut world = canary();
    let written = world.snapshot.now;
    world.snapshot.hub.metadata.managed_fields = Some(vec![ManagedFieldsEntry {
        subresource: Some("status".into()),
        time: Some(Time(written)),
        ..ManagedFieldsEntry::default()
    }]);
    let mut shown = world.status().clone();
    shown.canary.as_mut().expect("a canary").bake_observed = Some(Duration::from_secs(1234).into());
    let message = &mut shown.conditions[0].message;
    *message = message.replace(" 10 %", " 11 %");
    world.snapshot.hub.status = Some(shown.clone());
    let plan = world.plan();
    assert_eq!(world.clone().apply(&plan), shown, "young");
    world.snapshot.now += jiff::SignedDuration::from_secs(61);
    world.results = ProbeResults::default();
    let plan = world.plan_with_results();
    assert_ne!(world.apply(&plan), shown, "old");
}

// A look that nothing follows would leave the old words there for an hour.
#[test]
fn other_words_with_the_same_reason_are_written_at_once() {
    let mut world = canary();
    world.snapshot.hub.metadata.managed_fields = Some(vec![ManagedFieldsEntry {
        subresource: Some("status".into()),
        time: Some(Time(world.snapshot.now)),
        ..ManagedFieldsEntry::default()
    }]);
    let right = world.status().clone();
    let mut shown = right.clone();
    shown.conditions[0].message = "something that was true before".into();
    world.snapshot.hub.status = Some(shown);
    let plan = world.plan();
    assert_eq!(world.apply(&plan).conditions, right.conditions);
}
