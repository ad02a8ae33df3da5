//! The planner: from the input and the decision of the engine to writes in order.

mod desired_objects;
mod events;
mod orphans;
mod prepare;
mod router;
mod urgent;

use std::collections::BTreeSet;
use std::time::Duration;

use self::desired_objects::Desired;
use self::prepare::{delete, prepare, stamp};
pub use self::urgent::urgent_plan;
use crate::api::{Object, ObjectWrite, drift};
use crate::input::{Acceptance, PlanInput};
use crate::next::Next;
use crate::objects::runtime_config_map;
use crate::plan::{Plan, Unwritten};
use crate::probes::ProbeResults;
use crate::rollout::{self, Decision};
use crate::spec::valid::ValidLive;
use crate::status::StatusDraft;

/// Makes the plan. This function is total: everything that is wrong with the spec becomes
/// `Accepted=False`.
pub fn plan<'a>(input: PlanInput<'a>, results: &'a ProbeResults) -> Plan {
    let input = input.with_results(results);
    let status = StatusDraft::new(&input);
    if input.snapshot.hub.metadata.deletion_timestamp.is_some() {
        // An object that is created now could escape the garbage collector.
        return nothing(status, "the McpHub is being deleted");
    }
    if let Some(term) = input.newer_term() {
        return Plan {
            superseded_by: Some(term),
            ..nothing(status, "a newer leader has taken over")
        };
    }
    if input.must_take_over() {
        return take_over(&input, status);
    }
    let (true, Some(engine_input), Some(live)) =
        (input.has_begun(), input.engine_input(), &input.live)
    else {
        let status = status.refused(&input);
        let next = next_question(&input);
        let problems = events::problems(&input).into_iter();
        return Plan {
            events: problems.chain(events::lost_state(&input)).collect(),
            next,
            ..nothing(status, "the spec is not accepted, and nothing runs yet")
        };
    };
    let decision = rollout::advance(input.engine(), &engine_input);
    let status = status.decided(&input, live, &decision);
    compose(&input, live, decision, status)
}

fn nothing(status: StatusDraft, why: &str) -> Plan {
    Plan {
        objects: Vec::new(),
        deletes: Vec::new(),
        deletes_need: BTreeSet::new(),
        events: Vec::new(),
        outbox: None,
        dropped_events: 0,
        next: Next::Idle,
        superseded_by: None,
        waits: vec![why.to_owned()],
        status,
    }
}

/// A new leader writes its term before it acts. After that no write of an older leader takes
/// effect.
fn take_over(input: &PlanInput<'_>, status: StatusDraft) -> Plan {
    let mut object = Object::ConfigMap(runtime_config_map::with_term(
        input.runtime.live.as_ref(),
        input.owner,
        &input.snapshot.operator,
    ));
    input.owner.adopt(object.meta_mut());
    stamp(&mut object);
    Plan {
        objects: vec![ObjectWrite::prepare(object)],
        events: events::lost_state(input).into_iter().collect(),
        next: Next::Now,
        ..nothing(status, "taking over from an older leader")
    }
}

/// Interval at which a hub is reconciled while a server is not connected.
const SERVERS_AGAIN: Duration = Duration::from_secs(10);
/// Interval at which a question is asked again that the API server did not answer.
const QUESTION_AGAIN: Duration = Duration::from_secs(5);
/// Interval at which a hub is reconciled while its pods do not answer a self-check.
const UNANSWERED_AGAIN: Duration = Duration::from_mins(1);

fn compose(
    input: &PlanInput<'_>,
    live: &ValidLive,
    mut decision: Decision,
    status: StatusDraft,
) -> Plan {
    let mut plan = Plan {
        next: decision.next.or_sooner(next_question(input)),
        deletes_need: BTreeSet::from([runtime_config_map::object_name(input.owner.hub)]),
        ..nothing(status, &decision.report.message)
    };
    let mut events: Vec<_> = events::lost_state(input).into_iter().collect();
    events.extend(events::not_canaried(input, &decision));
    events.extend(std::mem::take(&mut decision.events));
    let unreported = [events::problems(input), plan.status.events().to_vec()].concat();
    events.extend(events::forget_sent(input, &mut decision, unreported));
    events::post(input, &mut plan, &mut decision, events);
    let decision = &decision;
    let unwritten = write(input, &mut plan, desired_objects::objects(input, live, decision));
    let planned: BTreeSet<_> =
        plan.objects.iter().map(|write| write.object.object_name()).collect();
    let orphans = orphans::orphans(input, live, decision);
    plan.deletes.extend(
        orphans.iter().filter(|object| !planned.contains(&object.object_name())).filter_map(delete),
    );
    if unwritten.blocks_deletes(&plan) {
        plan.deletes.clear();
    }
    if plan.next == Next::Idle {
        plan.next = next_self_check(input);
    }
    plan
}

/// Plans the writes. Returns the objects that must wait, because nobody could say whether they
/// belong to somebody else, and those that need them.
fn write(input: &PlanInput<'_>, plan: &mut Plan, desired: Vec<Desired>) -> Unwritten {
    let mut unwritten = Unwritten::default();
    let mut waiting = 0;
    for Desired { object, needs } in desired {
        let name = object.object_name();
        let there = input.snapshot.objects.get(&object);
        // An object that belongs to somebody else is never touched.
        if input.results.taken.contains(&name) {
            continue;
        }
        if there.as_ref().is_some_and(|there| drift::unpatchable(there, &object)) {
            plan.deletes.extend(there.as_ref().and_then(delete));
            plan.next = Next::Now;
            continue;
        }
        let write = prepare(object, there.as_ref()).after(needs);
        if unwritten.blocks(&write) || input.results.unknown_names.contains(&name) {
            unwritten.add(name);
            waiting += 1;
        } else {
            plan.objects.push(write);
        }
    }
    plan.status.expect(plan.objects.len() + waiting);
    unwritten
}

/// A question that the API server did not answer is asked again.
fn next_question(input: &PlanInput<'_>) -> Next {
    let unanswered = !input.results.unknown_names.is_empty()
        || matches!(input.acceptance, Acceptance::Unknown(_));
    if unanswered { Next::In(QUESTION_AGAIN) } else { Next::Idle }
}

/// Nothing reports that a server came up after its hub. Without another reconcile the status would
/// be wrong for a long time. A pod that does not answer is asked less often: the question makes it
/// ask all its servers.
fn next_self_check(input: &PlanInput<'_>) -> Next {
    let checks = || input.results.self_checks.values();
    let mut servers = checks().flatten().flat_map(|check| &check.servers);
    if servers.any(|server| !server.connected) {
        Next::In(SERVERS_AGAIN)
    } else if checks().any(Result::is_err) {
        Next::In(UNANSWERED_AGAIN)
    } else {
        Next::Idle
    }
}
