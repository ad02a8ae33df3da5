//! Filters with golden questions, and a session that gets its tools by a prompt.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::runtime::wait::await_condition;
use kube::{Api, ResourceExt as _};
use mcphub_crds::status::Phase;
use mcphub_hub_wire::dataplane::Role;
use mcphub_operator_plan::rollout::AttemptResult;
use mcphub_tests::cluster::Image;
use mcphub_tests::wait::{PATIENCE, within};
use serde_json::{Value, json};

use crate::system_hub::{Hub, canary, canary_at, condition, has_role, spec};
use crate::system_scenario::{Scenario, run_shared};

const SDK: &str = include_str!("system_selection.py");

/// A spec with one golden question for each of two servers, and a rule on `SelectionRecall`.
fn spec_with_questions(scenario: &Scenario, filtering: &Value) -> Result<Value> {
    let mut spec = spec(scenario.cluster, &["everything", "time"])?;
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

// There is no traffic in this test: a worse filter is detected before the first user meets it.
#[tokio::test]
async fn a_filter_that_hides_what_golden_questions_need_rolls_back_and_a_harmless_one_is_promoted()
{
    run_shared("selection", async |scenario| {
        let hub = Hub::new(scenario, "team");
        let first =
            hub.deploy(&spec_with_questions(scenario, &json!({"mode": "PromptBased"}))?).await?;

        hub.apply(&spec_with_questions(
            scenario,
            &json!({"mode": "PromptBased", "promptBased": {"defaultExposure": "All"}}),
        )?)
        .await?;
        let status = hub.phase(Phase::Healthy, PATIENCE).await?;
        let second = status.stable.context("a healthy hub has a stable revision")?.revision;
        ensure!(second != first.as_str(), "another exposure is another revision");

        let mut log = hub.runtime_log().await?;
        hub.apply(&spec_with_questions(
            scenario,
            &json!({"mode": "ServerAllowlist", "servers": {"deny": ["time"]}}),
        )?)
        .await?;
        let second = second.parse()?;
        let rolled_back = |state: &_| has_role(state, &second, Role::Stable, 100);
        let tried = log.first("a canary has 10 %", PATIENCE, |state| canary_at(state, 10)).await?;
        let worse = canary(&tried.1).cloned().context("a canary")?;
        let status = hub.phase(Phase::RolledBack, PATIENCE).await?;
        let why = condition(&status, "RolledBack");
        ensure!(why.message.contains("recall"), "{why:?}");
        ensure!(rolled_back(&hub.dataplane().await?));
        assert_eq!(log.history(&worse), [(Role::Canary, 0), (Role::Canary, 10), (Role::Failed, 0)]);
        assert_eq!(hub.record(&worse).await?.result, Some(AttemptResult::RolledBack));
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_sdk_client_that_prompts_gets_tools_calls_them_in_every_way_and_the_hub_learns() {
    run_shared("prompts", async |scenario| {
        let hub = Hub::new(scenario, "team");
        let mut spec = spec(scenario.cluster, &["everything", "time", "memory"])?;
        spec["filtering"] =
            json!({"mode": "PromptBased", "views": [{"name": "clock", "servers": ["time"]}]});
        hub.deploy(&spec).await?;
        let output = run_in_pod(
            scenario,
            "sdk",
            SDK,
            &format!("http://team.{}.svc:7000/mcp", scenario.namespace),
        )
        .await?;
        ensure!(output.lines().last() == Some("good"), "{output}");

        // What one pod learned is stored for all, in an object that the hub owns.
        let maps: Api<ConfigMap> = Api::namespaced(scenario.client.clone(), &scenario.namespace);
        let stored = |map: Option<&ConfigMap>| {
            map.and_then(|map| map.binary_data.as_ref()?.get("memory"))
                .is_some_and(|memory| !memory.0.is_empty())
        };
        within(
            PATIENCE,
            "what was learned is stored",
            await_condition(maps, "team-learned", stored),
        )
        .await?;
        let leases: Api<Lease> = Api::namespaced(scenario.client.clone(), &scenario.namespace);
        let lease = leases.get("team-learned").await?;
        ensure!(lease.owner_references().iter().any(|owner| owner.kind == "McpHub"), "{lease:?}");
        Ok(())
    })
    .await;
}

/// Runs a Python script with the official SDK in a pod, and returns what it printed.
async fn run_in_pod(
    scenario: &Scenario,
    name: &str,
    script: &str,
    argument: &str,
) -> Result<String> {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {
            "name": name, "namespace": scenario.namespace,
        },
        "spec": {
            "restartPolicy": "Never",
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [{
                "name": name, "image": scenario.cluster.image(Image::ServersPython)?,
                "command": ["python3", "-c", script, argument],
                "securityContext": {
                    "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
                },
            }],
        },
    });
    scenario.cluster.apply(&pod.to_string()).await?;
    let pods: Api<Pod> = Api::namespaced(scenario.client.clone(), &scenario.namespace);
    let phase = |pod: Option<&Pod>| pod.and_then(|pod| pod.status.as_ref()?.phase.clone());
    let ended = |pod: Option<&Pod>| matches!(phase(pod).as_deref(), Some("Succeeded" | "Failed"));
    let ended = within(PATIENCE, "the client has ended", await_condition(pods, name, ended)).await;
    let output = scenario.kubectl(&["logs", name]).await?;
    let ended = ended.with_context(|| output.clone())?;
    ensure!(phase(ended.as_ref()).as_deref() == Some("Succeeded"), "{output}");
    Ok(output)
}
