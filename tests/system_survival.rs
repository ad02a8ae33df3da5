//! The leading operator is killed with SIGKILL in the middle of a rollout. The next leader
//! continues where it stopped.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mcphub_crds::status::Phase;
use mcphub_hub_wire::dataplane::{Revision, Role};
use mcphub_operator_plan::rollout::AttemptResult;
use mcphub_tests::runtime_log::RuntimeLog;
use mcphub_tests::traffic::Tally;
use mcphub_tests::wait::{PATIENCE, eventually};
use serde_json::{Value, json};

use crate::system_hub::{Hub, Pods, canary, canary_at, condition, echo, has_role, spec, variant};
use crate::system_leader::kill_leader;
use crate::system_scenario::run_alone;

/// Makes bakes and guard longer than the time without a leader. Otherwise no rollout would be left
/// to continue.
fn slower(spec: &mut Value) {
    spec["replicas"] = json!(2);
    spec["router"] = json!({"replicas": 2});
    spec["rollout"]["steps"] =
        json!([{"traffic": 10, "bake": "10s"}, {"traffic": 50, "bake": "5s"}, {"traffic": 100}]);
    spec["rollout"]["guard"] = json!("30s");
}

/// Whether all pods of before still exist, with the same restarts.
fn unchanged(before: &Pods, now: &Pods) -> bool {
    before.iter().all(|(uid, restarts)| now.get(uid) == Some(restarts))
}

#[tokio::test]
async fn a_rollout_is_completed_although_the_operator_is_killed_three_times() {
    run_alone("killed", async |scenario| {
        let hub = Hub::new(scenario, "team");
        let mut first = spec(scenario.cluster, &["everything"])?;
        slower(&mut first);
        let old = hub.deploy(&first).await?;
        let old_pods = hub.pods(&old).await?;
        assert_eq!(old_pods.len(), 2);
        let mut log = hub.runtime_log().await?;
        let traffic = hub.traffic(8, &[echo()]).await?;

        hub.apply(&variant(&first, 1)).await?;
        let (_, state) = log
            .first("there is a canary without traffic", PATIENCE, |state| canary_at(state, 0))
            .await?;
        let new = canary(&state).cloned().context("a canary")?;
        kill_leader(scenario).await?;

        log.first("the canary has 10 %", PATIENCE, |state| has_role(state, &new, Role::Canary, 10))
            .await?;
        let canary_pods = hub.pods(&new).await?;
        let half = async || bake_of(&hub).await.filter(|bake| *bake >= (1, Duration::from_secs(4)));
        let before = eventually("4 s of the bake are observed", PATIENCE, half).await?;
        replace_leader(&hub).await?;
        let continued = async || bake_of(&hub).await.filter(|bake| *bake != before);
        let after = eventually("the next leader continues the bake", PATIENCE, continued).await?;
        ensure!(after > before, "the bake went from {before:?} back to {after:?}");

        log.first("the promotion", PATIENCE, |state| has_role(state, &new, Role::Stable, 100))
            .await?;
        let new_pods = hub.pods(&new).await?;
        replace_leader(&hub).await?;
        ensure!(
            has_role(&hub.dataplane().await?, &old, Role::Previous, 0),
            "guard ended before there was a next leader"
        );
        ensure!(
            unchanged(&old_pods, &hub.pods(&old).await?),
            "the promotion changed pods of the old revision"
        );

        let status = hub.phase(Phase::Healthy, PATIENCE).await?;
        ensure!(status.stable.is_some_and(|stable| stable.revision == new.as_str()));
        assert_eq!(
            log.history(&new),
            [(Role::Canary, 0), (Role::Canary, 10), (Role::Canary, 50), (Role::Stable, 100)]
        );
        assert_eq!(
            log.history(&old)[..4],
            [100, 90, 50, 0].map(|weight| (role_at(weight), weight))
        );
        assert_eq!(log.incomplete(), Vec::<u64>::new());
        let now = hub.pods(&new).await?;
        ensure!(
            unchanged(&canary_pods, &now) && now == new_pods,
            "{canary_pods:?}, then {new_pods:?}, then {now:?}"
        );
        no_request_failed(&traffic.stop().await)
    })
    .await;
}

/// The step, and how much of its bake has been observed.
async fn bake_of(hub: &Hub) -> Option<(u32, Duration)> {
    let step = hub.engine().await.ok()?.canary?.step?;
    Some((step.number, step.observed()))
}

/// Kills the leader and waits until the next one has written its term into this hub.
async fn replace_leader(hub: &Hub) -> Result<()> {
    let term = hub.engine().await?.term;
    kill_leader(&hub.scenario).await?;
    let higher = async || hub.engine().await.is_ok_and(|engine| engine.term > term).then_some(());
    eventually("the next leader has written its term", PATIENCE, higher).await
}

/// The role of the old revision at this weight.
fn role_at(weight: u8) -> Role {
    if weight == 0 { Role::Previous } else { Role::Stable }
}

