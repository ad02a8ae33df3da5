//! The status: what it says, and that it reports only what was acknowledged.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cluster::{Cluster, SPEC};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, Time};
use mcphub_crds::status::Phase;
use mcphub_operator_plan::api::{Acknowledged, ObjectName, Rejection};
use mcphub_operator_plan::next::Next;
use mcphub_operator_plan::probes::{
    ProbeResults, PrometheusAnswers, PrometheusQueries, QueryPurpose, QueryResult, QuerySeries,
    Series, Span,
};
use mcphub_operator_plan::snapshot::PrometheusTiming;
use mcphub_operator_plan::{PlanInput, status};

/// With a Prometheus, so that a second revision stays a canary.
fn canary() -> Cluster {
    canary_of(SPEC)
}

pub(super) fn canary_of(spec: &str) -> Cluster {
    let mut cluster = Cluster::new(spec);
    let second = Duration::from_secs(1);
    cluster
        .snapshot
        .operator
        .prometheus
        .insert("main".into(), PrometheusTiming { scrape_interval: second, ingest_delay: second });
    cluster.settle();
    cluster.set_spec(&format!("{spec}\nfeatureFlags: {{custom: {{compactAnswers: true}}}}"));
    for _ in 0..10 {
        let plan = cluster.plan();
        cluster.apply(&plan);
        cluster.run_pods();
        cluster.pass(1);
    }
    cluster
}

fn standing(cluster: &Cluster) -> [String; 3] {
    ["Ready", "Reconciling", "Stalled"].map(|kind| cluster.condition(kind).0)
}

#[test]
fn a_healthy_hub_says_so() {
    let cluster = Cluster::settled(SPEC);
    insta::with_settings!({sort_maps => true}, { insta::assert_yaml_snapshot!(cluster.status()) });
}

#[test]
fn a_hub_with_a_canary_says_where_it_is() {
    let cluster = canary();
    insta::with_settings!({sort_maps => true}, { insta::assert_yaml_snapshot!(cluster.status()) });
}

#[test]
fn phases_and_the_three_conditions_of_kstatus_go_together() {
    let mut cluster = Cluster::new(SPEC);
    let plan = cluster.plan();
    cluster.apply(&plan);
    assert_eq!(
        (cluster.status().phase, standing(&cluster)),
        (Some(Phase::Initializing), ["False", "True", "False"].map(Into::into))
    );
    cluster.settle();
    assert_eq!(
        (cluster.status().phase, standing(&cluster)),
        (Some(Phase::Healthy), ["True", "False", "False"].map(Into::into))
    );
    let cluster = canary();
    assert_eq!(cluster.status().phase, Some(Phase::Progressing));
    assert_eq!(standing(&cluster), ["False", "True", "False"]);
}

#[test]
fn a_transition_time_stays_while_the_condition_does() {
    let mut cluster = Cluster::settled(SPEC);
    let ready = |cluster: &Cluster| {
        cluster
            .status()
            .conditions
            .iter()
            .find(|c| c.type_ == "Ready")
            .map(|c| c.last_transition_time.clone())
    };
    let since = ready(&cluster);
    cluster.pass(3600);
    cluster.set_spec(&SPEC.replace("replicas: 2", "replicas: 3"));
    cluster.settle();
    assert_eq!(cluster.condition("Ready").0, "True");
    assert_eq!(ready(&cluster), since);
}

// The column would otherwise say 6 while clients get an empty list.
#[test]
fn a_filter_that_fits_no_tool_is_reported_and_tools_are_those_that_clients_see() {
    let mut cluster = Cluster::settled(SPEC);
    cluster.visible_tools = 0;
    cluster.warnings =
        vec!["filtering.staticTools: \"ask\" matches no tool; did you mean \"a__ask\"?"];
    let warning = "filtering.static.tools: \"ask\" matches no tool; did you mean \"a__ask\"?";
    let plan = cluster.plan();
    cluster.apply(&plan);
    assert_eq!(cluster.status().tools, Some(0));
    assert_eq!(cluster.status().warnings, [warning]);
    let ready = cluster.condition("Ready").2;
    assert!(ready.contains(&format!("serves; {warning}; ")), "{ready}");
    let events: Vec<_> =
        plan.events.iter().map(|event| (event.reason.as_str(), &*event.message)).collect();
    assert_eq!(events, [("NoEffect", warning)]);
    assert_eq!(cluster.plan().events, [], "the status reports it already");
}

