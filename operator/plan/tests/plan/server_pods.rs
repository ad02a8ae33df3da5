//! Container servers that do not run: the status says why, from their pods.

use super::cluster::{Cluster, SPEC};
use mcphub_crds::status::Phase;
use mcphub_operator_plan::api::Event;
use mcphub_operator_plan::next::Next;
use rstest::rstest;
use serde_json::{Value, json};

const REFUSED: &str = "cannot be reached: Connection refused (os error 111)";

/// A hub whose server "files" is not connected, because its pod has this status.
fn with_pod(status: &Value) -> Cluster {
    let mut cluster = Cluster::settled(SPEC);
    set_pod(&mut cluster, status);
    cluster.disconnected.insert("files", REFUSED);
    cluster
}

fn set_pod(cluster: &mut Cluster, status: &Value) {
    let mut pods = cluster.snapshot.objects.pods.values_mut();
    let is_files = |pod: &&mut k8s_openapi::api::core::v1::Pod| {
        let labels = pod.metadata.labels.iter().flatten();
        labels.into_iter().any(|(key, value)| key == "mcphub.dev/server" && value == "files")
    };
    let pod = pods.find(is_files).expect("a pod of the server");
    pod.metadata.name = Some("files-0".into());
    pod.status = serde_json::from_value(status.clone()).expect("the status of a pod");
}

fn container(state: &Value, last: &Value) -> Value {
    let conditions = [json!({"type": "Ready", "status": "False",
        "lastTransitionTime": "2026-01-01T00:00:00Z"})];
    json!({"phase": "Running", "conditions": conditions, "containerStatuses": [{
        "name": "server", "image": "registry.example/files:typo", "imageID": "", "ready": false,
        "restartCount": 3, "state": state, "lastState": last}]})
}

fn waiting(reason: &str, message: &str) -> Value {
    container(&json!({"waiting": {"reason": reason, "message": message}}), &json!({}))
}

fn crashed(code: i32, reason: &str, message: &str) -> Value {
    let end = json!({"terminated": {"exitCode": code, "reason": reason, "message": message}});
    container(&json!({"waiting": {"reason": "CrashLoopBackOff"}}), &end)
}

fn message(cluster: &Cluster) -> String {
    let servers = &cluster.status().servers;
    let files = servers.iter().find(|server| server.name == "files").expect("the server");
    files.message.clone().unwrap_or_default()
}

#[rstest]
#[case(
    waiting("ErrImagePull", "registry.example/files:typo: not found"),
    "its pod files-0 cannot pull registry.example/files:typo (ErrImagePull): \
     registry.example/files:typo: not found"
)]
#[case(
    waiting("ImagePullBackOff", "Back-off pulling image \"x\": ErrImagePull: not found"),
    "its pod files-0 cannot pull registry.example/files:typo (ErrImagePull): not found"
)]
#[case(
    waiting("ImagePullBackOff", "Back-off pulling image \"x\""),
    "its pod files-0 cannot pull registry.example/files:typo (ErrImagePull)"
)]
#[case(
    waiting("CreateContainerConfigError", "secret \"files\" not found"),
    "its pod files-0 cannot start (CreateContainerConfigError): secret \"files\" not found"
)]
#[case(
    crashed(1, "Error", "starting\nmcp-fiels: no such program in this container\n"),
    "its pod files-0 restarts (exit code 1): mcp-fiels: no such program in this container"
)]
#[case(
    crashed(1, "Error", "{\"level\":\"ERROR\",\"message\":\"mcp-fiels: no such program\"}"),
    "its pod files-0 restarts (exit code 1): mcp-fiels: no such program"
)]
#[case(
    crashed(137, "OOMKilled", ""),
    "its pod files-0 ran out of memory (OOMKilled); raise the memory limit in container.resources"
)]
#[case(
    json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
        "reason": "Unschedulable", "message": "0/3 nodes are available: 3 Insufficient memory."}]}),
    "its pod files-0 has no node: 0/3 nodes are available: 3 Insufficient memory."
)]
#[case(
    container(&json!({"running": {}}), &json!({})),
    "its pod files-0 runs, but does not accept connections on its port since 00:00:00 UTC"
)]
fn a_server_that_cannot_run_is_reported_with_the_reason_of_its_pod(
    #[case] status: Value,
    #[case] expected: &str,
) {
    let mut cluster = with_pod(&status);
    cluster.pass(60);
    let plan = cluster.plan();
    cluster.apply(&plan);
    assert_eq!(message(&cluster), expected);
    let event = Event {
        warning: true,
        reason: "ServerNotConnected".into(),
        message: format!("server \"files\" is not connected: {expected}"),
    };
    assert_eq!(plan.events, [event]);
    let again = cluster.plan();
    assert_eq!(again.events, [], "the status reports it already");
}

