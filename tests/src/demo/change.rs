//! A good change that walks 10, 50, 100 %, and a bad one that is taken back.

use std::time::Duration;

use anyhow::{Context as _, Result};
use mcphub_crds::status::Phase;
use mcphub_hub_wire::dataplane::{Dataplane, Revision, Role};

use super::breach::Breach;
use super::obeyed::Obeyed;
use super::pods::with_role;
use super::summary::Share;
use super::{Demo, apply, phase};
use crate::traffic::spread;
use crate::written::Written;

/// Sessions that are counted at each step.
const SESSIONS: u64 = 4000;
const BATCH: usize = 400;
const CONCURRENCY: usize = 24;
/// How far the canary's share of sessions may be from the weight, in percentage points.
const TOLERANCE: [(u8, f64); 3] = [(10, 2.0), (50, 3.0), (100, 0.0)];

impl Demo {
    /// One server more: a revision that deserves to be promoted.
    pub(super) async fn good_change(&mut self, written: &mut Written) -> Result<Vec<String>> {
        self.screen.stage("A good change (one server more) walks 10, 50, 100 % while clients work");
        let old = stable(&self.hub.dataplane().await?)?;
        let old_pods = self.hub.identities(&old).await?;
        let began = self.screen.seconds();
        self.screen.quote(&apply(&self.cluster, "2-good.yaml").await?);
        let mut flaws = Vec::new();
        let mut new_pods = None;
        for (percent, tolerance) in TOLERANCE {
            let (_, state) = written
                .first(&format!("{percent} %"), Duration::from_mins(2), |state| {
                    at(state, &old, percent)
                })
                .await?;
            let new = other_than(&state, &old).context("a new revision")?;
            if percent == 10 {
                new_pods = Some((new.clone(), self.hub.identities(&new).await?));
            }
            let share = self.share(written, &state, &new).await?;
            let seen = 100.0 * share.canary as f64 / share.sessions.max(1) as f64;
            self.screen.line(&format!(
                "{percent} %: {} of {} new sessions reached {new}: {seen:.1} %",
                share.canary, share.sessions
            ));
            self.summary.share.insert(percent.to_string(), share);
            if (seen - f64::from(percent)).abs() > tolerance || share.sessions < SESSIONS {
                flaws.push(format!(
                    "{seen:.1} % of {} sessions at the step of {percent} %",
                    share.sessions
                ));
            }
        }
        let (new, canary_pods) = new_pods.context("the step of 10 % was seen")?;
        let still_old = self.hub.identities(&old).await?;
        self.summary.pods_unchanged =
            still_old == old_pods && keeps(&self.hub.identities(&new).await?, &canary_pods);
        self.screen.line(&format!(
            "pods of {old} and {new} are the same as before promotion: {}",
            self.summary.pods_unchanged
        ));
        if !self.summary.pods_unchanged {
            flaws.push("pods changed during promotion".into());
        }
        phase(&self.client, Phase::Healthy, Duration::from_mins(2)).await?;
        self.summary.seconds.promotion = self.screen.seconds() - began;
        Ok(flaws)
    }

