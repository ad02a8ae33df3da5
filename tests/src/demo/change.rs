//! A good change that is promoted in steps of 10, 50 and 100 %, and a bad one that is rolled back.

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use mcphub_crds::status::Phase;
use mcphub_hub_wire::dataplane::{Dataplane, Revision, Role};

use super::breach::BreachProbe;
use super::hub::with_role;
use super::propagation::Propagation;
use super::summary::Share;
use super::{Demo, apply, phase};
use crate::runtime_log::RuntimeLog;
use crate::traffic::spread;
use crate::wait::PATIENCE;

/// Sessions to count at each step. A busy machine opens fewer before the step ends.
const SESSIONS: u64 = 4000;
/// With fewer sessions than this, the share would say nothing.
const MIN_SESSIONS: u64 = 400;
const BATCH: usize = 400;
const CONCURRENCY: usize = 24;
/// How far the canary's share of 4,000 sessions may be from the weight, in percentage points: four
/// standard deviations.
const TOLERANCE: [(u8, f64); 3] = [(10, 2.0), (50, 3.0), (100, 0.0)];

impl Demo {
    /// One more server: a revision that deserves to be promoted.
    pub(super) async fn good_change(&mut self, log: &mut RuntimeLog) -> Result<Vec<String>> {
        self.console.stage("A good change (one more server) gets 10, 50, 100 % while clients work");
        let old = stable(&self.hub.dataplane().await?)?;
        let old_pods = self.hub.identities(&old).await?;
        let began = self.console.seconds();
        self.console.quote(&apply(&self.cluster, "2-good.yaml").await?);
        let mut findings = Vec::new();
        let mut new_pods = None;
        for (percent, tolerance) in TOLERANCE {
            let what = format!("the new revision has {percent} %");
            let (_, state) = log.first(&what, PATIENCE, |state| at(state, &old, percent)).await?;
            let new = other_than(&state, &old).context("a new revision")?;
            if percent == 10 {
                new_pods = Some((new.clone(), self.hub.identities(&new).await?));
            }
            let share = self.share(log, &state, &new).await?;
            let measured = 100.0 * share.canary as f64 / share.sessions.max(1) as f64;
            self.console.line(&format!(
                "{percent} %: {} of {} new sessions reached {new}: {measured:.1} %",
                share.canary, share.sessions
            ));
            self.summary.share.insert(percent.to_string(), share);
            let off = (measured - f64::from(percent)).abs();
            if off > tolerance_of(tolerance, share.sessions) || share.sessions < MIN_SESSIONS {
                findings.push(format!(
                    "{measured:.1} % of {} sessions at the step of {percent} %",
                    share.sessions
                ));
            }
        }
        let (new, canary_pods) = new_pods.context("the step of 10 % is not in the log")?;
        let still_old = self.hub.identities(&old).await?;
        self.summary.pods_unchanged =
            still_old == old_pods && keeps(&self.hub.identities(&new).await?, &canary_pods);
        self.console.line(&format!(
            "the pods of {old} and {new} are the same as before the promotion: {}",
            self.summary.pods_unchanged
        ));
        if !self.summary.pods_unchanged {
            findings.push("pods changed during promotion".into());
        }
        phase(&self.client, Phase::Healthy).await?;
        self.summary.seconds.promotion = self.console.seconds() - began;
        Ok(findings)
    }

    /// A revision whose memory server answers every call with an error.
    pub(super) async fn bad_change(&mut self, log: &mut RuntimeLog) -> Result<Vec<String>> {
        self.console.stage(
            "A bad change (a server that answers with errors) is caught by Prometheus and rolled \
             back",
        );
        let good = stable(&self.hub.dataplane().await?)?;
        let good_pods = self.hub.identities(&good).await?;
        let began = self.console.seconds();
        self.console.quote(&apply(&self.cluster, "3-bad.yaml").await?);
        let bad_at_10 = |state: &Dataplane| at(state, &good, 10);
        let (_, state) = log.first("the bad canary has 10 %", PATIENCE, bad_at_10).await?;
        let bad = other_than(&state, &good).context("a bad revision")?;
        let epoch = self.hub.epoch(&bad).await?;
        let breach = BreachProbe::start(&self.cluster, super::NAMESPACE, super::HUB, &bad, epoch)?;
        let endpoints = self.hub.admin_endpoints().await?;
        let propagation = Propagation::watch(self.hub.clone(), endpoints, self.token.clone());
        let has_failed = |state: &Dataplane| {
            state.revisions.get(&bad).is_some_and(|bad| bad.role == Role::Failed)
        };
        let (cut, state) = log.first("the rollback", PATIENCE, has_failed).await?;
        let flag = state.revisions[&bad].flags.get("compactAnswers").copied();
        self.console.line(&format!(
            "rollback written: {bad} has weight 0, its flag compactAnswers is {flag:?}"
        ));
        self.hub.wait_for_routers(state.generation, &self.token).await?;
        phase(&self.client, Phase::RolledBack).await?;
        self.summary.seconds.rollback = self.console.seconds() - began;

        let mut findings = Vec::new();
        if flag != Some(false) {
            findings.push("the feature flag of the bad revision was not rolled back".into());
        }
        findings.extend(self.reaction(breach, &bad).await?);
        findings.extend(self.lag(&propagation, state.generation, cut).await?);
        let same = keeps(&self.hub.identities(&good).await?, &good_pods);
        self.console.line(&format!("the pods of {good} are the same as before: {same}"));
        self.summary.pods_unchanged &= same;
        if !same {
            findings.push("pods changed during rollback".into());
        }
        self.print_hubs_and_events().await?;
        Ok(findings)
    }

