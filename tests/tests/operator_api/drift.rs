//! What people do to children by hand is undone within 5 s.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::replica::{Installed, eventually};
use super::{apply_hub, plane, settled};

const LIMIT: Duration = Duration::from_secs(5);

/// `None` where there is no such object.
async fn object(installed: &Installed, child: &str) -> Option<Value> {
    let text =
        installed.plane.kubectl(["-n", &installed.hubs, "get", child, "-o", "json"]).await.ok()?;
    serde_json::from_str(&text).ok()
}

async fn patch(installed: &Installed, child: &str, kind: &str, patch: &Value) -> Result<()> {
    let (kind, patch) = (format!("--type={kind}"), patch.to_string());
    installed
        .plane
        .kubectl(["-n", &installed.hubs, "patch", child, &kind, "--patch", &patch])
        .await?;
    Ok(())
}

/// Children of every kind that the operator can read.
async fn readable(installed: &Installed) -> Result<Vec<String>> {
    let mut children = installed.children().await?;
    children.retain(|child| !child.starts_with("Secret/"));
    Ok(children)
}

#[tokio::test]
async fn every_child_that_is_deleted_is_made_again() -> Result<()> {
    let installed = Installed::new(plane().await?, "deleted").await?;
    let replica = installed.start("operator-0").await?;
    apply_hub(&installed).await?;
    settled(&installed, &replica).await?;
    let children = readable(&installed).await?;
    assert!(children.len() > 15, "{children:?}");
    for child in children {
        let uid =
            object(&installed, &child).await.with_context(|| child.clone())?["metadata"]["uid"]
                .clone();
        installed.plane.kubectl(["-n", &installed.hubs, "delete", &child]).await?;
        let back = async || {
            object(&installed, &child).await.is_some_and(|object| object["metadata"]["uid"] != uid)
        };
        eventually(&format!("{child} is back"), LIMIT, back)
            .await
            .with_context(|| replica.tail())?;
    }
    replica.nothing_was_forbidden()
}

#[tokio::test]
async fn every_child_that_is_edited_is_put_back() -> Result<()> {
    let installed = Installed::new(plane().await?, "edited").await?;
    let replica = installed.start("operator-0").await?;
    apply_hub(&installed).await?;
    settled(&installed, &replica).await?;
    let part_of =
        |object: &Value| object["metadata"]["labels"]["app.kubernetes.io/part-of"].clone();
    for child in readable(&installed).await? {
        // Its label by which it is watched, too: it must not be lost from sight.
        let labels =
            json!({"app.kubernetes.io/part-of": "else", "app.kubernetes.io/managed-by": "me"});
        patch(&installed, &child, "merge", &json!({"metadata": {"labels": labels}})).await?;
        let back = async || {
            object(&installed, &child).await.is_some_and(|object| part_of(&object) == "mcphub")
        };
        eventually(&format!("{child} is put back"), LIMIT, back)
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
    eventually("the router's replicas are put back", LIMIT, two)
        .await
        .with_context(|| replica.tail())?;
    Ok(())
}

// The operator may not look at Secrets: whatever brings the next reconcile must bring it back.
#[tokio::test]
async fn a_secret_with_keys_that_is_deleted_or_edited_is_put_back_by_the_next_reconcile()
-> Result<()> {
    let installed = Installed::new(plane().await?, "keys").await?;
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
        eventually("the keys are back", LIMIT * 2, same).await.with_context(|| replica.tail())
    };
    installed.plane.kubectl(["-n", &installed.hubs, "delete", "secret", "team-keys"]).await?;
    back("deleted").await?;
    patch(&installed, "secret/team-keys", "merge", &json!({"stringData": {"keys.json": "[]"}}))
        .await?;
    back("edited").await?;
    replica.nothing_was_forbidden()
}

#[tokio::test]
async fn what_others_add_to_lists_of_ours_is_taken_out() -> Result<()> {
    let installed = Installed::new(plane().await?, "strays").await?;
    let replica = installed.start("operator-0").await?;
    apply_hub(&installed).await?;
    settled(&installed, &replica).await?;
    let sidecar = json!([{"op": "add", "path": "/spec/template/spec/containers/-", "value": {"name": "spy", "image": "spy:1"}}]);
    let env = json!([{"op": "add", "path": "/spec/template/spec/containers/0/env/-", "value": {"name": "SPY", "value": "1"}}]);
    let port =
        json!([{"op": "add", "path": "/spec/ports/-", "value": {"name": "spy", "port": 1234}}]);
    let rule = json!([{"op": "add", "path": "/rules/-", "value": {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}}]);
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
        eventually(&format!("{added} is gone from {child}"), LIMIT, gone)
            .await
            .with_context(|| replica.tail())?;
    }
    Ok(())
}

/// Refuses every change of a Deployment in the namespace that takes containers away.
fn keeps_containers(namespace: &str) -> Value {
    let name = format!("keeps-containers-{namespace}");
    let containers = |of: &str| format!("{of}.spec.template.spec.containers.size()");
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name}, "spec": {
            "matchConstraints": {"resourceRules": [
                {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["deployments"]},
            ]},
            "matchConditions": [{"name": "here", "expression": format!("request.namespace == '{namespace}'")}],
            "validations": [{"expression": format!("{} >= {}", containers("object"), containers("oldObject"))}],
        }},
        {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": ["Deny"]}},
    ]})
}

/// Until it does: a policy is in force some moments after it is there.
async fn refuses(installed: &Installed) -> Result<()> {
    let containers = json!([{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]);
    let probe = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "probe"}, "spec": {
        "replicas": 0, "selector": {"matchLabels": {"app": "probe"}},
        "template": {"metadata": {"labels": {"app": "probe"}}, "spec": {"containers": containers}},
    }});
    installed.apply(&probe).await?;
    let less = json!([{"op": "remove", "path": "/spec/template/spec/containers/1"}]);
    let refused = async || {
        let (namespace, less) = (["-n", &installed.hubs], less.to_string());
        let patch =
            ["patch", "deployment/probe", "--type=json", "--dry-run=server", "--patch", &less];
        installed.plane.kubectl([&namespace[..], &patch[..]].concat()).await.is_err()
    };
    eventually("the policy is in force", LIMIT * 6, refused).await?;
    Ok(())
}

// It would be tried anew whenever the object changes, and nobody would know.
#[tokio::test]
async fn a_policy_that_keeps_what_others_added_is_told() -> Result<()> {
    let installed = Installed::new(plane().await?, "kept").await?;
    let replica = installed.start("operator-0").await?;
    apply_hub(&installed).await?;
    settled(&installed, &replica).await?;
    installed.apply(&keeps_containers(&installed.hubs)).await?;
    refuses(&installed).await?;
    let sidecar = json!([{"op": "add", "path": "/spec/template/spec/containers/-", "value": {"name": "spy", "image": "spy:1"}}]);
    patch(&installed, "deployment/team-router", "json", &sidecar).await?;
    let told = async || {
        let events =
            installed.plane.kubectl(["-n", &installed.hubs, "get", "events", "-o", "json"]).await;
        events.is_ok_and(|events| {
            events.contains("DriftContested") && events.contains("keeps-containers")
        })
    };
    eventually("somebody is told which policy", LIMIT, told)
        .await
        .with_context(|| replica.tail())?;
    Ok(())
}
