//! Objects that no live revision needs any more.

use std::collections::BTreeSet;

use mcphub_hub_wire::dataplane::Revision;

use crate::accept::ValidLive;
use crate::input::PlanInput;
use crate::labels;
use crate::names;
use crate::plan::Child;
use crate::record::{RevisionRecord, StoredRevision};
use crate::rollout::Outcome;

/// Objects of revisions and servers that are not needed, and ControllerRevisions beyond the limit. Only what has a
/// name of that kind: an object that a newer operator made is not this one's to judge.
pub(crate) fn orphans(input: &PlanInput<'_>, live: &ValidLive, outcome: &Outcome) -> Vec<Child> {
    let needed = needed_servers(input, outcome);
    let servers = format!("{}-s-", input.owner.hub);
    let forgotten = forgotten(input, live, outcome);
    let orphan = |child: &Child| {
        let revision = names::revision_of(input.owner.hub, child.name());
        match (child, revision) {
            (Child::ControllerRevision(_), revision) => {
                revision.is_some_and(|revision| forgotten.contains(&revision))
            }
            (_, Some(revision)) => !outcome.live.contains_key(&revision),
            (_, None) if child.name().starts_with(&servers) => {
                needed.as_ref().is_some_and(|needed| !needed.contains(child.name()))
            }
            (_, None) => false,
        }
    };
    input.snapshot.children.all().filter(orphan).collect()
}

/// Names of servers' objects that some pod may still call; `None` if that cannot be known, because a newer operator
/// wrote a record: nothing goes then.
fn needed_servers(input: &PlanInput<'_>, outcome: &Outcome) -> Option<BTreeSet<String>> {
    // Pods that drain still call their servers, though their revision has no role any more.
    let draining = input.snapshot.children.pods.values().filter_map(|pod| {
        let labels = pod.metadata.labels.as_ref()?;
        labels.get(labels::REVISION)?.parse::<Revision>().ok()
    });
    let mut needed = BTreeSet::new();
    for revision in outcome.live.keys().cloned().chain(draining) {
        let Some(stored) = input.revision(&revision) else { continue };
        for server in &stored.record.as_ref().map(|RevisionRecord { servers, .. }| servers)?[..] {
            needed.insert(server.name().to_owned());
            needed.extend(server.config_maps.iter().filter_map(|map| map.metadata.name.clone()));
        }
    }
    Some(needed)
}

/// Revisions whose ControllerRevision goes: the oldest beyond the limit. Never a live one, never the one that the spec
/// asks for: with its record gone, a rolled-back revision would be tried again.
pub(crate) fn forgotten(
    input: &PlanInput<'_>,
    live: &ValidLive,
    outcome: &Outcome,
) -> BTreeSet<Revision> {
    let limit = usize::try_from(live.policy.history_limit).unwrap_or(usize::MAX);
    let asked = outcome.state.asked.as_ref().map(|asked| &asked.revision);
    let pinned =
        outcome.state.pinned.iter().flat_map(|pinned| [&pinned.revision, &pinned.instead_of]);
    let spared: BTreeSet<&Revision> =
        asked.into_iter().chain(pinned).chain(input.desired.as_ref()).collect();
    let mut all: Vec<(&Revision, &StoredRevision)> =
        input.revisions().filter(|(_, stored)| stored.created.is_some()).collect();
    all.sort_by_key(|(_, stored)| std::cmp::Reverse(stored.number));
    let old = all.into_iter().skip(limit).map(|(revision, _)| revision);
    old.filter(|revision| !outcome.live.contains_key(*revision) && !spared.contains(revision))
        .cloned()
        .collect()
}
