//! Compares live objects with desired ones: whether an apply is due, and what others added.

use serde_json::{Value, json};

use crate::api::{Object, canonical};

/// Annotation on every object: hash of what was applied. A field that is not applied any more
/// leaves no trace in the desired object. The hash still shows that an apply is due.
pub const APPLIED: &str = "mcphub.dev/applied";

/// Adds the hash to an object. Secrets get none, because nothing that is derived from a key may
/// leave a Secret.
pub fn stamp(object: &mut Object) {
    if matches!(object, Object::Secret(_)) {
        return;
    }
    if let Some(annotations) = &mut object.meta_mut().annotations {
        annotations.remove(APPLIED);
    }
    let hash = canonical::hash8(&object.to_value());
    object.meta_mut().annotations.get_or_insert_default().insert(APPLIED.into(), hash);
}

/// Whether `live` differs from `ours` in a field that we set, so that an apply is due. Fields that
/// the API server fills in do not count.
pub fn differs(live: &Object, ours: &Object) -> bool {
    let (live, mut ours) = (live.to_value(), ours.to_value());
    if let Some(meta) = ours.get_mut("metadata").and_then(Value::as_object_mut) {
        // These are preconditions, not part of the desired object.
        meta.remove("resourceVersion");
        meta.remove("uid");
    }
    !covers(&live, &ours, "")
}

/// Whether the API server would reject an apply of `ours` because an immutable field of `live`
/// differs. The live object must be deleted first.
pub fn unpatchable(live: &Object, ours: &Object) -> bool {
    match (live, ours) {
        (Object::ConfigMap(live), Object::ConfigMap(ours)) => {
            live.immutable == Some(true)
                && (live.data != ours.data
                    || live.binary_data != ours.binary_data
                    || ours.immutable != Some(true))
        }
        (Object::ControllerRevision(live), Object::ControllerRevision(ours)) => {
            live.data != ours.data
        }
        (Object::Deployment(live), Object::Deployment(ours)) => {
            let selector =
                |spec: &k8s_openapi::api::apps::v1::DeploymentSpec| spec.selector.clone();
            live.spec.as_ref().map(selector) != ours.spec.as_ref().map(selector)
        }
        (Object::RoleBinding(live), Object::RoleBinding(ours)) => live.role_ref != ours.role_ref,
        _ => false,
    }
}

/// The keys that identify entries of a list; `None` if the position does.
fn merge_keys(list: &str) -> Option<&'static [&'static str]> {
    Some(match list {
        "containers" | "initContainers" | "env" | "volumes" | "imagePullSecrets" => &["name"],
        "ports" => &["containerPort", "port", "protocol"],
        "volumeMounts" => &["mountPath"],
        "ownerReferences" => &["uid"],
        "topologySpreadConstraints" => &["topologyKey", "whenUnsatisfiable"],
        _ => return None,
    })
}

fn same_entry(a: &Value, b: &Value, keys: &[&str]) -> bool {
    keys.iter().all(|key| a.get(key) == b.get(key))
}

fn covers(live: &Value, ours: &Value, field: &str) -> bool {
    match (live, ours) {
        (_, Value::Null) => true,
        (Value::Null, Value::Object(map)) => map.is_empty(),
        (Value::Null, Value::Array(list)) => list.is_empty(),
        // The API server omits the field if it is false. Without this case every reconcile would
        // write every Service.
        (Value::Null, Value::Bool(false)) => field == "publishNotReadyAddresses",
        // This is an immutable blob, so all of it is compared.
        (live, ours) if field == "data" && ours.get("schema").is_some() => live == ours,
        // This is one value, not a map of fields: one more label would select other pods.
        (live, ours)
            if matches!(field, "selector" | "matchLabels" | "nodeSelector") && is_texts(ours) =>
        {
            live == ours
        }
        (Value::Object(live), Value::Object(ours)) => ours.iter().all(|(key, ours)| {
            let live = live.get(key).unwrap_or(&Value::Null);
            if is_quantities(field) { same_quantity(live, ours) } else { covers(live, ours, key) }
        }),
        (Value::Array(live), Value::Array(ours)) => match merge_keys(field) {
            Some(keys) => ours.iter().all(|ours| {
                live.iter().any(|live| same_entry(live, ours, keys) && covers(live, ours, ""))
            }),
            None => {
                live.len() == ours.len()
                    && live.iter().zip(ours).all(|(live, ours)| covers(live, ours, ""))
            }
        },
        (live, ours) => live == ours,
    }
}

