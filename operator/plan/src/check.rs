//! The checker: what a plan must never do. It shares no code with the planner from which it could
//! inherit a mistake. Instead it looks at the JSON of the objects. A violation is a bug in the
//! operator, and it stops here instead of in the cluster.

use std::collections::{BTreeMap, BTreeSet};

use mcphub_hub_wire::dataplane::MAX_GENERATION;
use serde_json::Value;

use crate::api::{Object, ObjectName, WriteMode};
use crate::plan::Plan;
use crate::probes::ProbeResults;
use crate::snapshot::Snapshot;

/// A rule that a plan violates.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The plan writes although a newer leader has taken over.
    #[error("a superseded operator plans to write {0}")]
    Superseded(String),
    /// An object does not belong to the hub.
    #[error("{object}: {what}")]
    NotOurs { object: String, what: &'static str },
    /// An object is written twice.
    #[error("{0} is planned twice")]
    Twice(String),
    /// Impossible weights.
    #[error("weights: {0}")]
    Weights(String),
    /// A generation that goes back, or that stays while its content changes.
    #[error("generation: {0}")]
    Generation(String),
    /// A write lacks its precondition.
    #[error("{object} needs {what} as a precondition")]
    Precondition { object: String, what: &'static str },
    /// The runtime ConfigMap has another term than this leader.
    #[error("the runtime ConfigMap would carry term {found}, this leader's is {own}")]
    Term {
        /// The term in the plan.
        found: u64,
        /// The term of this leader.
        own: u64,
    },
    /// A live revision would be rendered again.
    #[error("the pod template of {0} is not the recorded one")]
    Rendered(String),
    /// A label with a role or weight. A change of it would touch pods or selectors.
    #[error("{object} has the label {label}")]
    Label { object: String, label: String },
    /// A live revision would lose an object.
    #[error("{0} belongs to a live revision and would be deleted")]
    LiveDeleted(String),
    /// An object would be deleted that is not in the snapshot.
    #[error("{0} would be deleted but is not in the snapshot as named")]
    Unseen(String),
    /// Key material outside a Secret.
    #[error("{0} holds key material")]
    Leak(String),
}

impl Violation {
    /// Label for metrics, from a bounded set.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Superseded(_) => "superseded",
            Self::NotOurs { .. } => "not_ours",
            Self::Twice(_) => "twice",
            Self::Weights(_) => "weights",
            Self::Generation(_) => "generation",
            Self::Precondition { .. } => "precondition",
            Self::Term { .. } => "term",
            Self::Rendered(_) => "rendered",
            Self::Label { .. } => "label",
            Self::LiveDeleted(_) => "live_deleted",
            Self::Unseen(_) => "unseen",
            Self::Leak(_) => "leak",
        }
    }
}

struct Hub<'a> {
    snapshot: &'a Snapshot,
    results: &'a ProbeResults,
    name: &'a str,
    namespace: &'a str,
    uid: &'a str,
}

/// Looks for what a plan must never do. `results` are those that the plan was made with.
pub fn check(plan: &Plan, snapshot: &Snapshot, results: &ProbeResults) -> Result<(), Violation> {
    let meta = &snapshot.hub.metadata;
    let hub = Hub {
        snapshot,
        results,
        name: meta.name.as_deref().unwrap_or_default(),
        namespace: meta.namespace.as_deref().unwrap_or_default(),
        uid: meta.uid.as_deref().unwrap_or_default(),
    };
    if let (true, Some(write)) = (plan.superseded_by.is_some(), plan.objects.first()) {
        return Err(Violation::Superseded(words(&write.object.object_name())));
    }
    let keys = key_material(snapshot);
    let mut seen: BTreeMap<ObjectName, u32> = BTreeMap::new();
    for write in &plan.objects {
        let (name, value) = (write.object.object_name(), write.object.to_value());
        let times = seen.entry(name.clone()).or_default();
        *times += 1;
        // A ControllerRevision is written twice: it is created first, and gets its attempt after
        // the state that says so.
        if *times > if name.kind == "ControllerRevision" { 2 } else { 1 } {
            return Err(Violation::Twice(words(&name)));
        }
        ours(&hub, &name, &value)?;
        labels(&name, &value)?;
        template(&hub, &name, &value)?;
        scale_down(&hub, &name, &value)?;
        if name.kind != "Secret" && keys.iter().any(|key| value.to_string().contains(key)) {
            return Err(Violation::Leak(words(&name)));
        }
        if name.kind == "ConfigMap" && name.name == format!("{}-runtime", hub.name) {
            runtime(&hub, &write.object, write.mode())?;
        }
    }
    deletes(&hub, plan)
}

fn words(object: &ObjectName) -> String {
    format!("{} \"{}\"", object.kind, object.name)
}

fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

