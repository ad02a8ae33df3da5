//! What people do in the middle of a rollout: apply another spec, go back to the old one, pause,
//! advance, abort.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mcphub_crds::status::Phase;
use mcphub_hub_wire::dataplane::{Dataplane, Revision, Role};
use mcphub_operator_plan::rollout::AttemptResult;
use mcphub_tests::runtime_log::RuntimeLog;
use mcphub_tests::traffic::Traffic;
use mcphub_tests::wait::{PATIENCE, limit};
use serde_json::{Value, json};

use crate::system_hub::{Hub, canary, canary_at, condition, echo, has_role, spec, variant};
use crate::system_scenario::run_shared;
use crate::system_survival::no_request_failed;

/// The limit for what a person asks for, such as a rollback.
const MANUAL: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_rollout_follows_a_newer_spec_the_old_spec_a_pause_step_advance_and_abort() {
    run_shared("hands-on", async |scenario| {
        let hub = Hub::new(scenario, "team");
        let mut first = spec(scenario.cluster, &["everything"])?;
        first["rollout"]["steps"][0]["pause"] = json!(true);
        let stable = hub.deploy(&first).await?;
        let pods = hub.pods(&stable).await?;
        let (log, traffic) = (hub.runtime_log().await?, hub.traffic(8, &[echo()]).await?);
        let mut rollout = Rollout { known: vec![stable.clone()], log, traffic, hub, first, stable };

        rollout.newer_spec_replaces_the_canary().await?;
        rollout.old_spec_ends_the_rollout().await?;
        rollout.pause_step_waits_until_advanced().await?;

        let Rollout { hub, traffic, stable, .. } = rollout;
        assert_eq!(hub.pods(&stable).await?, pods, "a rollout restarts no pod of stable");
        no_request_failed(&traffic.stop().await)
    })
    .await;
}

struct Rollout {
    hub: Hub,
    first: Value,
    stable: Revision,
    /// Revisions that have been rolled out.
    known: Vec<Revision>,
    log: RuntimeLog,
    traffic: Traffic,
}

impl Rollout {
    /// Applies another spec and waits until its revision has 10 %.
    async fn change(&mut self, number: u32) -> Result<Revision> {
        self.hub.apply(&variant(&self.first, number)).await?;
        let known = &self.known;
        let is_new = |state: &Dataplane| {
            canary_at(state, 10) && canary(state).is_some_and(|revision| !known.contains(revision))
        };
        let (_, state) =
            self.log.first(&format!("change {number} has 10 %"), PATIENCE, is_new).await?;
        let new = canary(&state).cloned().context("a canary")?;
        self.known.push(new.clone());
        Ok(new)
    }

    async fn newer_spec_replaces_the_canary(&mut self) -> Result<()> {
        let second = self.change(2).await?;
        let third = self.change(3).await?;
        assert_eq!(self.hub.record(&second).await?.result, Some(AttemptResult::Replaced));
        assert_eq!(self.log.history(&second), [(Role::Canary, 0), (Role::Canary, 10)]);
        assert_eq!(self.log.history(&third), [(Role::Canary, 0), (Role::Canary, 10)]);
        ensure!(has_role(&self.hub.dataplane().await?, &self.stable, Role::Stable, 90));
        Ok(())
    }

    async fn old_spec_ends_the_rollout(&mut self) -> Result<()> {
        self.hub.apply(&self.first).await?;
        let status = self.hub.phase(Phase::Healthy, limit(MANUAL)).await?;
        ensure!(
            status.stable.is_some_and(|stable| stable.revision == self.stable.as_str())
                && status.canary.is_none()
        );
        ensure!(has_role(&self.hub.dataplane().await?, &self.stable, Role::Stable, 100));
        Ok(())
    }

    async fn pause_step_waits_until_advanced(&mut self) -> Result<()> {
        let fourth = self.change(4).await?;
        let waiting = self.hub.phase(Phase::Paused, PATIENCE).await?;
        let waits = condition(&waiting, "Reconciling");
        let intent = format!("advance/{fourth}/1/1");
        ensure!(waits.reason == "PauseStep" && waits.message.contains(&intent), "{waits:?}");

        self.hub.intend(&intent).await?;
        self.log
            .first("50 %", PATIENCE, |state| has_role(state, &fourth, Role::Canary, 50))
            .await?;
        self.hub.intend(&format!("abort/{fourth}/1")).await?;
        let status = self.hub.phase(Phase::RolledBack, limit(MANUAL)).await?;
        let stalled = condition(&status, "Stalled");
        ensure!(
            stalled.reason == "Aborted" && stalled.message.contains(&format!("retry/{fourth}/1")),
            "{stalled:?}"
        );
        ensure!(has_role(&self.hub.dataplane().await?, &self.stable, Role::Stable, 100));
        let expected =
            [(Role::Canary, 0), (Role::Canary, 10), (Role::Canary, 50), (Role::Failed, 0)];
        assert_eq!(self.log.history(&fourth), expected);
        assert_eq!(self.hub.record(&fourth).await?.result, Some(AttemptResult::Aborted));
        Ok(())
    }
}
