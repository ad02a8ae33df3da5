//! Objects that no live revision needs.

use std::collections::BTreeSet;

use mcphub_hub_wire::dataplane::Revision;

use crate::api::{Object, labels, names};
use crate::input::PlanInput;
use crate::revisions::{RevisionRecord, StoredRevision};
use crate::rollout::{Decision, fast_rollbacks};
use crate::spec::valid::ValidLive;

/// Objects of revisions and servers that are not needed, and ControllerRevisions beyond the limit.
/// Other names are ignored, because a newer operator may have created such an object.
pub(crate) fn orphans(input: &PlanInput<'_>, live: &ValidLive, decision: &Decision) -> Vec<Object> {
    let needed = needed_servers(input, decision);
    let servers = format!("{}-s-", input.owner.hub);
    let forgotten = forgotten(input, live, decision);
    let orphan = |object: &Object| {
        let revision = names::revision_of(input.owner.hub, object.name());
        match (object, revision) {
            (Object::ControllerRevision(_), revision) => {
                revision.is_some_and(|revision| forgotten.contains(&revision))
            }
            (_, Some(revision)) => !decision.live.contains_key(&revision),
            (_, None) if object.name().starts_with(&servers) => {
                needed.as_ref().is_some_and(|needed| !needed.contains(object.name()))
            }
            (_, None) => false,
        }
    };
    input.snapshot.objects.all().filter(orphan).collect()
}

/// Names of server objects that pods may still call. `None` if a newer operator wrote a record,
/// because then the names cannot be known and nothing may be deleted.
fn needed_servers(input: &PlanInput<'_>, decision: &Decision) -> Option<BTreeSet<String>> {
    // Pods that drain still call their servers although their revision has no role any more.
    let draining = input.snapshot.objects.pods.values().filter_map(|pod| {
        let labels = pod.metadata.labels.as_ref()?;
        labels.get(labels::REVISION)?.parse::<Revision>().ok()
    });
    let mut needed = BTreeSet::new();
    for revision in decision.live.keys().cloned().chain(draining) {
        let Some(stored) = input.revision(&revision) else { continue };
        for server in &stored.record.as_ref().map(|RevisionRecord { servers, .. }| servers)?[..] {
            needed.insert(server.name().to_owned());
            needed.extend(server.config_maps.iter().filter_map(|map| map.metadata.name.clone()));
        }
    }
    Some(needed)
}

/// Revisions whose ControllerRevision is deleted: the oldest ones beyond the limit. A live revision
/// stays, and so does the revision that the spec asks for: without its record a rolled-back
/// revision would be tried again. The last promoted revisions stay as well, because many failed
/// attempts must not take away what a rollback needs.
pub(crate) fn forgotten(
    input: &PlanInput<'_>,
    live: &ValidLive,
    decision: &Decision,
) -> BTreeSet<Revision> {
    let limit = usize::try_from(live.policy.history_limit).unwrap_or(usize::MAX);
    let spec_revision =
        decision.state.spec_revision.as_ref().map(|spec_revision| &spec_revision.revision);
    let pin = decision.state.pin.iter().flat_map(|pin| [&pin.revision, &pin.instead_of]);
    let promoted = fast_rollbacks(&decision.state, &live.policy);
    let spared: BTreeSet<&Revision> = spec_revision
        .into_iter()
        .chain(pin)
        .chain(input.desired.as_ref())
        .chain(promoted)
        .collect();
    let mut all: Vec<(&Revision, &StoredRevision)> =
        input.revisions().filter(|(_, stored)| stored.created.is_some()).collect();
    all.sort_by_key(|(_, stored)| std::cmp::Reverse(stored.number));
    let old = all.into_iter().skip(limit).map(|(revision, _)| revision);
    old.filter(|revision| !decision.live.contains_key(*revision) && !spared.contains(revision))
        .cloned()
        .collect()
}
