//! What people do while a change walks its steps: write another spec, take it back, wait, advance, abort.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mcphub_crds::status::Phase;
use mcphub_hub_wire::dataplane::{Dataplane, Revision, Role};
use mcphub_operator_plan::rollout::AttemptResult;
use mcphub_tests::traffic::Traffic;
use mcphub_tests::written::Written;
use serde_json::{Value, json};

use crate::hub::{Hub, LONG, canary, canary_at, condition, echo, is, spec, variant};
use crate::scene::beside_others;

#[tokio::test]
async fn a_rollout_obeys_a_newer_spec_the_old_spec_a_pause_step_advance_and_abort() {
    beside_others("hands-on", async |scene| {
        let hub = Hub::new(scene, "team");
        let mut first = spec(scene.cluster, &["everything"])?;
        first["rollout"]["steps"][0]["pause"] = json!(true);
        let stable = hub.deploy(&first).await?;
        let pods = hub.pods(&stable).await?;
        let (written, traffic) = (hub.written(), hub.traffic(8, &[echo()]).await?);
        let mut walk = Walk { known: vec![stable.clone()], written, traffic, hub, first, stable };

        walk.newer_spec_replaces_the_canary().await?;
        walk.old_spec_ends_the_rollout().await?;
        walk.pause_step_waits_until_advanced().await?;

        let Walk { hub, traffic, stable, .. } = walk;
        assert_eq!(hub.pods(&stable).await?, pods, "no rollout restarts a pod of stable");
        let tally = traffic.stop().await;
        assert_eq!((tally.failed, &tally.failures), (0, &vec![]), "of {} requests", tally.sent);
        ensure!(tally.moved == 0, "{} sessions moved", tally.moved);
        Ok(())
    })
    .await;
}

struct Walk {
    hub: Hub,
    first: Value,
    stable: Revision,
    /// Revisions that were tried.
    known: Vec<Revision>,
    written: Written,
    traffic: Traffic,
}

impl Walk {
    /// Applies another revision and waits until it has 10 %.
    async fn change(&mut self, number: u32) -> Result<Revision> {
        self.hub.apply(&variant(&self.first, number)).await?;
        let known = &self.known;
        let new = |state: &Dataplane| {
            canary_at(state, 10) && canary(state).is_some_and(|revision| !known.contains(revision))
        };
        let (_, state) =
            self.written.first(&format!("change {number} has 10 %"), LONG, new).await?;
        let new = canary(&state).cloned().context("a canary")?;
        self.known.push(new.clone());
        Ok(new)
    }

    async fn newer_spec_replaces_the_canary(&mut self) -> Result<()> {
        let second = self.change(2).await?;
        let third = self.change(3).await?;
        assert_eq!(self.hub.record(&second).await?.result, Some(AttemptResult::Replaced));
        assert_eq!(self.written.walk(&second), [(Role::Canary, 0), (Role::Canary, 10)]);
        assert_eq!(self.written.walk(&third), [(Role::Canary, 0), (Role::Canary, 10)]);
        ensure!(is(&self.hub.dataplane().await?, &self.stable, Role::Stable, 90));
        Ok(())
    }

    async fn old_spec_ends_the_rollout(&mut self) -> Result<()> {
        self.hub.apply(&self.first).await?;
        let status = self.hub.phase(Phase::Healthy, Duration::from_secs(5)).await?;
        ensure!(
            status.stable.is_some_and(|stable| stable.revision == self.stable.as_str())
                && status.canary.is_none()
        );
        ensure!(is(&self.hub.dataplane().await?, &self.stable, Role::Stable, 100));
        Ok(())
    }

    async fn pause_step_waits_until_advanced(&mut self) -> Result<()> {
        let fourth = self.change(4).await?;
        let waiting = self.hub.phase(Phase::Paused, LONG).await?;
        let ready = condition(&waiting, "Ready");
        let intent = format!("advance/{fourth}/1/1");
        ensure!(ready.reason == "PauseStep" && ready.message.contains(&intent), "{ready:?}");

        self.hub.intend(&intent).await?;
        self.written.first("50 %", LONG, |state| is(state, &fourth, Role::Canary, 50)).await?;
        self.hub.intend(&format!("abort/{fourth}/1")).await?;
        let status = self.hub.phase(Phase::RolledBack, Duration::from_secs(5)).await?;
        let stalled = condition(&status, "Stalled");
        ensure!(
            stalled.reason == "Aborted" && stalled.message.contains(&format!("retry/{fourth}/1")),
            "{stalled:?}"
        );
        ensure!(is(&self.hub.dataplane().await?, &self.stable, Role::Stable, 100));
        let walk = [(Role::Canary, 0), (Role::Canary, 10), (Role::Canary, 50), (Role::Failed, 0)];
        assert_eq!(self.written.walk(&fourth), walk);
        assert_eq!(self.hub.record(&fourth).await?.result, Some(AttemptResult::Aborted));
        Ok(())
    }
}
