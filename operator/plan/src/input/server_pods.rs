//! Why the pods of a container server do not run. A hub only sees that it cannot connect, and
//! "Connection refused" looks like a problem of the network.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
use mcphub_hub_wire::dataplane::Revision;
use serde_json::Value;

use super::pod_facts::{self, UNREADY};
use crate::objects::server::ServerObjects;
use crate::revisions::StoredRevision;
use crate::rollout::{RevisionFacts, ServerProblem};
use crate::snapshot::{HubObjects, Snapshot};

/// Maximum length in characters of what the kubelet or a server says.
const LONGEST: usize = 300;
/// Words with letters and digits that are at least this long may be a credential.
const CREDENTIAL: usize = 20;

/// Adds to each revision what its container servers suffer from.
pub(super) fn add<'a>(
    snapshot: &Snapshot,
    stored: impl Iterator<Item = (&'a Revision, &'a StoredRevision)>,
    facts: &mut BTreeMap<Revision, RevisionFacts>,
) {
    for (revision, stored) in stored {
        let (Some(facts), Some(record)) = (facts.get_mut(revision), &stored.record) else {
            continue;
        };
        let problem = |server: &ServerObjects| {
            Some((server.server.clone(), problem(&snapshot.objects, server, snapshot.now)?))
        };
        facts.server_problems = record.servers.iter().filter_map(problem).collect();
    }
}

/// `None` if a pod of the server is Ready, or if its Deployment is not there yet.
fn problem(objects: &HubObjects, server: &ServerObjects, now: Timestamp) -> Option<ServerProblem> {
    let deployment = objects.deployments.get(server.name())?;
    let pods: Vec<&Pod> = pods_of(objects, server).collect();
    if pods.iter().any(|pod| pod_facts::ready_since(pod).is_some()) {
        return None;
    }
    let failure =
        pods.iter().find_map(|pod| failure(pod, now)).or_else(|| refusal(deployment, &pods));
    Some(match failure {
        Some(message) => ServerProblem { message, starting: false },
        None => ServerProblem { message: starting(&pods), starting: true },
    })
}

fn pods_of<'a>(
    objects: &'a HubObjects,
    server: &'a ServerObjects,
) -> impl Iterator<Item = &'a Pod> {
    let spec = server.deployment.spec.as_ref();
    let labels = spec.and_then(|spec| spec.selector.match_labels.as_ref());
    let selected = move |pod: &&Pod| {
        labels.is_some_and(|labels| {
            labels.iter().all(|(key, value)| pod_facts::label(pod, key) == Some(value))
        })
    };
    objects.pods.values().filter(selected).filter(|pod| pod.metadata.deletion_timestamp.is_none())
}

fn starting(pods: &[&Pod]) -> String {
    match pods.first() {
        Some(pod) => format!("its pod {} starts", pod_facts::name(pod)),
        None => "its pod is not created yet".into(),
    }
}

/// Quota, admission and Pod Security refuse pods before there is an object that could say so.
fn refusal(deployment: &Deployment, pods: &[&Pod]) -> Option<String> {
    if !pods.is_empty() {
        return None;
    }
    let conditions = deployment.status.as_ref()?.conditions.as_ref()?;
    let refused = conditions
        .iter()
        .find(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True")?;
    let why = line(refused.message.as_deref().unwrap_or_default());
    Some(format!("its pod is refused{}", after_colon(&why)))
}

fn failure(pod: &Pod, now: Timestamp) -> Option<String> {
    let name = pod_facts::name(pod);
    let scheduled = pod_facts::condition(pod, "PodScheduled");
    if let Some(scheduled) = scheduled.filter(|scheduled| scheduled.status == "False") {
        let why = line(scheduled.message.as_deref().unwrap_or_default());
        return Some(format!("its pod {name} has no node{}", after_colon(&why)));
    }
    if pod_facts::node_lost(pod) {
        return Some(format!("its pod {name} is on a node that was lost"));
    }
    let of_container = pod_facts::containers(pod)
        .find_map(|(_, container)| waits(container).or_else(|| ended(container)));
    let why = of_container.or_else(|| silent(pod, now))?;
    Some(format!("its pod {name} {why}"))
}

/// What the kubelet cannot do for a container.
fn waits(container: &ContainerStatus) -> Option<String> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let message = waiting.message.as_deref().unwrap_or_default();
    match waiting.reason.as_deref()? {
        // The kubelet alternates between the first two, and only the first always has the cause.
        "ErrImagePull" | "ImagePullBackOff" => {
            let cause = message.split_once("ErrImagePull: ").map_or(message, |(_, cause)| cause);
            let cause = if cause.starts_with("Back-off") { String::new() } else { line(cause) };
            let image = &container.image;
            Some(format!("cannot pull {image} (ErrImagePull){}", after_colon(&cause)))
        }
        reason @ ("InvalidImageName"
        | "ErrImageNeverPull"
        | "CreateContainerConfigError"
        | "CreateContainerError"
        | "RunContainerError") => {
            Some(format!("cannot start ({reason}){}", after_colon(&line(message))))
        }
        _ => None,
    }
}

/// How a container that restarts has ended.
fn ended(container: &ContainerStatus) -> Option<String> {
    let mut states = container.state.iter().chain(&container.last_state);
    let end = states.find_map(|state| state.terminated.as_ref())?;
    // An init container is meant to end.
    let initialized = end.exit_code == 0 && container.ready;
    (!initialized).then(|| match end.reason.as_deref() {
        Some("OOMKilled") => "ran out of memory (OOMKilled); raise the memory limit in \
                              container.resources"
            .into(),
        _ => format!("restarts (exit code {}){}", end.exit_code, after_colon(&last_line(end))),
    })
}

/// A server that runs but does not listen on its port.
fn silent(pod: &Pod, now: Timestamp) -> Option<String> {
    let ready = pod_facts::condition(pod, "Ready").filter(|ready| ready.status != "True")?;
    let since = ready.last_transition_time.as_ref()?.0;
    let running = |(_, container): (String, &ContainerStatus)| {
        container.state.as_ref().is_some_and(|state| state.running.is_some())
    };
    let length = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    (length >= UNREADY && pod_facts::containers(pod).any(running)).then(|| {
        let since = since.strftime("%H:%M:%S UTC");
        format!("runs, but does not accept connections on its port since {since}")
    })
}

/// The last line of the log, which the kubelet puts into the status of a container that failed.
fn last_line(end: &ContainerStateTerminated) -> String {
    let message = end.message.as_deref().unwrap_or_default();
    let last = message.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    line(&without_credentials(&text_of(last)))
}

/// The message of a line of a structured log, such as that of the bridge; else the line itself.
fn text_of(line: &str) -> String {
    let fields: BTreeMap<String, Value> = serde_json::from_str(line).unwrap_or_default();
    let text = ["message", "msg"].iter().find_map(|key| fields.get(*key)?.as_str());
    text.unwrap_or(line).to_owned()
}

/// The status of a hub must not show what a server logs about its own credentials.
fn without_credentials(text: &str) -> String {
    let in_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '+' | '=');
    let mut public = String::new();
    for part in text.split_inclusive(|c: char| !in_word(c)) {
        let word = part.trim_end_matches(|c: char| !in_word(c));
        let has = |test: fn(&char) -> bool| word.chars().any(|c| test(&c));
        if word.len() >= CREDENTIAL && has(char::is_ascii_digit) && has(char::is_ascii_alphabetic) {
            public.push('…');
            public.push_str(part.get(word.len()..).unwrap_or_default());
        } else {
            public.push_str(part);
        }
    }
    public
}

fn line(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

fn after_colon(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}