/// No request failed, and no session was moved to another revision.
pub(crate) fn no_request_failed(tally: &Tally) -> Result<()> {
    eprintln!("system: {}", tally.summary());
    ensure!(tally.sent > 500, "only {} requests were sent", tally.sent);
    ensure!(tally.failed == 0, "{}: {:?}", tally.summary(), tally.failures);
    ensure!(tally.moved == 0, "{}", tally.summary());
    Ok(())
}

/// The rule `tool-errors` has been breached, for less than its `for` if the test looks in time.
async fn breach_started(hub: &Hub, bad: &Revision) -> Option<()> {
    // A busy machine may look only when the rollback is done. The leader is then killed right after
    // it.
    let rolled_back = has_role(&hub.dataplane().await.ok()?, bad, Role::Failed, 0);
    let judgment = hub.engine().await.ok()?.judgment;
    let open = judgment.is_some_and(|judgment| {
        judgment.rules.iter().any(|rule| rule.name == "tool-errors" && rule.breach_start.is_some())
    });
    (open || rolled_back).then_some(())
}

#[tokio::test]
async fn a_bad_revision_is_rolled_back_once_per_attempt_although_the_operator_is_killed() {
    run_alone("breach", async |scenario| {
        let hub = Hub::new(scenario, "team");
        let mut first = spec(scenario.cluster, &["everything", "memory"])?;
        slower(&mut first);
        let stable = hub.deploy(&first).await?;
        let pods = hub.pods(&stable).await?;
        let mut log = hub.runtime_log().await?;
        let traffic = hub.traffic(8, &[echo(), ("memory__read_graph", json!({}))]).await?;

        // The server connects and lists its tools, but its file is a directory. Only a call shows
        // that it fails.
        let mut bad = first.clone();
        bad["servers"][1]["container"]["env"][0]["value"] = json!("/tmp");
        bad["featureFlags"] = json!({"custom": {"compactAnswers": true}});
        hub.apply(&bad).await?;
        let (_, state) =
            log.first("the bad canary has 10 %", PATIENCE, |state| canary_at(state, 10)).await?;
        let bad = canary(&state).cloned().context("a canary")?;
        eventually("the breach starts", PATIENCE, async || breach_started(&hub, &bad).await)
            .await?;
        kill_leader(scenario).await?;

        let first_rollback = rolled_back(&hub, &mut log, &stable, &bad, 1).await?;
        not_tried_again(&hub, &log, &bad, first_rollback).await?;
        hub.intend(&format!("retry/{bad}/1")).await?;
        log.first("the canary has 10 % again", PATIENCE, |state| {
            state.generation > first_rollback && canary_at(state, 10)
        })
        .await?;
        rolled_back(&hub, &mut log, &stable, &bad, 2).await?;

        let once = [(Role::Canary, 0), (Role::Canary, 10), (Role::Failed, 0)];
        assert_eq!(log.history(&bad), [once, once].concat());
        assert_eq!(log.incomplete(), Vec::<u64>::new());
        assert_eq!(hub.pods(&stable).await?, pods, "a rollback restarts no pod");
        no_request_failed(&traffic.stop().await)
    })
    .await;
}

/// Waits until this attempt of the bad revision is rolled back. Returns the generation with the
/// rollback.
async fn rolled_back(
    hub: &Hub,
    log: &mut RuntimeLog,
    stable: &Revision,
    bad: &Revision,
    attempt: u32,
) -> Result<u64> {
    let ended = async || {
        let record = hub.record(bad).await.ok()?;
        (record.attempt == attempt && record.result == Some(AttemptResult::RolledBack))
            .then_some(())
    };
    eventually(&format!("attempt {attempt} of {bad} is rolled back"), PATIENCE, ended).await?;
    let status = hub.phase(Phase::RolledBack, PATIENCE).await?;
    ensure!(
        status.history.iter().any(|entry| entry.revision == bad.as_str()),
        "{:?}",
        status.history
    );
    let cause = condition(&status, "RolledBack");
    ensure!(cause.message.contains("rule tool-errors above 0.1 for 4s"), "{}", cause.message);
    let state = hub.dataplane().await?;
    ensure!(
        has_role(&state, stable, Role::Stable, 100) && has_role(&state, bad, Role::Failed, 0),
        "{state:?}"
    );
    assert_eq!(
        state.revisions[bad].flags.get("compactAnswers"),
        Some(&false),
        "the flag is rolled back"
    );
    log.first("the rollback is in the log", PATIENCE, |state_in_log| {
        state_in_log.generation >= state.generation
    })
    .await?;
    Ok(state.generation)
}

/// The next leader has not seen the hub before, and has no reason to try again what failed.
async fn not_tried_again(
    hub: &Hub,
    log: &RuntimeLog,
    bad: &Revision,
    generation: u64,
) -> Result<()> {
    replace_leader(hub).await?;
    hub.phase(Phase::RolledBack, PATIENCE).await?;
    assert_eq!(hub.dataplane().await?.generation, generation);
    assert_eq!(log.history(bad).last(), Some(&(Role::Failed, 0)));
    Ok(())
}
