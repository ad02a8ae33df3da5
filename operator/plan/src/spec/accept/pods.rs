//! Pod-shaped fields. The resource keeps them as they were written, and they are typed here.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use mcphub_crds::pods::{PodTemplate, Resources};
use mcphub_crds::values::{PodShaped, Shape};
use serde::Serialize;
use serde_json::Value;

use crate::api::labels::DOMAIN;
use crate::spec::problem::Problem;
use crate::spec::valid::ValidPods;

pub(super) fn pods(template: Option<&PodTemplate>) -> Result<ValidPods, Vec<Problem>> {
    let PodTemplate {
        labels,
        annotations,
        node_selector,
        tolerations,
        affinity,
        topology_spread_constraints,
        priority_class_name,
        service_account_name,
    } = template.cloned().unwrap_or_default();
    let mut problems = own_keys("podTemplate.labels", &labels);
    problems.extend(own_keys("podTemplate.annotations", &annotations));
    let tolerations = list("podTemplate.tolerations", &tolerations, &mut problems);
    let spread =
        list("podTemplate.topologySpreadConstraints", &topology_spread_constraints, &mut problems);
    let affinity = affinity.and_then(|value| one("podTemplate.affinity", &value, &mut problems));
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(ValidPods {
        labels,
        annotations,
        node_selector,
        tolerations,
        affinity,
        spread,
        priority_class: priority_class_name,
        service_account: service_account_name,
    })
}

pub(super) fn resources(
    field: &str,
    value: Option<&Resources>,
) -> Result<Option<ResourceRequirements>, Vec<Problem>> {
    let mut problems = Vec::new();
    let resources = value.and_then(|value| one(field, value, &mut problems));
    if problems.is_empty() { Ok(resources) } else { Err(problems) }
}

/// Reports labels and annotations that the operator sets itself. Selectors and scraping depend on
/// them.
pub(super) fn own_keys(field: &str, keys: &BTreeMap<String, String>) -> Vec<Problem> {
    let ours = |key: &str| {
        [DOMAIN, "app.kubernetes.io/", "prometheus.io/"].iter().any(|own| key.starts_with(own))
    };
    let word = |key: &String| {
        Problem::invalid(format!("{field}[\"{key}\"] is set by the operator; remove it"))
    };
    keys.keys().filter(|key| ours(key)).map(word).collect()
}

/// Types every entry, and adds what is wrong to `problems`.
pub(super) fn list<T: Shape + Serialize>(
    field: &str,
    values: &[PodShaped<T>],
    problems: &mut Vec<Problem>,
) -> Vec<T> {
    let typed = |(at, value)| one(&format!("{field}[{at}]"), value, problems);
    values.iter().enumerate().filter_map(typed).collect()
}

/// Types the value, and adds what is wrong to `problems`.
pub(super) fn one<T: Shape + Serialize>(
    field: &str,
    value: &PodShaped<T>,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    match value.typed(field) {
        Err(error) => {
            problems.push(Problem::invalid(error.to_string()));
            None
        }
        Ok(typed) => {
            let read = serde_json::to_value(&typed).unwrap_or_default();
            let lost = lost(value.as_value(), &read, field);
            // A misspelled field would be dropped silently: the type does not have it, so it would
            // never reach the API server.
            problems.extend(
                lost.iter()
                    .map(|path| Problem::invalid(format!("{path}: Kubernetes has no such field"))),
            );
            lost.is_empty().then_some(typed)
        }
    }
}

fn lost(written: &Value, read: &Value, path: &str) -> Vec<String> {
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => written
            .iter()
            .filter(|(_, value)| !is_empty(value))
            .flat_map(|(key, value)| match read.get(key) {
                Some(read) => lost(value, read, &format!("{path}.{key}")),
                None => vec![format!("{path}.{key}")],
            })
            .collect(),
        (Value::Array(written), Value::Array(read)) => written
            .iter()
            .zip(read)
            .enumerate()
            .flat_map(|(at, (written, read))| lost(written, read, &format!("{path}[{at}]")))
            .collect(),
        _ => Vec::new(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}
