//! The events of a plan, and which of them are stored until they are sent.

use crate::api::Event;
use crate::input::PlanInput;
use crate::plan::Plan;
use crate::rollout::Decision;
use crate::spec::problem::Problem;

/// Adds the events of the plan to the outbox of the decision.
pub(super) fn post(
    input: &PlanInput<'_>,
    plan: &mut Plan,
    decision: &mut Decision,
    events: Vec<Event>,
) {
    let outbox = &mut decision.state.outbox;
    let dropped = events.iter().map(|event| outbox.push(input.snapshot.now, event));
    plan.dropped_events = dropped.sum();
    plan.events = events;
    plan.outbox = Some(outbox.events().to_vec());
}

/// Removes the events that have been sent from the outbox of the decision. `unreported` are events
/// about what the status does not report yet; returns those that are new. One that is in the outbox
/// stays there until the status reports it, so that it is not added again.
pub(super) fn forget_sent(
    input: &PlanInput<'_>,
    decision: &mut Decision,
    unreported: Vec<Event>,
) -> Vec<Event> {
    let (hub, uid) = (input.owner.hub, input.owner.uid);
    let outbox = &mut decision.state.outbox;
    let (known, new): (Vec<_>, Vec<_>) =
        unreported.into_iter().partition(|event| outbox.has(event));
    outbox.retain(|pending| {
        let sent = input.snapshot.sent_events.contains(&pending.name(hub, uid));
        !sent || known.iter().any(|event| pending.is(event))
    });
    new
}

/// An Event about a state that cannot be used.
pub(super) fn lost_state(input: &PlanInput<'_>) -> Option<Event> {
    let why = input.runtime.lost?;
    let message = format!(
        "engine.json in the ConfigMap {}-runtime {why}; the rollout continues from what the pods \
         obey: no weight changes, and a bake or guard that was running starts again",
        input.owner.hub
    );
    Some(Event { warning: true, reason: "StateLost".into(), message })
}

/// An Event for every problem that the status does not report yet.
pub(super) fn problems(input: &PlanInput<'_>) -> Vec<Event> {
    let problems = input.acceptance.problems();
    let conditions = input.snapshot.hub.status.iter().flat_map(|status| &status.conditions);
    let told: Vec<_> = conditions
        .filter(|condition| condition.type_ == "Accepted")
        .map(|c| c.message.as_str())
        .collect();
    let new =
        problems.iter().filter(|problem| !told.iter().any(|told| told.contains(&problem.message)));
    new.map(|Problem { reason, message }| Event {
        warning: true,
        reason: reason.as_str().into(),
        message: message.clone(),
    })
    .collect()
}

/// Events about servers of a new revision that cannot run in two pods at a time. Such a server
/// changes for all revisions at once.
pub(super) fn not_canaried(input: &PlanInput<'_>, decision: &Decision) -> Vec<Event> {
    let revisions = input.revisions().count();
    let stored =
        decision.live.keys().filter_map(|revision| Some((revision, input.revision(revision)?)));
    let new = stored.filter(|(_, stored)| stored.created.is_none() && revisions > 1);
    let servers = new.flat_map(|(revision, stored)| {
        let servers = stored.record.iter().flat_map(|record| &record.servers);
        servers.filter(|server| server.is_recreated()).map(move |server| (revision, server))
    });
    servers
        .map(|(revision, server)| Event {
            warning: true,
            reason: "NotCanaried".into(),
            message: format!(
                "server \"{}\" has strategy Recreate: if revision {revision} changes it, it \
                 changes for all revisions at once; to canary it, use a ReadWriteMany volume and \
                 RollingUpdate",
                server.server
            ),
        })
        .collect()
}
