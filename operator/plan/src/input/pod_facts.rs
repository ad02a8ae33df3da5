//! What the engine learns from pods: which are Ready, which crash or do not become Ready, and which
//! lost their node.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition};
use mcphub_hub_wire::admin::SelfCheck;
use mcphub_hub_wire::dataplane::Revision;

use crate::api::labels::{self, Component};
use crate::api::names;
use crate::probes::ProbeResults;
use crate::revisions::StoredRevision;
use crate::rollout::state::EngineState;
use crate::rollout::text::counted;
use crate::rollout::{BrokenPod, RevisionFacts, RouterFacts, SelfCheckFact, ServerProblem};
use crate::snapshot::{HubObjects, Snapshot};

/// How long a scheduled pod may be not Ready.
pub(super) const UNREADY: Duration = Duration::from_secs(30);
/// How long a pod may take to start. More weight means more pods, on nodes that do not have the
/// image yet.
const STARTING: Duration = Duration::from_mins(10);
/// Reasons for which a container waits in vain. They count only after the pod was not Ready for
/// [`UNREADY`], because a short outage of a registry must not roll back a canary that gets one more
/// pod.
const STUCK: [&str; 4] =
    ["ImagePullBackOff", "ErrImagePull", "InvalidImageName", "CreateContainerConfigError"];
/// A container with this many restarts is broken, even if it runs now.
const RESTARTS: u32 = 2;

/// Facts about every revision whose record can be read. Self-checks are unknown until the probes
/// have been answered. Restarts from before the current attempt do not count.
pub(super) fn revisions<'a>(
    snapshot: &Snapshot,
    stored: impl Iterator<Item = (&'a Revision, &'a StoredRevision)>,
    engine: Option<&EngineState>,
) -> BTreeMap<Revision, RevisionFacts> {
    let none = BTreeMap::new();
    let before = engine.map_or(&none, |engine| &engine.restarts);
    let hub = snapshot.hub.metadata.name.as_deref().unwrap_or_default();
    let facts = |(revision, stored): (&Revision, &StoredRevision)| {
        let record = stored.record.as_ref()?;
        let deployment = snapshot.objects.deployments.get(&names::revision(hub, revision));
        let made =
            deployment.and_then(|deployment| deployment.metadata.creation_timestamp.as_ref());
        let replicas = deployment
            .map(|deployment| deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1));
        let pods: Vec<_> = pods_of(&snapshot.objects, revision).collect();
        let ready: Vec<_> = pods.iter().filter_map(|pod| ready_since(pod)).collect();
        let facts = RevisionFacts {
            flags: record.flags(),
            image: record.image.clone(),
            attempt: stored.attempt.clone(),
            created: stored.created.or(made.map(|time| time.0)).unwrap_or(snapshot.now),
            deployed: replicas.map(|replicas| u32::try_from(replicas).unwrap_or_default()),
            ready: u32::try_from(ready.len()).unwrap_or(u32::MAX),
            ready_since: ready.iter().min().copied(),
            broken: pods.iter().filter_map(|pod| broken(pod, before, snapshot.now)).collect(),
            restarts: pods.iter().flat_map(|pod| restarts(pod)).collect(),
            unschedulable: u32::try_from(pods.iter().filter(|pod| homeless(pod)).count())
                .unwrap_or(u32::MAX),
            server_problems: BTreeMap::new(),
            connected: false,
            self_check: SelfCheckFact::Unknown,
        };
        Some((revision.clone(), facts))
    };
    stored.filter_map(facts).collect()
}

/// Takes in the self-checks. The servers of a revision are compared with those of the stable one.
pub(super) fn add_self_checks(
    snapshot: &Snapshot,
    results: &ProbeResults,
    stable: Option<&Revision>,
    facts: &mut BTreeMap<Revision, RevisionFacts>,
) {
    let shown = stable.map(|stable| RevisionView::new(snapshot, results, stable));
    let (nothing, shown) = (RevisionView::default(), shown.unwrap_or_default());
    for (revision, facts) in facts {
        facts.connected = !RevisionView::new(snapshot, results, revision).connected.is_empty();
        let compared = if Some(revision) == stable { &nothing } else { &shown };
        facts.self_check =
            self_check(snapshot, results, revision, compared, &facts.server_problems);
    }
}

/// The routers. Their generation is unknown until the probes have been answered.
pub(super) fn routers(snapshot: &Snapshot) -> RouterFacts {
    let ready = ready_routers(&snapshot.objects).len();
    RouterFacts { ready: u32::try_from(ready).unwrap_or(u32::MAX), obeyed: None }
}

/// The lowest generation that the Ready routers obey; `None` if there is none, or if one did not
/// answer.
pub(super) fn obeyed_generation(snapshot: &Snapshot, results: &ProbeResults) -> Option<u64> {
    let routers = ready_routers(&snapshot.objects);
    let generations = routers.iter().map(|pod| {
        let result = results.router_generations.get(name(pod));
        result.and_then(|result| result.as_ref().ok()).copied()
    });
    generations.collect::<Option<Vec<u64>>>()?.into_iter().min()
}

