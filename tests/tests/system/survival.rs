//! The leading operator is killed with SIGKILL while a change walks; another one goes on where it was.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mcphub_crds::status::Phase;
use mcphub_hub_wire::dataplane::{Revision, Role};
use mcphub_operator_plan::rollout::AttemptResult;
use mcphub_tests::written::Written;
use serde_json::{Value, json};

use crate::hub::{Hub, LONG, Pods, canary, canary_at, condition, echo, is, spec, variant};
use crate::leader::kill_leader;
use crate::scene::{alone, eventually};

/// Bakes that end while a killed leader is not yet succeeded would not show a rollout that goes on.
fn slower(spec: &mut Value) {
    spec["replicas"] = json!(2);
    spec["router"] = json!({"replicas": 2});
    spec["rollout"]["steps"] =
        json!([{"traffic": 10, "bake": "10s"}, {"traffic": 50, "bake": "5s"}, {"traffic": 100}]);
    spec["rollout"]["guard"] = json!("20s");
}

/// Whether all pods of before are there, with the restarts of before.
fn kept(before: &Pods, now: &Pods) -> bool {
    before.iter().all(|(uid, restarts)| now.get(uid) == Some(restarts))
}

#[tokio::test]
async fn a_rollout_goes_on_to_the_end_when_the_operator_is_killed_at_three_points_of_it() {
    alone("killed", async |scene| {
        let hub = Hub::new(scene, "team");
        let mut first = spec(scene.cluster, &["everything"])?;
        slower(&mut first);
        let old = hub.deploy(&first).await?;
        let old_pods = hub.pods(&old).await?;
        assert_eq!(old_pods.len(), 2);
        let mut written = hub.written();
        let traffic = hub.traffic(8, &[echo()]).await?;

        hub.apply(&variant(&first, 1)).await?;
        let (_, state) =
            written.first("the canary, without traffic", LONG, |state| canary_at(state, 0)).await?;
        let new = canary(&state).cloned().context("a canary")?;
        kill_leader(scene).await?;

        written.first("10 %", LONG, |state| is(state, &new, Role::Canary, 10)).await?;
        let canary_pods = hub.pods(&new).await?;
        let half = async || bake_of(&hub).await.filter(|bake| *bake >= (1, Duration::from_secs(4)));
        let before = eventually("4 s of the bake are observed", LONG, half).await?;
        succeeded(&hub).await?;
        let moved = async || bake_of(&hub).await.filter(|bake| *bake != before);
        let after = eventually("the next leader goes on observing", LONG, moved).await?;
        ensure!(after > before, "the bake was at {before:?}, and is at {after:?}");

        written.first("the promotion", LONG, |state| is(state, &new, Role::Stable, 100)).await?;
        let new_pods = hub.pods(&new).await?;
        succeeded(&hub).await?;
        ensure!(
            is(&hub.dataplane().await?, &old, Role::Previous, 0),
            "guard was over before the next leader came"
        );
        ensure!(
            kept(&old_pods, &hub.pods(&old).await?),
            "pods of the old revision did not outlast the promotion"
        );

        let status = hub.phase(Phase::Healthy, LONG).await?;
        ensure!(status.stable.is_some_and(|stable| stable.revision == new.as_str()));
        assert_eq!(
            written.walk(&new),
            [(Role::Canary, 0), (Role::Canary, 10), (Role::Canary, 50), (Role::Stable, 100)]
        );
        assert_eq!(
            written.walk(&old)[..4],
            [100, 90, 50, 0].map(|weight| (role_at(weight), weight))
        );
        assert_eq!(written.unserved(), Vec::<u64>::new());
        let now = hub.pods(&new).await?;
        ensure!(
            kept(&canary_pods, &now) && now == new_pods,
            "{canary_pods:?}, then {new_pods:?}, then {now:?}"
        );
        no_request_failed(&traffic.stop().await)
    })
    .await;
}

/// Step, and how much of its bake is observed.
async fn bake_of(hub: &Hub) -> Option<(u32, Duration)> {
    let step = hub.engine().await.ok()?.canary?.step?;
    Some((step.number, step.observed()))
}

/// Kills the leader and waits until the next one has begun with this hub.
async fn succeeded(hub: &Hub) -> Result<()> {
    let term = hub.engine().await?.term;
    kill_leader(&hub.scene).await?;
    let higher = async || hub.engine().await.is_ok_and(|engine| engine.term > term).then_some(());
    eventually("the next leader has written its term", LONG, higher).await
}

/// Role of the old revision by its share.
fn role_at(weight: u8) -> Role {
    if weight == 0 { Role::Previous } else { Role::Stable }
}

