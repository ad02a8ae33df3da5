//! The generated files are up to date, and the CRD has the properties that users rely on.

use mcphub_crds::crd::{all_rules, at, crd, yaml};
use mcphub_crds::reference::markdown;
use serde_json::Value;

fn schema() -> Value {
    crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

/// Visits every part of a schema with its path.
fn walk(path: &str, schema: &Value, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, schema);
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), field, visit);
    }
    for (key, sign) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(inner) = schema.get(key) {
            walk(&format!("{path}{sign}"), inner, visit);
        }
    }
}

#[test]
fn the_committed_crd_is_the_generated_one() {
    assert!(
        include_str!("../mcphubs.yaml") == yaml().unwrap(),
        "crds/mcphubs.yaml is out of date; run `make generate`"
    );
}

#[test]
fn the_committed_reference_is_the_generated_one() {
    assert!(
        include_str!("../../docs/reference.md") == markdown(),
        "docs/reference.md is out of date; run `make generate`"
    );
}

// A client-side `kubectl apply` stores the object in an annotation of at most 256 KiB.
#[test]
fn the_crd_is_smaller_than_200_kb() {
    let size = yaml().unwrap().len();
    assert!(size < 200_000, "{size} bytes");
}

// With a default in the schema, an upgrade of the CRD would change the hash of what the user wrote.
#[test]
fn replicas_is_the_only_default() {
    let mut defaults = Vec::new();
    walk("", &schema(), &mut |path, part| {
        if let Some(default) = part.get("default") {
            defaults.push(format!("{path}={default}"));
        }
    });
    assert_eq!(defaults, [".spec.replicas=2"]);
}

// One string without a maximum makes the API server reject the whole CRD, because of the estimated
// cost of its rules.
#[test]
fn every_list_map_and_string_of_the_spec_has_a_maximum() {
    let mut unbounded = Vec::new();
    walk("spec", &schema()["properties"]["spec"], &mut |path, part| {
        let key = match part["type"].as_str() {
            Some("string") if part.get("enum").is_none() => "maxLength",
            Some("array") => "maxItems",
            Some("object") if part.get("additionalProperties").is_some() => "maxProperties",
            _ => return,
        };
        if part.get(key).is_none() {
            unbounded.push(path.to_owned());
        }
    });
    assert_eq!(unbounded, [""; 0]);
}

// At every apply, the API server warns about formats that it does not know.
#[test]
fn every_field_has_a_format_of_kubernetes_and_a_description_in_full_sentences() {
    walk("", &schema(), &mut |path, part| {
        let format = part["format"].as_str().unwrap_or("int32");
        assert!(["int32", "int64", "date-time"].contains(&format), "{path}: {format}");
        assert_eq!(part.get("nullable"), None, "{path}");
        for (name, field) in part["properties"].as_object().into_iter().flatten() {
            let shaped = part.get("x-kubernetes-preserve-unknown-fields").is_some();
            let described = shaped || !field["description"].as_str().unwrap_or_default().is_empty();
            assert!(
                described || (path.is_empty() && name == "spec"),
                "{path}.{name} has no description"
            );
            let description = field["description"].as_str().unwrap_or("A sentence.");
            assert!(description.ends_with('.'), "{path}.{name}: {description}");
            assert!(!description.contains('\n'), "{path}.{name}: {description}");
        }
    });
}

// A rule whose path no longer exists would reject nothing, and nobody would notice.
#[test]
fn every_rule_has_its_place_and_a_message_of_its_own() {
    let mut schema = schema();
    let mut messages = Vec::new();
    for rule in all_rules() {
        let place =
            at(&mut schema, &rule.at).unwrap_or_else(|| panic!("no {} in the schema", rule.at));
        assert!(
            rule.field.is_empty() || place["properties"].get(&rule.field).is_some(),
            "{}.{}",
            rule.at,
            rule.field
        );
        assert!(
            !messages.contains(&rule.message),
            "two rules have the same message: {}",
            rule.message
        );
        messages.push(rule.message);
    }
}