// If it were reported before it is done, a tool that waits for observedGeneration would continue
// too early.
#[test]
fn writes_that_were_not_acknowledged_are_not_reported() {
    let mut cluster = Cluster::settled(SPEC);
    let before = cluster.status().clone();
    cluster.set_spec(&SPEC.replace("files:1", "files:2"));
    let plan = cluster.plan();
    for writes in 0..plan.objects.len() {
        let mut killed = cluster.clone();
        let acknowledged = killed.apply_some(&plan, writes);
        let whole = acknowledged.objects.len() == plan.objects.len();
        let written = status(&plan.status, &acknowledged);
        assert_eq!(
            written.observed_generation,
            if whole { Some(2) } else { before.observed_generation },
            "{writes} writes"
        );
        let runtime =
            acknowledged.objects.iter().any(|write| write.object.name() == "team-runtime");
        assert_eq!(written.canary.is_some(), runtime, "{writes} writes");
    }
}

#[test]
fn an_object_that_the_api_server_rejects_is_reported_with_its_message() {
    let mut cluster = Cluster::settled(SPEC);
    let plan = cluster.plan();
    let mut acknowledged = cluster.apply_some(&plan, usize::MAX);
    let object = ObjectName { kind: "PodDisruptionBudget", name: "team-router".into() };
    acknowledged.objects.retain(|other| other.object.object_name() != object);
    acknowledged.rejections.push(Rejection { object, message: "exceeded quota: pdbs".into() });
    cluster.snapshot.hub.status = Some(status(&plan.status, &acknowledged));
    let (stalled, reason, message) = cluster.condition("Stalled");
    assert_eq!((stalled.as_str(), reason.as_str()), ("True", "WriteRefused"));
    assert_eq!(
        message,
        "the API server refuses PodDisruptionBudget \"team-router\": exceeded quota: pdbs; correct \
         what the message names, the operator retries"
    );
    assert_eq!(cluster.condition("Ready").0, "False");
}

#[test]
fn a_server_that_is_not_connected_is_named_and_the_hub_stays_ready() {
    let mut cluster = Cluster::settled(SPEC);
    cluster.disconnected.insert("github", "cannot be reached: connection refused");
    let plan = cluster.plan();
    cluster.apply(&plan);
    assert_eq!(cluster.status().servers_ready.as_deref(), Some("1/2"));
    assert_eq!(
        cluster.condition("ServersReady").2,
        "1 of 2 servers is not connected: github (cannot be reached); see status.servers"
    );
    assert_eq!(cluster.condition("Ready").0, "True");
    // Nothing reports that a server came up after its hub. The status would say "1/2" until the
    // next idle reconcile.
    assert_eq!(plan.next, Next::In(Duration::from_secs(10)));
    cluster.disconnected.clear();
    assert_eq!(cluster.plan().next, Next::Idle, "all are connected");
}

// In an incident nobody wants to read the same sentence three times.
#[test]
fn only_the_condition_that_is_true_has_the_whole_message() {
    let mut cluster = Cluster::settled(SPEC);
    cluster.set_spec(&format!("{SPEC}\nrollout: {{prometheus: prod}}"));
    let plan = cluster.plan();
    cluster.apply(&plan);
    let accepted = cluster.condition("Accepted").2;
    assert_eq!(cluster.condition("Stalled").2, format!("the spec is not accepted: {accepted}"));
    assert_eq!(cluster.condition("Ready").2, "the spec is not accepted; see the condition Stalled");
    assert_eq!(cluster.condition("Reconciling").2, "nothing is in progress");
}

// The idle pods of guard and of a failed revision would halve the averages of an autoscaler.
#[test]
fn the_selector_for_autoscalers_selects_the_pods_of_stable() {
    let cluster = canary();
    let stable = cluster.status().stable.clone().expect("a stable revision").revision;
    let selector = cluster.status().selector.clone().expect("a selector");
    let selected = |pod: &&k8s_openapi::api::core::v1::Pod| {
        let labels = pod.metadata.labels.clone().unwrap_or_default();
        let has = |pair: &str| {
            pair.split_once('=')
                .is_some_and(|(key, value)| labels.get(key).map(String::as_str) == Some(value))
        };
        selector.split(',').all(has)
    };
    let pods = &cluster.snapshot.objects.pods;
    let names: Vec<_> = pods.values().filter(selected).map(|pod| &pod.metadata.name).collect();
    assert_eq!(names.len(), 2);
    let of_stable = |name: &Option<String>| {
        name.as_deref().is_some_and(|name| name.starts_with(&format!("team-r-{stable}-")))
    };
    assert!(names.iter().all(|name| of_stable(name)), "{names:?}");
}

