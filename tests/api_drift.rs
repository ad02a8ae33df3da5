//! Changes that people make to the objects of a hub by hand are undone within 5 s.

use std::time::Duration;

use anyhow::{Context as _, Result};
use mcphub_tests::wait::{PATIENCE, limit, until};
use serde_json::{Value, json};

use crate::api_operator::{apply_hub, settled};
use crate::api_replica::Installation;
use crate::plane;

/// The limit for a repair.
fn repair() -> Duration {
    limit(Duration::from_secs(5))
}

/// `None` if there is no such object.
async fn object(installed: &Installation, child: &str) -> Option<Value> {
    let text =
        installed.plane.kubectl(["-n", &installed.hubs, "get", child, "-o", "json"]).await.ok()?;
    serde_json::from_str(&text).ok()
}

async fn patch(installed: &Installation, child: &str, kind: &str, patch: &Value) -> Result<()> {
    let (kind, patch) = (format!("--type={kind}"), patch.to_string());
    installed
        .plane
        .kubectl(["-n", &installed.hubs, "patch", child, &kind, "--patch", &patch])
        .await?;
    Ok(())
}

/// The objects of the hub that the operator can read.
async fn readable(installed: &Installation) -> Result<Vec<String>> {
    let mut objects = installed.objects().await?;
    objects.retain(|object| !object.starts_with("Secret/"));
    Ok(objects)
}

#[tokio::test]
async fn every_object_that_is_deleted_is_created_again() -> Result<()> {
    let installed = Installation::new(plane().await?, "deleted").await?;
    let replica = installed.start("operator-0").await?;
    apply_hub(&installed).await?;
    settled(&installed, &replica).await?;
    let objects = readable(&installed).await?;
    assert!(objects.len() > 15, "{objects:?}");
    for name in objects {
        let uid = object(&installed, &name).await.with_context(|| name.clone())?["metadata"]["uid"]
            .clone();
        installed.plane.kubectl(["-n", &installed.hubs, "delete", &name]).await?;
        let back = async || {
            object(&installed, &name).await.is_some_and(|object| object["metadata"]["uid"] != uid)
        };
        until(&format!("{name} is back"), repair(), back).await.with_context(|| replica.tail())?;
    }
    replica.nothing_was_forbidden()
}

#[tokio::test]
async fn every_edited_object_is_restored() -> Result<()> {
    let installed = Installation::new(plane().await?, "edited").await?;
    let replica = installed.start("operator-0").await?;
    apply_hub(&installed).await?;
    settled(&installed, &replica).await?;
    let part_of =
        |object: &Value| object["metadata"]["labels"]["app.kubernetes.io/part-of"].clone();
    for name in readable(&installed).await? {
        // One of these labels selects what the operator watches. It must still notice the change.
        let labels =
            json!({"app.kubernetes.io/part-of": "else", "app.kubernetes.io/managed-by": "me"});
        patch(&installed, &name, "merge", &json!({"metadata": {"labels": labels}})).await?;
        let back = async || {
            object(&installed, &name).await.is_some_and(|object| part_of(&object) == "mcphub")
        };
        until(&format!("{name} is restored"), repair(), back)
            .await
            .with_context(|| replica.tail())?;
    }
    let replicas = json!({"spec": {"replicas": 7}});
    patch(&installed, "deployment/team-router", "merge", &replicas).await?;
    let two = async || {
        object(&installed, "deployment/team-router")
            .await
            .is_some_and(|o| o["spec"]["replicas"] == 2)
    };
    until("the router's replicas are restored", repair(), two)
        .await
        .with_context(|| replica.tail())?;
    Ok(())
}

// The operator has no right to read Secrets, so every reconcile must write them.
#[tokio::test]
async fn a_deleted_or_edited_secret_with_keys_is_restored_by_the_next_reconcile() -> Result<()> {
    let installed = Installation::new(plane().await?, "keys").await?;
    let replica = installed.start("operator-0").await?;
    apply_hub(&installed).await?;
    settled(&installed, &replica).await?;
    let keys = async || {
        object(&installed, "secret/team-keys").await.map(|mut secret| secret["data"].take())
    };
    let before = keys().await.context("no secret/team-keys")?;
    let back = async |touch: &str| {
        let touch = format!("example.com/touched={touch}");
        installed
            .plane
            .kubectl(["-n", &installed.hubs, "annotate", "hub", "team", "--overwrite", &touch])
            .await?;
        let same = async || keys().await.as_ref() == Some(&before);
        until("the keys are back", repair() * 2, same).await.with_context(|| replica.tail())
    };
    installed.plane.kubectl(["-n", &installed.hubs, "delete", "secret", "team-keys"]).await?;
    back("deleted").await?;
    patch(&installed, "secret/team-keys", "merge", &json!({"stringData": {"keys.json": "[]"}}))
        .await?;
    back("edited").await?;
    replica.nothing_was_forbidden()
}