fn is_texts(value: &Value) -> bool {
    value.as_object().is_some_and(|map| map.values().all(Value::is_string))
}

fn is_quantities(field: &str) -> bool {
    matches!(field, "limits" | "requests")
}

/// The API server normalizes quantities: `0.5` becomes `500m`, `1024Mi` becomes `1Gi`.
fn same_quantity(live: &Value, ours: &Value) -> bool {
    let read = |value: &Value| value.as_str().and_then(quantity);
    live == ours
        || read(live)
            .zip(read(ours))
            .is_some_and(|(live, ours)| (live - ours).abs() <= ours.abs() * 1e-12)
}

fn quantity(text: &str) -> Option<f64> {
    let split = text
        .find(|c: char| c.is_ascii_alphabetic() && !matches!(c, 'e' | 'E'))
        .unwrap_or(text.len());
    // `E` is both exa and exponent. At the end it is exa.
    let split = if text.ends_with('E') { text.len() - 1 } else { split };
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1024.0_f64.powi(4),
        "Pi" => 1024.0_f64.powi(5),
        "Ei" => 1024.0_f64.powi(6),
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

/// Entries that others added to our lists: containers, initContainers, env, volumes and ports of a
/// Deployment, ports of a Service, rules of a Role. The result is one JSON patch with a
/// resourceVersion test; `None` if there are no such entries.
pub fn strays(live: &Object, ours: &Object) -> Option<Value> {
    let (live, ours) = (live.to_value(), ours.to_value());
    let mut removals = Vec::new();
    match live.get("kind").and_then(Value::as_str) {
        Some("Deployment") => pod_strays(&live, &ours, "/spec/template/spec", &mut removals),
        Some("Service") => list_strays(&live, &ours, "/spec/ports", "ports", &mut removals),
        Some("Role") => list_strays(&live, &ours, "/rules", "rules", &mut removals),
        _ => {}
    }
    if removals.is_empty() {
        return None;
    }
    let version = live.pointer("/metadata/resourceVersion").cloned().unwrap_or_default();
    let test = json!({"op": "test", "path": "/metadata/resourceVersion", "value": version});
    let removals = removals.into_iter().map(|path| json!({"op": "remove", "path": path}));
    Some(Value::Array(std::iter::once(test).chain(removals).collect()))
}

/// The deepest and last entries come first, so that no removal shifts an entry that a later one
/// names.
fn pod_strays(live: &Value, ours: &Value, spec: &str, removals: &mut Vec<String>) {
    for list in ["containers", "initContainers"] {
        let path = format!("{spec}/{list}");
        for (at, name) in names(live, &path) {
            let Some(mine) = names(ours, &path)
                .into_iter()
                .find(|(_, mine)| *mine == name)
                .map(|(mine, _)| mine)
            else {
                continue;
            };
            for inner in ["env", "ports", "volumeMounts"] {
                let there = live.pointer(&format!("{path}/{at}/{inner}"));
                let wanted = ours.pointer(&format!("{path}/{mine}/{inner}"));
                removals.extend(
                    extra(there, wanted, inner).map(|extra| format!("{path}/{at}/{inner}/{extra}")),
                );
            }
        }
        list_strays(live, ours, &path, list, removals);
    }
    list_strays(live, ours, &format!("{spec}/volumes"), "volumes", removals);
}

fn names<'a>(object: &'a Value, path: &str) -> Vec<(usize, &'a str)> {
    let list = object.pointer(path).and_then(Value::as_array);
    let named = list.into_iter().flatten().enumerate();
    named
        .map(|(at, entry)| (at, entry.get("name").and_then(Value::as_str).unwrap_or_default()))
        .collect()
}

fn list_strays(live: &Value, ours: &Value, path: &str, list: &str, removals: &mut Vec<String>) {
    let found = extra(live.pointer(path), ours.pointer(path), list);
    removals.extend(found.map(|extra| format!("{path}/{extra}")));
}

/// Positions of entries that are not ours, from last to first.
fn extra<'a>(
    live: Option<&'a Value>,
    ours: Option<&'a Value>,
    list: &'a str,
) -> impl Iterator<Item = usize> + 'a {
    let live = live.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let ours = ours.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let known = move |entry: &Value| match merge_keys(list) {
        Some(keys) => ours.iter().any(|ours| same_entry(entry, ours, keys)),
        None => ours.iter().any(|ours| covers(entry, ours, "")),
    };
    live.iter().enumerate().rev().filter(move |(_, entry)| !known(entry)).map(|(at, _)| at)
}
