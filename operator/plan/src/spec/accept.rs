//! Validates a spec. It finds everything that is wrong, and says what to write instead. The result
//! is a [`ValidHub`], so the builders of objects cannot fail.

mod filtering;
mod pods;
mod servers;
mod unsupported;

use std::time::Duration;

use mcphub_crds::expose::ServiceType;
use mcphub_crds::filtering::{Filtering, SelectorBackend};
use mcphub_crds::{McpHubSpec, values};

use crate::api::{Object, ObjectName};
use crate::probes::ProbeResults;
use crate::rollout::policy::{HubFeatures, Policy};
use crate::snapshot::{Operator, Snapshot};
use crate::spec::flags;
use crate::spec::problem::{Problem, Reason};
use crate::spec::revision_content::{self, RevisionContent};
use crate::spec::valid::{ValidHub, ValidLive, ValidRevision, ValidService};

/// Maximum size of a revision's ControllerRevision. The API server's own limit is 1.5 MiB.
pub const MAX_RECORD_BYTES: usize = 1_000_000;
/// Default of `rollout.drainTimeout`: how long a terminating pod keeps its sessions.
const DRAIN: Duration = Duration::from_mins(5);

/// Validates a spec. The error has everything that is wrong with it.
pub fn accept(snapshot: &Snapshot) -> Result<ValidHub, Vec<Problem>> {
    let spec = &snapshot.hub.spec;
    let mut problems = unsupported::not_supported(spec);
    problems.extend(filtering::recall_of_nothing(spec));
    let revision = collect(revision_part(snapshot), &mut problems);
    let live = collect(live_part(spec, &snapshot.operator), &mut problems);
    match (revision, live) {
        (Some(revision), Some(live)) if problems.is_empty() => Ok(ValidHub { revision, live }),
        _ => Err(problems),
    }
}

fn collect<T>(part: Result<T, Vec<Problem>>, problems: &mut Vec<Problem>) -> Option<T> {
    part.map_err(|found| problems.extend(found)).ok()
}

fn revision_part(snapshot: &Snapshot) -> Result<ValidRevision, Vec<Problem>> {
    let (spec, operator) = (&snapshot.hub.spec, &snapshot.operator);
    let mut problems = Vec::new();
    let pods = collect(pods::pods(spec.pod_template.as_ref()), &mut problems);
    let resources = collect(pods::resources("resources", spec.resources.as_ref()), &mut problems);
    let servers = collect(servers::servers(&spec.servers, &snapshot.config_maps), &mut problems);
    let content = RevisionContent::new(spec, &snapshot.config_maps);
    let (Some(pods), Some(resources), Some(servers), true) =
        (pods, resources, servers, problems.is_empty())
    else {
        return Err(problems);
    };
    Ok(ValidRevision {
        content,
        image: spec.image.clone().unwrap_or_else(|| operator.hub_image.clone()),
        pull_policy: pull_policy(spec, operator),
        pull_secrets: spec.image_pull_secrets.iter().map(|secret| secret.name.clone()).collect(),
        resources,
        pods,
        drain: spec
            .rollout
            .as_ref()
            .and_then(|r| r.drain_timeout.as_ref())
            .map_or(DRAIN, values::Duration::get),
        servers,
        config_maps: revision_content::referenced_config_maps(spec)
            .into_iter()
            .map(|name| (name.clone(), snapshot.config_maps.get(&name).cloned().flatten()))
            .collect(),
        spec: spec.clone(),
    })
}

fn pull_policy(spec: &McpHubSpec, operator: &Operator) -> String {
    let administrators = operator.image_pull_policy.clone().filter(|_| spec.image.is_none());
    let users = spec.image_pull_policy.map(|policy| policy.as_str().to_owned());
    users.or(administrators).unwrap_or_else(|| "IfNotPresent".into())
}