#[tokio::test]
async fn entries_that_others_add_to_our_lists_are_removed() -> Result<()> {
    let installed = Installation::new(plane().await?, "strays").await?;
    let replica = installed.start("operator-0").await?;
    apply_hub(&installed).await?;
    settled(&installed, &replica).await?;
    let sidecar = json!([
        {
            "op": "add", "path": "/spec/template/spec/containers/-",
            "value": {"name": "spy", "image": "spy:1"},
        },
    ]);
    let env = json!([
        {
            "op": "add", "path": "/spec/template/spec/containers/0/env/-",
            "value": {"name": "SPY", "value": "1"},
        },
    ]);
    let port =
        json!([{"op": "add", "path": "/spec/ports/-", "value": {"name": "spy", "port": 1234}}]);
    let rule = json!([
        {
            "op": "add", "path": "/rules/-",
            "value": {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]},
        },
    ]);
    for (child, what) in [
        ("deployment/team-router", sidecar),
        ("deployment/team-router", env),
        ("service/team", port),
        ("role/team", rule),
    ] {
        patch(&installed, child, "json", &what).await?;
        let added = &what[0]["value"];
        let needle = added["name"].as_str().unwrap_or("secrets").to_owned();
        let gone = async || {
            object(&installed, child).await.is_some_and(|mut object| {
                object["metadata"] = Value::Null;
                !object.to_string().contains(&format!("\"{needle}\""))
            })
        };
        until(&format!("{added} is gone from {child}"), repair(), gone)
            .await
            .with_context(|| replica.tail())?;
    }
    Ok(())
}

/// A policy that refuses every update of a Deployment in the namespace that removes containers.
fn keeps_containers(namespace: &str) -> Value {
    let name = format!("keeps-containers-{namespace}");
    let containers = |object: &str| format!("{object}.spec.template.spec.containers.size()");
    let object = |kind: &str, spec: Value| {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
            "metadata": {"name": name}, "spec": spec,
        })
    };
    let updates = json!({
        "apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"],
        "resources": ["deployments"],
    });
    let policy = json!({
        "matchConstraints": {"resourceRules": [updates]},
        "matchConditions": [
            {"name": "here", "expression": format!("request.namespace == '{namespace}'")},
        ],
        "validations": [
            {"expression": format!("{} >= {}", containers("object"), containers("oldObject"))},
        ],
    });
    let binding = json!({"policyName": name, "validationActions": ["Deny"]});
    json!({"apiVersion": "v1", "kind": "List", "items": [
        object("ValidatingAdmissionPolicy", policy),
        object("ValidatingAdmissionPolicyBinding", binding),
    ]})
}

/// Waits until the policy is enforced, which it is some moments after it was created.
async fn enforced(installed: &Installation) -> Result<()> {
    let containers = json!([{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]);
    let labels = json!({"app": "probe"});
    let spec = json!({
        "replicas": 0, "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
    });
    let probe = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "probe"}, "spec": spec,
    });
    installed.apply(&probe).await?;
    let less = json!([{"op": "remove", "path": "/spec/template/spec/containers/1"}]);
    let refused = async || {
        let (namespace, less) = (["-n", &installed.hubs], less.to_string());
        let patch =
            ["patch", "deployment/probe", "--type=json", "--dry-run=server", "--patch", &less];
        installed.plane.kubectl([&namespace[..], &patch[..]].concat()).await.is_err()
    };
    until("the policy is enforced", PATIENCE, refused).await?;
    Ok(())
}

// Otherwise the operator would retry whenever the object changes, and nobody would know.
#[tokio::test]
async fn a_policy_that_protects_a_foreign_container_is_reported_in_an_event() -> Result<()> {
    let installed = Installation::new(plane().await?, "protected").await?;
    let replica = installed.start("operator-0").await?;
    apply_hub(&installed).await?;
    settled(&installed, &replica).await?;
    installed.apply(&keeps_containers(&installed.hubs)).await?;
    enforced(&installed).await?;
    let sidecar = json!([
        {
            "op": "add", "path": "/spec/template/spec/containers/-",
            "value": {"name": "spy", "image": "spy:1"},
        },
    ]);
    patch(&installed, "deployment/team-router", "json", &sidecar).await?;
    let reported = async || {
        let events =
            installed.plane.kubectl(["-n", &installed.hubs, "get", "events", "-o", "json"]).await;
        events.is_ok_and(|events| {
            events.contains("DriftContested") && events.contains("keeps-containers")
        })
    };
    until("an event names the policy", repair(), reported).await.with_context(|| replica.tail())?;
    Ok(())
}