/// Ready router pods.
pub(super) fn ready_routers(objects: &HubObjects) -> Vec<&Pod> {
    let routers =
        objects.pods.values().filter(|pod| component(pod) == Some(Component::Router.as_str()));
    routers.filter(|pod| ready_since(pod).is_some()).collect()
}

/// Ready pods of a revision, in the order of their names.
pub(crate) fn ready_pods<'a>(
    objects: &'a HubObjects,
    revision: &'a Revision,
) -> impl Iterator<Item = &'a Pod> {
    pods_of(objects, revision).filter(|pod| ready_since(pod).is_some())
}

/// Name and IP of a pod; `None` if it lacks one of them.
pub(super) fn address(pod: &Pod) -> Option<(String, String)> {
    Some((pod.metadata.name.clone()?, pod.status.as_ref()?.pod_ip.clone()?))
}

/// Pods of a revision that are not terminating.
fn pods_of<'a>(objects: &'a HubObjects, revision: &'a Revision) -> impl Iterator<Item = &'a Pod> {
    let of = move |pod: &&Pod| {
        component(pod) == Some(Component::Hub.as_str())
            && label(pod, labels::REVISION) == Some(revision.as_str())
    };
    objects
        .pods
        .values()
        .filter(of)
        .filter(|pod| pod.metadata.deletion_timestamp.is_none() && !ended(pod))
}

pub(super) fn label<'a>(pod: &'a Pod, key: &str) -> Option<&'a str> {
    pod.metadata.labels.as_ref()?.get(key).map(String::as_str)
}

fn component(pod: &Pod) -> Option<&str> {
    label(pod, labels::COMPONENT)
}

pub(super) fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// The pod was evicted or has finished, and another one replaces it.
fn ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Failed" | "Succeeded"))
}

pub(super) fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)
}

/// Since when a pod is Ready; `None` if it is not, or if it is terminating.
pub(super) fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let ready = condition(pod, "Ready")
        .filter(|ready| ready.status == "True" && pod.metadata.deletion_timestamp.is_none())?;
    Some(ready.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0))
}

/// The pod waits for a node, or lost its node.
fn homeless(pod: &Pod) -> bool {
    let unscheduled =
        condition(pod, "PodScheduled").is_some_and(|scheduled| scheduled.status == "False");
    unscheduled || node_lost(pod)
}

/// The node controller sets Ready to False if the kubelet is silent. The containers keep the state
/// that was last reported.
pub(super) fn node_lost(pod: &Pod) -> bool {
    let is =
        |kind, status| condition(pod, kind).is_some_and(|condition| condition.status == status);
    let reason = pod.status.as_ref().and_then(|status| status.reason.as_deref());
    reason == Some("NodeLost") || (is("ContainersReady", "True") && !is("Ready", "True"))
}

/// Name (`pod/container`) and status of all containers.
pub(super) fn containers(pod: &Pod) -> impl Iterator<Item = (String, &ContainerStatus)> {
    let status = pod.status.iter();
    let all =
        status.flat_map(|status| [&status.container_statuses, &status.init_container_statuses]);
    all.flatten()
        .flatten()
        .map(|container| (format!("{}/{}", name(pod), container.name), container))
}

/// Restarts of the pod's containers in their whole life, without those that never restarted.
fn restarts(pod: &Pod) -> impl Iterator<Item = (String, u32)> {
    containers(pod)
        .map(|(name, container)| (name, restart_count(container)))
        .filter(|(_, count)| *count > 0)
}

fn restart_count(container: &ContainerStatus) -> u32 {
    u32::try_from(container.restart_count).unwrap_or_default()
}

/// `before` has the restarts that do not count any more.
fn broken(pod: &Pod, before: &BTreeMap<String, u32>, now: Timestamp) -> Option<BrokenPod> {
    let crashed = containers(pod).find_map(|(name, container)| {
        let before = before.get(&name).copied().unwrap_or_default();
        crashed(container, before)
    });
    Some(BrokenPod { name: name(pod).to_owned(), why: crashed.or_else(|| unready(pod, now))? })
}

fn crashed(container: &ContainerStatus, before: u32) -> Option<String> {
    if let Some(why) = waits(container, &["CrashLoopBackOff"]) {
        return Some(why);
    }
    let restarts = restart_count(container).saturating_sub(before);
    // Kubernetes reports the end of the last start forever. Without a new restart it is an old
    // event.
    let last = container.last_state.as_ref().filter(|_| before == 0 || restarts > 0);
    let mut ended =
        container.state.iter().chain(last).filter_map(|state| state.terminated.as_ref());
    if ended.any(|ended| ended.reason.as_deref() == Some("OOMKilled")) {
        return Some(format!("container {} ran out of memory", container.name));
    }
    (restarts >= RESTARTS)
        .then(|| format!("container {} was restarted {restarts} times", container.name))
}