fn no_request_failed(tally: &mcphub_tests::traffic::Tally) -> Result<()> {
    ensure!(tally.sent > 500, "only {} requests were sent", tally.sent);
    ensure!(
        tally.failed == 0,
        "{} of {} requests failed: {:?}",
        tally.failed,
        tally.sent,
        tally.failures
    );
    ensure!(tally.moved == 0, "{} sessions moved", tally.moved);
    Ok(())
}

/// The rule `tool-errors` is beyond its threshold, but not yet for long enough.
async fn breach_began(hub: &Hub) -> Option<()> {
    let judgment = hub.engine().await.ok()?.judgment?;
    judgment
        .rules
        .iter()
        .any(|rule| rule.name == "tool-errors" && rule.breach_start.is_some())
        .then_some(())
}

#[tokio::test]
async fn a_bad_revision_is_taken_back_once_per_try_though_the_operator_is_killed_in_the_breach() {
    alone("breach", async |scene| {
        let hub = Hub::new(scene, "team");
        let mut first = spec(scene.cluster, &["everything", "memory"])?;
        slower(&mut first);
        let stable = hub.deploy(&first).await?;
        let pods = hub.pods(&stable).await?;
        let mut written = hub.written();
        let traffic = hub.traffic(8, &[echo(), ("memory__read_graph", json!({}))]).await?;

        // It connects and lists, but its file is a directory: every call fails, and nothing but a call shows it.
        let mut bad = first.clone();
        bad["servers"][1]["container"]["env"][0]["value"] = json!("/tmp");
        bad["featureFlags"] = json!({"custom": {"compactAnswers": true}});
        hub.apply(&bad).await?;
        let (_, state) =
            written.first("the bad canary at 10 %", LONG, |state| canary_at(state, 10)).await?;
        let bad = canary(&state).cloned().context("a canary")?;
        eventually("the breach begins", LONG, async || breach_began(&hub).await).await?;
        kill_leader(scene).await?;

        let first_way = rolled_back(&hub, &mut written, &stable, &bad, 1).await?;
        not_tried_again(&hub, &written, &bad, first_way).await?;
        hub.intend(&format!("retry/{bad}/1")).await?;
        written
            .first("10 % again", LONG, |state| state.generation > first_way && canary_at(state, 10))
            .await?;
        rolled_back(&hub, &mut written, &stable, &bad, 2).await?;

        let once = [(Role::Canary, 0), (Role::Canary, 10), (Role::Failed, 0)];
        assert_eq!(written.walk(&bad), [once, once].concat());
        assert_eq!(written.unserved(), Vec::<u64>::new());
        assert_eq!(hub.pods(&stable).await?, pods, "a rollback restarts no pod");
        no_request_failed(&traffic.stop().await)
    })
    .await;
}

/// Waits until the bad revision has lost its traffic in this attempt. Returns the generation that says so.
async fn rolled_back(
    hub: &Hub,
    written: &mut Written,
    stable: &Revision,
    bad: &Revision,
    attempt: u32,
) -> Result<u64> {
    let ended = async || {
        let record = hub.record(bad).await.ok()?;
        (record.attempt == attempt && record.result == Some(AttemptResult::RolledBack))
            .then_some(())
    };
    eventually(&format!("attempt {attempt} of {bad} is rolled back"), LONG, ended).await?;
    let status = hub.phase(Phase::RolledBack, LONG).await?;
    ensure!(
        status.history.iter().any(|entry| entry.revision == bad.as_str()),
        "{:?}",
        status.history
    );
    let cause = condition(&status, "RolledBack");
    ensure!(cause.message.contains("rule tool-errors above 0.1 for 4s"), "{}", cause.message);
    let state = hub.dataplane().await?;
    ensure!(is(&state, stable, Role::Stable, 100) && is(&state, bad, Role::Failed, 0), "{state:?}");
    assert_eq!(
        state.revisions[bad].flags.get("compactAnswers"),
        Some(&false),
        "its flag is set back"
    );
    written.first("the rollback is seen", LONG, |seen| seen.generation >= state.generation).await?;
    Ok(state.generation)
}

/// The next leader looks at the hub for the first time, and has no reason to try what failed.
async fn not_tried_again(
    hub: &Hub,
    written: &Written,
    bad: &Revision,
    generation: u64,
) -> Result<()> {
    succeeded(hub).await?;
    hub.phase(Phase::RolledBack, LONG).await?;
    assert_eq!(hub.dataplane().await?.generation, generation);
    assert_eq!(written.walk(bad).last(), Some(&(Role::Failed, 0)));
    Ok(())
}