fn ours(hub: &Hub<'_>, name: &ObjectName, value: &Value) -> Result<(), Violation> {
    let violation = |what| Err(Violation::NotOurs { object: words(name), what });
    if text(value, "/metadata/namespace") != hub.namespace {
        return violation("is in another namespace than the hub");
    }
    if text(value, "/metadata/ownerReferences/0/uid") != hub.uid {
        return violation("is not owned by the hub");
    }
    if name.name != hub.name && !name.name.starts_with(&format!("{}-", hub.name)) {
        return violation("does not have the hub's name");
    }
    if hub.results.taken.contains(name) || hub.results.unknown_names.contains(name) {
        return violation("belongs to somebody else, as far as anybody can tell");
    }
    Ok(())
}

fn labels(name: &ObjectName, value: &Value) -> Result<(), Violation> {
    let paths = [
        "/metadata/labels",
        "/spec/template/metadata/labels",
        "/spec/selector/matchLabels",
        "/spec/selector",
    ];
    for label in
        paths.iter().filter_map(|path| value.pointer(path)?.as_object()).flat_map(|map| map.keys())
    {
        let known = ["mcphub.dev/hub", "mcphub.dev/revision", "mcphub.dev/server"]
            .contains(&label.as_str());
        if label.starts_with("mcphub.dev/") && !known {
            return Err(Violation::Label { object: words(name), label: label.clone() });
        }
    }
    Ok(())
}

/// A revision with a ControllerRevision must run what is recorded there.
fn template(hub: &Hub<'_>, name: &ObjectName, value: &Value) -> Result<(), Violation> {
    let (kind, field) = match name.kind {
        "Deployment" => ("deployment", "/spec/template"),
        "ConfigMap" => ("config", "/data"),
        _ => return Ok(()),
    };
    let Some(revision) = hub.snapshot.objects.controller_revisions.get(&name.name) else {
        return Ok(());
    };
    let data = revision.data.as_ref().map(|data| &data.0);
    let recorded = data.and_then(|data| data.get(kind)?.pointer(field));
    if recorded != value.pointer(field) {
        return Err(Violation::Rendered(words(name)));
    }
    Ok(())
}

fn scale_down(hub: &Hub<'_>, name: &ObjectName, value: &Value) -> Result<(), Violation> {
    let live =
        hub.snapshot.objects.deployments.get(&name.name).filter(|_| name.kind == "Deployment");
    let before = live.and_then(|live| live.spec.as_ref()?.replicas).map(i64::from);
    let after = value.pointer("/spec/replicas").and_then(Value::as_i64);
    let fewer = before.zip(after).is_some_and(|(before, after)| after < before);
    if fewer && text(value, "/metadata/resourceVersion").is_empty() {
        return Err(Violation::Precondition {
            object: words(name),
            what: "its resourceVersion (it is scaled down)",
        });
    }
    Ok(())
}

fn runtime(hub: &Hub<'_>, object: &Object, mode: WriteMode) -> Result<(), Violation> {
    let value = object.to_value();
    let name = object.object_name();
    let there = hub.snapshot.objects.config_maps.get(&name.name);
    match there.and_then(|there| there.metadata.resource_version.as_deref()) {
        Some(version) if text(&value, "/metadata/resourceVersion") != version => {
            return Err(Violation::Precondition {
                object: words(&name),
                what: "the resourceVersion that was seen",
            });
        }
        None if there.is_none() && mode != WriteMode::Create => {
            return Err(Violation::Precondition {
                object: words(&name),
                what: "that it does not exist yet",
            });
        }
        _ => {}
    }
    let parse = |file: &str| {
        value
            .pointer("/data")?
            .get(file)?
            .as_str()
            .and_then(|text| serde_json::from_str::<Value>(text).ok())
    };
    let own = hub.snapshot.operator.term;
    let found =
        parse("engine.json").and_then(|engine| engine.get("term")?.as_u64()).unwrap_or_default();
    if found != own {
        return Err(Violation::Term { found, own });
    }
    let Some(dataplane) = parse("dataplane.json") else { return Ok(()) };
    weights(&dataplane)?;
    let before = there.and_then(|there| there.data.as_ref()?.get("dataplane.json").cloned());
    let before = before.and_then(|text| serde_json::from_str::<Value>(&text).ok());
    let Some(before) = before else { return Ok(()) };
    let serves = |revision: &str| {
        let name = format!("{}-r-{revision}", hub.name);
        hub.snapshot.objects.deployments.contains_key(&name)
    };
    let somebody_served = with_weight(&before).any(serves);
    if somebody_served && with_weight(&dataplane).next().is_none() {
        return Err(Violation::Weights("a revision served, and none would".into()));
    }
    generation(&before, &dataplane)
}

/// Revisions that get new traffic.
fn with_weight(dataplane: &Value) -> impl Iterator<Item = &str> {
    let revisions = dataplane.get("revisions").and_then(Value::as_object).into_iter().flatten();
    let weight = |state: &Value| state.get("weight").and_then(Value::as_u64).unwrap_or_default();
    revisions.filter(move |(_, state)| weight(state) > 0).map(|(revision, _)| revision.as_str())
}

