//! The lists in the status.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use mcphub_crds::status::{
    CanaryStatus, FlagStatus, HistoryEntry, Holding, RevisionResult, RuleStatus, StableStatus,
};
use mcphub_crds::values::Duration;
use mcphub_hub_wire::dataplane::Revision;

use crate::spec::flags::flags as spec_flags;
use crate::spec::valid::ValidLive;

use crate::input::PlanInput;
use crate::rollout::report::Report;
use crate::rollout::{self, Decision};

fn image(input: &PlanInput<'_>, revision: &Revision) -> String {
    input.facts.get(revision).map(|facts| facts.image.clone()).unwrap_or_default()
}

pub(super) fn stable(report: &Report, input: &PlanInput<'_>) -> Option<StableStatus> {
    report.stable.as_ref().map(|stable| StableStatus {
        revision: stable.revision.to_string(),
        image: image(input, &stable.revision),
        since: Time(stable.since),
    })
}

pub(super) fn canary(report: &Report, input: &PlanInput<'_>) -> Option<CanaryStatus> {
    report.canary.as_ref().map(|canary| CanaryStatus {
        revision: canary.revision.to_string(),
        image: image(input, &canary.revision),
        attempt: canary.attempt,
        step: canary.step,
        weight: canary.weight.percent(),
        bake_observed: Some(Duration::from(canary.bake_observed)),
        bake_required: Some(Duration::from(canary.bake_required)),
        holding: canary.holding.map(|(reason, since)| Holding { reason, since: Time(since) }),
    })
}

pub(super) fn rules(report: &Report) -> Vec<RuleStatus> {
    let rule = |rule: &rollout::report::RuleReport| RuleStatus {
        name: rule.name.clone(),
        value: rule.value.map(number),
        stable_value: rule.stable_value.map(number),
        samples: rule.samples.map(whole),
        verdict: rule.verdict,
        breached_since: rule.breached_since.map(Time),
    };
    report.rules.iter().map(rule).collect()
}

/// At most four decimals, without trailing zeros.
fn number(value: f64) -> String {
    let text = format!("{value:.4}");
    if !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float cast saturates, NaN becomes 0"
)]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

/// Flags of the revision that the spec asks for if it lives, else of the stable one.
pub(super) fn flags(input: &PlanInput<'_>, decision: &Decision) -> Vec<FlagStatus> {
    let live = &decision.dataplane.revisions;
    let desired = input.desired.as_ref().filter(|revision| live.contains_key(*revision));
    let stable = decision.state.stable.as_ref().map(|stable| &stable.revision);
    let Some(revision) = desired.or(stable) else { return Vec::new() };
    let effective = live.get(revision).map(|state| &state.flags);
    let facts = input.facts.get(revision).map(|facts| &facts.flags);
    // What the spec's revision remembers is not in force while that revision does not live.
    let remembered = [Some(revision), input.desired.as_ref()].into_iter().flatten();
    let rolled_back: Vec<_> =
        remembered.filter_map(|revision| decision.report.flags_rolled_back.get(revision)).collect();
    let flag = |(name, spec): (String, bool)| FlagStatus {
        effective: effective
            .and_then(|all| all.get(&name))
            .or(facts.and_then(|all| all.get(&name)))
            .copied()
            .unwrap_or(spec),
        rolled_back: rolled_back.iter().any(|all| all.contains_key(&name)),
        spec,
        name,
    };
    spec_flags(&input.snapshot.hub.spec).into_iter().map(flag).collect()
}

/// Results of the last revisions, newest first.
pub(super) fn history(
    input: &PlanInput<'_>,
    live: &ValidLive,
    decision: &Decision,
) -> Vec<HistoryEntry> {
    let entry = |(revision, stored): (&Revision, &crate::revisions::StoredRevision)| {
        let attempt = decision.state.records.get(revision).or(stored.attempt.as_ref())?;
        Some(HistoryEntry {
            revision: revision.to_string(),
            attempt: Some(attempt.attempt),
            image: stored.record.as_ref()?.image.clone(),
            result: result(attempt.result?),
            reason: Some(attempt.reason.chars().take(1024).collect::<String>())
                .filter(|reason| !reason.is_empty()),
            at: Time(attempt.at),
        })
    };
    let mut entries: Vec<_> = input.revisions().filter_map(entry).collect();
    entries.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.revision.cmp(&b.revision)));
    entries.truncate(usize::try_from(live.policy.history_limit).unwrap_or(usize::MAX));
    entries
}

fn result(result: rollout::AttemptResult) -> RevisionResult {
    match result {
        rollout::AttemptResult::Promoted => RevisionResult::Promoted,
        rollout::AttemptResult::RolledBack => RevisionResult::RolledBack,
        rollout::AttemptResult::Replaced => RevisionResult::Replaced,
        rollout::AttemptResult::Aborted => RevisionResult::Aborted,
        rollout::AttemptResult::Failed => RevisionResult::Failed,
    }
}