    /// A revision whose memory server answers every call with an error.
    pub(super) async fn bad_change(&mut self, written: &mut Written) -> Result<Vec<String>> {
        self.screen.stage("A bad change (a server that answers with errors) is caught by Prometheus and taken back");
        let good = stable(&self.hub.dataplane().await?)?;
        let good_pods = self.hub.identities(&good).await?;
        let began = self.screen.seconds();
        self.screen.quote(&apply(&self.cluster, "3-bad.yaml").await?);
        let patience = Duration::from_mins(2);
        let (_, state) =
            written.first("the bad canary at 10 %", patience, |state| at(state, &good, 10)).await?;
        let bad = other_than(&state, &good).context("a bad revision")?;
        let epoch = self.hub.epoch(&bad).await?;
        let breach = Breach::look_for(&self.cluster, super::NAMESPACE, super::HUB, &bad, epoch)?;
        let obeyed = Obeyed::ask(self.hub.clone(), self.hub.admins().await?, self.token.clone());
        let (cut, state) = written
            .first("the rollback", patience, |state| {
                state.revisions.get(&bad).is_some_and(|bad| bad.role == Role::Failed)
            })
            .await?;
        let flag = state.revisions[&bad].flags.get("compactAnswers").copied();
        self.screen.line(&format!(
            "rollback written: {bad} has weight 0, its flag compactAnswers is {flag:?}"
        ));
        self.hub.routers_obey(state.generation, &self.token).await?;
        phase(&self.client, Phase::RolledBack, Duration::from_secs(30)).await?;
        self.summary.seconds.rollback = self.screen.seconds() - began;

        let mut flaws = Vec::new();
        if flag != Some(false) {
            flaws.push("the feature flag of the bad revision was not set back".into());
        }
        let visible = breach.visible_at().await?;
        let last = self
            .hub
            .last_forward(&bad)
            .await?
            .context("routers forwarded nothing to the canary")?;
        let reaction = last - seconds(visible);
        self.screen.line(&format!(
            "breach visible in Prometheus -> last request to the canary: {reaction:.2} s"
        ));
        self.summary.breach_to_last_canary_request_s = Some(reaction);
        if reaction > self.summary.evaluation_interval_s + 1.0 {
            flaws.push(format!(
                "the canary got requests for {reaction:.2} s after the breach was visible"
            ));
        }
        let (slowest, at) =
            obeyed.last_to_obey(state.generation).context("a pod does not obey the rollback")?;
        let lag = seconds(at) - seconds(cut);
        self.screen.line(&format!("rollback written -> last pod obeys ({slowest}): {lag:.3} s"));
        self.summary.flag_write_to_last_pod_s = Some(lag);
        if lag > 1.0 {
            flaws.push(format!("{slowest} obeyed {lag:.2} s after the flags were written"));
        }
        let same = keeps(&self.hub.identities(&good).await?, &good_pods);
        self.screen.line(&format!("pods of {good} are the same as before: {same}"));
        self.summary.pods_unchanged &= same;
        if !same {
            flaws.push("pods changed during rollback".into());
        }
        self.screen.quote(&self.cluster.kubectl(["-n", super::NAMESPACE, "get", "mcphubs"]).await?);
        let events = [
            "-n",
            super::NAMESPACE,
            "get",
            "events",
            "--field-selector",
            "involvedObject.kind=McpHub",
            "-o",
        ];
        let columns = "custom-columns=REASON:.reason,MESSAGE:.message";
        self.screen.quote(&self.cluster.kubectl(events.into_iter().chain([columns])).await?);
        Ok(flaws)
    }

    /// Opens sessions while all routers obey this state, and counts those that reach the canary.
    async fn share(
        &mut self,
        written: &Written,
        state: &Dataplane,
        canary: &Revision,
    ) -> Result<Share> {
        self.hub.routers_obey(state.generation, &self.token).await?;
        let mut share = Share::default();
        while share.sessions < SESSIONS {
            let tally = spread(&self.url, BATCH, CONCURRENCY, "everything__echo").await;
            self.add(&tally);
            // The step may have ended in the middle of the batch: then nobody knows which weight it was drawn by.
            let weights = |state: &Dataplane| state.revisions.get(canary).map(|state| state.weight);
            if written.latest().as_ref().and_then(weights) != weights(state) {
                break;
            }
            share.sessions += tally.sessions.values().sum::<u64>();
            share.canary += tally.sessions.get(canary.as_str()).copied().unwrap_or(0);
        }
        Ok(share)
    }
}

/// The stable revision.
pub(super) fn stable(state: &Dataplane) -> Result<Revision> {
    with_role(state, Role::Stable).context("no stable revision")
}

fn other_than(state: &Dataplane, old: &Revision) -> Option<Revision> {
    let serving = |role: Role| matches!(role, Role::Stable | Role::Canary);
    state
        .revisions
        .iter()
        .find(|(name, state)| *name != old && serving(state.role))
        .map(|(name, _)| name.clone())
}

/// Whether another revision than `old` has this weight.
fn at(state: &Dataplane, old: &Revision, percent: u8) -> bool {
    other_than(state, old).is_some_and(|new| state.revisions[&new].weight.percent() == percent)
}

/// Whether all pods of `before` are still there, with the same restarts.
fn keeps(
    now: &std::collections::BTreeMap<String, i32>,
    before: &std::collections::BTreeMap<String, i32>,
) -> bool {
    before.iter().all(|(uid, restarts)| now.get(uid) == Some(restarts))
}

fn seconds(at: jiff::Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1000.0
}