#[test]
fn without_acknowledgment_status_stays_except_for_the_condition_that_it_is_applying() {
    let mut cluster = Cluster::settled(SPEC);
    let before = cluster.status().clone();
    cluster.set_spec(&SPEC.replace("files:1", "files:2"));
    let after = status(&cluster.plan().status, &Acknowledged::default());
    assert_eq!(after.stable, before.stable);
    assert_eq!(after.observed_generation, before.observed_generation);
}

// A status that is written every second would wake everybody who watches hubs.
#[test]
fn values_that_change_all_the_time_are_written_once_a_minute() {
    let mut cluster = canary();
    let written = cluster.snapshot.now;
    cluster.snapshot.hub.metadata.managed_fields = Some(vec![ManagedFieldsEntry {
        subresource: Some("status".into()),
        time: Some(Time(written)),
        ..ManagedFieldsEntry::default()
    }]);
    let mut shown = cluster.status().clone();
    shown.canary.as_mut().expect("a canary").bake_observed = Some(Duration::from_secs(1234).into());
    let message = &mut shown.conditions[0].message;
    *message = message.replace(" 10 %", " 11 %");
    cluster.snapshot.hub.status = Some(shown.clone());
    let plan = cluster.plan();
    assert_eq!(cluster.clone().apply(&plan), shown, "young");
    cluster.snapshot.now += jiff::SignedDuration::from_secs(61);
    cluster.results = ProbeResults::default();
    let plan = cluster.plan_with_results();
    assert_ne!(cluster.apply(&plan), shown, "old");
}

/// Answers every query with values that change from second to second.
fn measured(cluster: &Cluster, second: u32) -> ProbeResults {
    let mut results = cluster.results.clone();
    let probes = PlanInput::read(&cluster.snapshot).probes();
    let Some(PrometheusQueries { at, queries, .. }) = probes.prometheus else { return results };
    let mut answers = BTreeMap::new();
    for query in &queries {
        let point = |at: Timestamp| match query.key.purpose {
            QueryPurpose::Presence => (at, 2.0),
            QueryPurpose::Trigger(_, QuerySeries::Samples)
            | QueryPurpose::Gate(_, QuerySeries::Samples) => (at, f64::from(1000 + second)),
            _ => (at, f64::from(second) / 100_000.0),
        };
        let points = match query.span {
            Span::At(at) => vec![point(at)],
            Span::Range { start, end, step } => {
                let times = std::iter::successors(Some(start), |at| at.checked_add(step).ok());
                times.take_while(|at| *at <= end).map(point).collect()
            }
        };
        let series = Series { labels: BTreeMap::new(), points };
        answers.insert(query.key.clone(), QueryResult::Series(vec![series]));
    }
    results.prometheus = Some(PrometheusAnswers { at, queries, results: answers });
    results
}

// With an interval of a second, kubectl get --watch would print equal lines without end.
#[test]
fn a_bake_in_which_only_measured_values_change_writes_the_status_once_a_minute() {
    let mut cluster = canary_of(&format!("{SPEC}\nrollout: {{interval: 1s, warmup: 0s}}"));
    let mut writes = 0;
    for second in 0..50 {
        cluster.pass(1);
        cluster.ask();
        cluster.results = measured(&cluster, second);
        let before = cluster.status().clone();
        let plan = cluster.plan_with_results();
        if cluster.apply(&plan) != before {
            writes += 1;
            let written = ManagedFieldsEntry {
                subresource: Some("status".into()),
                time: Some(Time(cluster.snapshot.now)),
                ..ManagedFieldsEntry::default()
            };
            cluster.snapshot.hub.metadata.managed_fields = Some(vec![written]);
        }
    }
    assert!(cluster.status().rules.iter().any(|rule| rule.value.is_some()), "nothing was judged");
    assert!(writes <= 4, "{writes} writes in 50 s");
}

// Otherwise the old message would stay until the next idle reconcile.
#[test]
fn a_new_message_with_the_same_reason_is_written_at_once() {
    let mut cluster = canary();
    cluster.snapshot.hub.metadata.managed_fields = Some(vec![ManagedFieldsEntry {
        subresource: Some("status".into()),
        time: Some(Time(cluster.snapshot.now)),
        ..ManagedFieldsEntry::default()
    }]);
    let right = cluster.status().clone();
    let mut shown = right.clone();
    shown.conditions[0].message = "something that was true before".into();
    cluster.snapshot.hub.status = Some(shown);
    let plan = cluster.plan();
    assert_eq!(cluster.apply(&plan).conditions, right.conditions);
}