fn weights(dataplane: &Value) -> Result<(), Violation> {
    let revisions = dataplane.get("revisions").and_then(Value::as_object);
    let weight = |state: &Value| state.get("weight").and_then(Value::as_u64).unwrap_or(u64::MAX);
    let all: Vec<(&str, u64)> = revisions
        .into_iter()
        .flatten()
        .map(|(_, state)| (text(state, "/role"), weight(state)))
        .collect();
    let sum = all.iter().fold(0_u64, |sum, (_, weight)| sum.saturating_add(*weight));
    if sum != 100 && sum != 0 {
        return Err(Violation::Weights(format!("they sum to {sum}")));
    }
    if all.iter().any(|(role, weight)| *role == "failed" && *weight > 0) {
        return Err(Violation::Weights("a failed revision has one".into()));
    }
    if all.len() > 4 {
        return Err(Violation::Weights(format!("{} revisions are live, four may be", all.len())));
    }
    Ok(())
}

fn generation(before: &Value, after: &Value) -> Result<(), Violation> {
    let number =
        |value: &Value| value.get("generation").and_then(Value::as_u64).unwrap_or_default();
    let (old, new) = (number(before), number(after));
    if old > MAX_GENERATION {
        // Pods do not obey it.
        return Ok(());
    }
    if new < old {
        return Err(Violation::Generation(format!("{new} comes after {old}")));
    }
    if new == old && before.get("revisions") != after.get("revisions") {
        return Err(Violation::Generation(format!("revisions change, but it stays {new}")));
    }
    Ok(())
}

fn deletes(hub: &Hub<'_>, plan: &Plan) -> Result<(), Violation> {
    let runtime = format!("{}-runtime", hub.name);
    let live = plan
        .objects
        .iter()
        .find(|write| write.object.name() == runtime && write.object.kind() == "ConfigMap");
    let live = live.and_then(|write| {
        let value = write.object.to_value();
        let dataplane =
            serde_json::from_str::<Value>(value.pointer("/data")?.get("dataplane.json")?.as_str()?)
                .ok()?;
        Some(dataplane.get("revisions")?.as_object()?.keys().cloned().collect::<BTreeSet<String>>())
    });
    let live = live.unwrap_or_default();
    let serving = hub.snapshot.objects.config_maps.get(&runtime).and_then(|map| {
        let dataplane = map.data.as_ref()?.get("dataplane.json")?;
        let dataplane = serde_json::from_str::<Value>(dataplane).ok()?;
        Some(with_weight(&dataplane).map(ToOwned::to_owned).collect::<BTreeSet<_>>())
    });
    let serving = serving.unwrap_or_default();
    let there: BTreeMap<ObjectName, Object> =
        hub.snapshot.objects.all().map(|object| (object.object_name(), object)).collect();
    for delete in &plan.deletes {
        let seen = there.get(&delete.object).map(Object::meta);
        let exact = seen.is_some_and(|meta| {
            meta.uid.as_deref() == Some(&delete.uid)
                && meta.resource_version.as_deref() == Some(&delete.resource_version)
        });
        if !exact {
            return Err(Violation::Unseen(words(&delete.object)));
        }
        let revision = delete.object.name.strip_prefix(&format!("{}-r-", hub.name));
        let replaced = delete.object.kind != "Deployment" && plan.next == crate::next::Next::Now;
        // Pods obey what is there until the write of this plan, and some obey it later.
        let serves = delete.object.kind == "Deployment"
            && revision.is_some_and(|revision| serving.contains(revision));
        if (serves || revision.is_some_and(|revision| live.contains(revision)))
            && !replaced
            && !reselected(hub, &delete.object.name)
        {
            return Err(Violation::LiveDeleted(words(&delete.object)));
        }
    }
    Ok(())
}

/// Somebody recreated the Deployment with another selector. It cannot be repaired in place.
fn reselected(hub: &Hub<'_>, name: &str) -> bool {
    let selector = hub.snapshot.objects.deployments.get(name).and_then(|live| live.spec.as_ref());
    let recorded =
        hub.snapshot.objects.controller_revisions.get(name).and_then(|object| object.data.as_ref());
    let recorded = recorded.and_then(|data| data.0.pointer("/deployment/spec/selector"));
    let live = selector.and_then(|spec| serde_json::to_value(&spec.selector).ok());
    recorded.is_some() && live.as_ref() != recorded
}

/// The hub's keys as they appear in its Secret.
fn key_material(snapshot: &Snapshot) -> Vec<String> {
    let uid = snapshot.hub.metadata.uid.as_deref().unwrap_or_default();
    let engine = snapshot
        .objects
        .config_maps
        .values()
        .find_map(|map| map.data.as_ref()?.get("engine.json").cloned());
    let engine = engine.and_then(|text| serde_json::from_str::<Value>(&text).ok());
    let serial = engine.and_then(|engine| engine.get("keySerial")?.as_u64()).unwrap_or(1);
    let ring = snapshot.operator.master_key.ring(uid, u32::try_from(serial).unwrap_or(1));
    let tokens: Vec<String> = ring.iter().map(mcphub_hub_wire::keys::HubKey::admin_token).collect();
    let value = serde_json::to_value(&ring).unwrap_or_default();
    let entries = value.as_array().into_iter().flatten();
    entries
        .filter_map(|entry| entry.get("key")?.as_str().map(ToOwned::to_owned))
        .chain(tokens)
        .collect()
}