// Quota, admission and Pod Security refuse pods before there is a pod that could say so.
#[test]
fn a_server_whose_pod_is_refused_is_reported_with_the_words_of_the_api_server() {
    let mut cluster = with_pod(&json!({}));
    cluster.snapshot.objects.pods.retain(|_, pod| pod.metadata.name.as_deref() != Some("files-0"));
    let deployments = &mut cluster.snapshot.objects.deployments;
    let (_, deployment) =
        deployments.iter_mut().find(|(name, _)| name.contains("-s-files-")).expect("made");
    deployment.status = serde_json::from_value(json!({"conditions": [{
        "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
        "message": "pods \"files-\" is forbidden: exceeded quota: compute"}]}))
    .expect("the status of a Deployment");
    let plan = cluster.plan();
    cluster.apply(&plan);
    assert_eq!(
        message(&cluster),
        "its pod is refused: pods \"files-\" is forbidden: exceeded quota: compute"
    );
}

#[test]
fn a_server_whose_pod_starts_is_reported_without_an_event() {
    let mut cluster = with_pod(&waiting("ContainerCreating", ""));
    let plan = cluster.plan();
    cluster.apply(&plan);
    assert_eq!((message(&cluster).as_str(), &*plan.events), ("its pod files-0 starts", &[][..]));
}

// The status of a hub is read by more people than the logs of its servers.
#[test]
fn a_word_of_a_log_that_may_be_a_credential_is_not_shown() {
    let log = "401 for token=ghp_16C7e42F292c6912E7710c838347Ae178B4a, giving up";
    let mut cluster = with_pod(&crashed(1, "Error", log));
    let plan = cluster.plan();
    cluster.apply(&plan);
    assert_eq!(message(&cluster), "its pod files-0 restarts (exit code 1): 401 for …, giving up");
}

#[test]
fn another_reason_is_another_event_and_a_changed_detail_is_not() {
    let mut cluster = with_pod(&crashed(1, "Error", "at 10:00: no route"));
    let plan = cluster.plan();
    cluster.apply(&plan);
    set_pod(&mut cluster, &crashed(1, "Error", "at 10:01: no route"));
    let plan = cluster.plan();
    cluster.apply(&plan);
    assert_eq!(plan.events, []);
    set_pod(&mut cluster, &waiting("ErrImagePull", "not found"));
    assert_eq!(cluster.plan().events.len(), 1);
}

// "Connection refused" sends people to look for a problem of the network.
#[test]
fn a_hub_that_serves_says_which_servers_it_lacks() {
    let mut cluster = with_pod(&crashed(1, "Error", "no such program"));
    let plan = cluster.plan();
    cluster.apply(&plan);
    assert_eq!(
        cluster.condition("Ready"),
        (
            "True".into(),
            "Healthy".into(),
            "the revision that the spec asks for serves, but 1 of 2 servers is not connected: \
             files (its pod files-0 restarts (exit code 1)); the operator has no Prometheus, so \
             changes go to 100% and only Kubernetes watches them"
                .into()
        )
    );
    assert_eq!(plan.next, Next::In(std::time::Duration::from_secs(10)));
}

// kubectl wait would otherwise succeed for a hub whose clients get an empty list of tools.
#[test]
fn a_hub_that_was_never_connected_to_a_server_is_not_healthy() {
    let mut cluster = Cluster::new(SPEC);
    cluster.disconnected = [("github", REFUSED), ("files", REFUSED)].into();
    cluster.settle();
    assert_eq!(cluster.status().phase, Some(Phase::Initializing));
    let (reconciling, reason, message) = cluster.condition("Reconciling");
    assert_eq!((reconciling.as_str(), reason.as_str()), ("True", "NoServerConnected"));
    assert!(message.contains("but 2 of 2 servers are not connected: github"), "{message}");
    cluster.disconnected.remove("files");
    cluster.settle();
    assert_eq!(cluster.status().phase, Some(Phase::Healthy));
    // An outage of the servers does not make a hub new.
    cluster.disconnected.insert("files", REFUSED);
    cluster.settle();
    assert_eq!(cluster.status().phase, Some(Phase::Healthy));
}