/// The part of a spec that is applied at once. The spec is the one to be accepted, or the last
/// accepted one.
pub fn live_part(spec: &McpHubSpec, operator: &Operator) -> Result<ValidLive, Vec<Problem>> {
    let mut problems = Vec::new();
    let policy = collect(policy(spec, operator), &mut problems);
    let router = spec.router.clone().unwrap_or_default();
    let resources =
        collect(pods::resources("router.resources", router.resources.as_ref()), &mut problems);
    let service =
        spec.expose.as_ref().and_then(|expose| expose.service.clone()).unwrap_or_default();
    problems.extend(pods::own_keys("expose.service.annotations", &service.annotations));
    let (Some(policy), Some(router_resources), true) = (policy, resources, problems.is_empty())
    else {
        return Err(problems);
    };
    Ok(ValidLive {
        policy,
        router_replicas: router.replicas.unwrap_or(2),
        router_resources,
        service: ValidService {
            kind: service.kind.unwrap_or(ServiceType::ClusterIP).as_str(),
            port: service.port.unwrap_or(mcphub_hub_wire::paths::PORT),
            annotations: service.annotations,
        },
    })
}

/// Default of `rollout.prometheus`.
const PROMETHEUS: &str = "main";

fn policy(spec: &McpHubSpec, operator: &Operator) -> Result<Policy, Vec<Problem>> {
    let named = spec.rollout.as_ref().and_then(|rollout| rollout.prometheus.as_deref());
    let name = named.unwrap_or(PROMETHEUS);
    let prometheus = operator.prometheus.get(name).map(|server| (name, server));
    if let (Some(name), None) = (named, prometheus) {
        let known: Vec<_> = operator.prometheus.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let message = format!(
            "rollout.prometheus is \"{name}\", but the operator's settings name {known}; use one \
             of these"
        );
        return Err(vec![Problem::new(Reason::UnknownPrometheus, message)]);
    }
    let filtering = spec.filtering.as_ref();
    let has = HubFeatures {
        llm: filtering.is_some_and(chooses_by_llm),
        golden_questions: filtering.is_some_and(|filtering| !filtering.golden_questions.is_empty()),
    };
    Policy::from_spec(spec.rollout.as_ref(), prometheus, &flags::flags(spec), has).map_err(
        |found| found.iter().map(|problem| Problem::invalid(problem.to_string())).collect(),
    )
}

/// Whether prompts ask a language model. A model that only assigns categories is asked about new
/// tools alone, and a rule would wait for samples in vain.
fn chooses_by_llm(filtering: &Filtering) -> bool {
    let backend = filtering.selector.as_ref().and_then(|selector| selector.backend);
    filtering.llm.is_some() && backend == Some(SelectorBackend::Llm)
}

/// What the probes found that keeps a spec from being accepted.
pub fn refusals(hub: &str, results: &ProbeResults) -> Vec<Problem> {
    let mut problems = taken(hub, results);
    problems.extend(refused(results));
    problems
}

/// Names that somebody else has. Such an object is never touched, and the hub cannot be created
/// beside it.
fn taken(hub: &str, results: &ProbeResults) -> Vec<Problem> {
    let problem = |object: &ObjectName| {
        let ObjectName { kind, name } = object;
        Problem::new(
            Reason::NameTaken,
            format!(
                "{kind} \"{name}\" exists and does not belong to this McpHub; delete it, or rename \
                 the hub \"{hub}\""
            ),
        )
    };
    results.taken.iter().map(problem).collect()
}

/// The API server's messages about pod-shaped fields.
fn refused(results: &ProbeResults) -> Vec<Problem> {
    let problem = |(object, message): (&ObjectName, &String)| {
        Problem::new(
            Reason::PodRefused,
            format!("the API server refuses {} \"{}\": {message}", object.kind, object.name),
        )
    };
    results.refused.iter().map(problem).collect()
}

/// Reports what hub pods would reject in their config, with the hub's own code. Such pods would
/// only crash at start.
pub fn refused_by_hubs(config: &str) -> Vec<Problem> {
    let Err(found) = mcphub_hub_catalog::config::parse(config, &|_| None) else {
        return Vec::new();
    };
    let word = |problem: &mcphub_hub_catalog::config::ConfigError| {
        Problem::invalid(format!("{}: {}", problem.at, problem.message))
    };
    found.0.iter().map(word).collect()
}

/// Reports a revision that does not fit into a ControllerRevision.
pub fn size(record: &Object) -> Option<Problem> {
    let bytes = record.to_value().to_string().len();
    (bytes > MAX_RECORD_BYTES).then(|| {
        Problem::new(
            Reason::TooLarge,
            format!(
                "{} would have {bytes} bytes, but the limit is {MAX_RECORD_BYTES}; use smaller \
                 ConfigMaps, or put large files in a volume",
                format_args!("{} \"{}\"", record.kind(), record.name())
            ),
        )
    })
}