    /// Measures how long the canary still got requests after the breach was visible.
    async fn reaction(&mut self, breach: BreachProbe, bad: &Revision) -> Result<Option<String>> {
        let visible = seconds(breach.visible_at().await?);
        let last = self.hub.last_forward(bad).await?;
        let reaction = last.context("the routers forwarded nothing to the canary")? - visible;
        self.console.line(&format!(
            "from the breach in Prometheus to the last request to the canary: {reaction:.2} s"
        ));
        self.summary.breach_to_last_canary_request_s = Some(reaction);
        Ok((reaction > self.summary.evaluation_interval_s + 1.0).then(|| {
            format!("the canary got requests for {reaction:.2} s after the breach was visible")
        }))
    }

    /// Measures how long the last pod took to apply the generation that was written at `cut`.
    async fn lag(
        &mut self,
        propagation: &Propagation,
        generation: u64,
        cut: Timestamp,
    ) -> Result<Option<String>> {
        let (slowest, at) = propagation.slowest(generation).await?;
        let lag = seconds(at) - seconds(cut);
        self.console.line(&format!(
            "from the write of the rollback to the last pod ({slowest}): {lag:.3} s"
        ));
        self.summary.flag_write_to_last_pod_s = Some(lag);
        Ok((lag > 1.0)
            .then(|| format!("{slowest} applied the rollback {lag:.2} s after it was written")))
    }

    async fn print_hubs_and_events(&self) -> Result<()> {
        let namespace = ["-n", super::NAMESPACE, "get"];
        let hubs = namespace.iter().chain(&["mcphubs"]);
        self.console.quote(&self.cluster.kubectl(hubs).await?);
        let of_hubs = ["events", "--field-selector", "involvedObject.kind=McpHub", "-o"];
        let columns = "custom-columns=REASON:.reason,MESSAGE:.message";
        let events = namespace.iter().chain(&of_hubs).chain([&columns]);
        self.console.quote(&self.cluster.kubectl(events).await?);
        Ok(())
    }

    /// Opens sessions while all routers have this state, and counts those that reach the canary.
    async fn share(
        &mut self,
        log: &RuntimeLog,
        state: &Dataplane,
        canary: &Revision,
    ) -> Result<Share> {
        self.hub.wait_for_routers(state.generation, &self.token).await?;
        let mut share = Share::default();
        while share.sessions < SESSIONS {
            let tally = spread(&self.url, BATCH, CONCURRENCY, "everything__echo").await;
            self.add(&tally);
            // If the step ended in the middle of the batch, its sessions were distributed by two
            // different weights.
            let weights = |state: &Dataplane| state.revisions.get(canary).map(|state| state.weight);
            if log.latest().as_ref().and_then(weights) != weights(state) {
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

/// Whether all pods of `before` still exist, with the same restarts.
fn keeps(
    now: &std::collections::BTreeMap<String, i32>,
    before: &std::collections::BTreeMap<String, i32>,
) -> bool {
    before.iter().all(|(uid, restarts)| now.get(uid) == Some(restarts))
}

/// A tolerance for 4,000 sessions, widened for fewer: the deviation of a share grows as the root of
/// its sample shrinks.
fn tolerance_of(tolerance: f64, sessions: u64) -> f64 {
    tolerance * (SESSIONS as f64 / sessions.clamp(1, SESSIONS) as f64).sqrt()
}

fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1000.0
}