/// What the container waits for, if it is one of these reasons.
fn waits(container: &ContainerStatus, reasons: &[&str]) -> Option<String> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref().filter(|reason| reasons.contains(reason))?;
    Some(format!("{reason}: {}", waiting.message.as_deref().unwrap_or_default()))
}

fn unready(pod: &Pod, now: Timestamp) -> Option<String> {
    if homeless(pod) {
        return None;
    }
    let ready = condition(pod, "Ready").filter(|ready| ready.status != "True")?;
    let since = ready.last_transition_time.as_ref()?.0;
    let length = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    if length < UNREADY {
        return None;
    }
    let stuck = containers(pod).find_map(|(_, container)| waits(container, &STUCK));
    // A container that pulls its image or is in its startup probe has not harmed anybody yet.
    let unstarted = |container: &ContainerStatus| {
        container.started == Some(false) && container.restart_count == 0
    };
    let starting = length < STARTING && containers(pod).any(|(_, container)| unstarted(container));
    stuck.or_else(|| (!starting).then(|| format!("not Ready for {} s", length.as_secs())))
}

/// What the pods of a revision have, as far as they were asked. A canary must not have less than
/// stable.
#[derive(Default)]
struct RevisionView {
    /// Servers that they are connected to.
    connected: Vec<String>,
    /// Whether clients see any tool.
    shows_tools: bool,
    /// Its pods were asked, and none of them answered.
    is_silent: bool,
}

impl RevisionView {
    fn new(snapshot: &Snapshot, results: &ProbeResults, revision: &Revision) -> Self {
        let asked: Vec<_> = pods_of(&snapshot.objects, revision)
            .filter_map(|pod| results.self_checks.get(name(pod)))
            .collect();
        let checks: Vec<_> = asked.iter().filter_map(|result| result.as_ref().ok()).collect();
        let servers = checks.iter().flat_map(|check| &check.servers);
        let connected = servers.filter(|server| server.connected);
        Self {
            connected: connected.map(|server| server.name.clone()).collect(),
            shows_tools: checks.iter().any(|check| check.visible_tools.is_some_and(|n| n > 0)),
            is_silent: !asked.is_empty() && checks.is_empty(),
        }
    }
}

/// One failure is a failure. Without one, every pod that was asked must have answered.
fn self_check(
    snapshot: &Snapshot,
    results: &ProbeResults,
    revision: &Revision,
    stable: &RevisionView,
    problems: &BTreeMap<String, ServerProblem>,
) -> SelfCheckFact {
    let mut fact = SelfCheckFact::Unknown;
    for pod in pods_of(&snapshot.objects, revision) {
        let Some(result) = results.self_checks.get(name(pod)) else { continue };
        let of_pod = match result {
            Ok(check) => judged(check, stable, problems),
            Err(message) => SelfCheckFact::Unanswered(message.clone()),
        };
        let named = |message: String| format!("{}: {message}", name(pod));
        fact = match (fact, of_pod) {
            (_, SelfCheckFact::Failed(message)) => return SelfCheckFact::Failed(named(message)),
            (_, SelfCheckFact::Unanswered(message)) => SelfCheckFact::Unanswered(named(message)),
            (SelfCheckFact::Unknown, answered) => answered,
            (before, _) => before,
        };
    }
    fact
}

/// What the answer of one pod says.
fn judged(
    check: &SelfCheck,
    stable: &RevisionView,
    problems: &BTreeMap<String, ServerProblem>,
) -> SelfCheckFact {
    if let Some(message) = failure(check, stable, problems) {
        return SelfCheckFact::Failed(message);
    }
    let lost = check.servers.iter().find(|server| !server.connected);
    match lost.filter(|_| stable.is_silent) {
        Some(server) => SelfCheckFact::Unanswered(format!(
            "server \"{}\" is not connected, and no stable pod says whether it can be reached",
            server.name
        )),
        None => SelfCheckFact::Passed,
    }
}

fn failure(
    check: &SelfCheck,
    stable: &RevisionView,
    problems: &BTreeMap<String, ServerProblem>,
) -> Option<String> {
    if let Some(line) = check.checks.iter().find(|line| !line.passed) {
        return Some(format!("{}: {}", line.name, line.message));
    }
    if !check.passed {
        return Some("the self-check did not pass".into());
    }
    let listed: u32 = check.servers.iter().map(|server| server.tools).sum();
    if check.visible_tools == Some(0) && listed > 0 && stable.shows_tools {
        let why = check.warnings.iter().map(|warning| format!("; {warning}"));
        let why = why.collect::<Vec<_>>().concat();
        return Some(format!(
            "clients would see none of {}{why}",
            counted(listed as usize, "tool")
        ));
    }
    // Removed and disabled servers are not in the canary's self-check, so they do not count.
    let lost = check
        .servers
        .iter()
        .find(|server| !server.connected && stable.connected.contains(&server.name))?;
    let why = problems.get(&lost.name).map_or(&lost.message, |problem| &problem.message);
    Some(format!("server \"{}\" is connected on stable but not on this pod: {why}", lost.name))
}
