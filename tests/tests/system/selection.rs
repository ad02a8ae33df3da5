//! Filters that are judged by golden questions, and a session that gets its tools by saying what it wants.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::runtime::wait::await_condition;
use kube::{Api, ResourceExt as _};
use mcphub_crds::status::Phase;
use mcphub_hub_wire::dataplane::Role;
use mcphub_operator_plan::rollout::AttemptResult;
use mcphub_tests::cluster::Image;
use serde_json::{Value, json};

use crate::hub::{Hub, LONG, condition, is, spec};
use crate::scene::{Scene, beside_others, within};

const SDK: &str = include_str!("selection.py");

/// One question for each of two servers, and a rule on how many of their tools are found.
fn judged(scene: &Scene, filtering: &Value) -> Result<Value> {
    let mut spec = spec(scene.cluster, &["everything", "time"])?;
    spec["filtering"] = filtering.clone();
    spec["filtering"]["goldenQuestions"] = json!([
        {"query": "what time is it in Tokyo right now", "tools": ["time__get_current_time"]},
        {"query": "echo a message back to me", "tools": ["everything__echo"]},
    ]);
    spec["rollout"]["rules"] = json!([{
        "name": "recall", "metric": "SelectionRecall",
        "promoteWhen": {"atLeast": "0.9"}, "rollbackWhen": {"below": "0.8", "for": "4s"},
    }]);
    Ok(spec)
}

// Nobody calls here: a worse filter is found out before the first user is.
#[tokio::test]
async fn a_filter_that_hides_what_golden_questions_need_rolls_back_and_a_harmless_one_is_promoted()
{
    beside_others("selection", async |scene| {
        let hub = Hub::new(scene, "team");
        let first = hub.deploy(&judged(scene, &json!({"mode": "PromptBased"}))?).await?;

        hub.apply(&judged(
            scene,
            &json!({"mode": "PromptBased", "promptBased": {"defaultExposure": "All"}}),
        )?)
        .await?;
        let status = hub.phase(Phase::Healthy, LONG).await?;
        let second = status.stable.context("a healthy hub has a stable revision")?.revision;
        ensure!(second != first.as_str(), "another exposure is another revision");

        let mut written = hub.written();
        hub.apply(&judged(
            scene,
            &json!({"mode": "ServerAllowlist", "servers": {"deny": ["time"]}}),
        )?)
        .await?;
        let second = second.parse()?;
        let taken_back = |state: &_| is(state, &second, Role::Stable, 100);
        let tried = written
            .first("a canary has 10 %", LONG, |state| crate::hub::canary_at(state, 10))
            .await?;
        let worse = crate::hub::canary(&tried.1).cloned().context("a canary")?;
        let status = hub.phase(Phase::RolledBack, LONG).await?;
        let why = condition(&status, "RolledBack");
        ensure!(why.message.contains("recall"), "{why:?}");
        ensure!(taken_back(&hub.dataplane().await?));
        assert_eq!(
            written.walk(&worse),
            [(Role::Canary, 0), (Role::Canary, 10), (Role::Failed, 0)]
        );
        assert_eq!(hub.record(&worse).await?.result, Some(AttemptResult::RolledBack));
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_sdk_client_says_what_it_wants_gets_the_tools_calls_them_through_every_door_and_the_hub_remembers()
 {
    beside_others("prompts", async |scene| {
        let hub = Hub::new(scene, "team");
        let mut spec = spec(scene.cluster, &["everything", "time", "memory"])?;
        spec["filtering"] =
            json!({"mode": "PromptBased", "views": [{"name": "clock", "servers": ["time"]}]});
        hub.deploy(&spec).await?;
        let said =
            run_in_pod(scene, "sdk", SDK, &format!("http://team.{}.svc:7000/mcp", scene.namespace))
                .await?;
        ensure!(said.lines().last() == Some("good"), "{said}");

        // What one pod was taught is written down for all, and is the hub's.
        let maps: Api<ConfigMap> = Api::namespaced(scene.client.clone(), &scene.namespace);
        let taught = |map: Option<&ConfigMap>| {
            map.and_then(|map| map.binary_data.as_ref()?.get("memory"))
                .is_some_and(|memory| !memory.0.is_empty())
        };
        within(LONG, "what was learned is shared", await_condition(maps, "team-learned", taught))
            .await?;
        let leases: Api<Lease> = Api::namespaced(scene.client.clone(), &scene.namespace);
        let lease = leases.get("team-learned").await?;
        ensure!(lease.owner_references().iter().any(|owner| owner.kind == "McpHub"), "{lease:?}");
        Ok(())
    })
    .await;
}

/// Runs a Python script with the official SDK beside the hub, and returns what it printed.
async fn run_in_pod(scene: &Scene, name: &str, script: &str, argument: &str) -> Result<String> {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": scene.namespace},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": name, "image": scene.cluster.image(Image::ServersPython)?,
                "command": ["python3", "-c", script, argument],
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    });
    scene.cluster.apply(&pod.to_string()).await?;
    let pods: Api<Pod> = Api::namespaced(scene.client.clone(), &scene.namespace);
    let phase = |pod: Option<&Pod>| pod.and_then(|pod| pod.status.as_ref()?.phase.clone());
    let ended = |pod: Option<&Pod>| matches!(phase(pod).as_deref(), Some("Succeeded" | "Failed"));
    let ended = within(LONG, "the client has ended", await_condition(pods, name, ended)).await;
    let said = scene.kubectl(&["logs", name]).await?;
    let ended = ended.with_context(|| said.clone())?;
    ensure!(phase(ended.as_ref()).as_deref() == Some("Succeeded"), "{said}");
    Ok(said)
}
