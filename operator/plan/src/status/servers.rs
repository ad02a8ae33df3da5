//! The MCP servers in the status: their state, what Ready says about them, and their Events.

use std::collections::BTreeMap;

use mcphub_crds::McpHubStatus;
use mcphub_crds::status::ServerStatus;
use mcphub_hub_wire::admin::{MAX_WARNINGS, SelfCheck, ServerState};
use mcphub_hub_wire::dataplane::Revision;

use super::conditions::ConditionDraft;
use crate::api::Event;
use crate::input::{PlanInput, pod_facts};
use crate::rollout::text::counted;
use crate::rollout::{Decision, ServerProblem};

/// Number of servers that a message names.
const NAMED: usize = 3;
/// Maximum length of a warning in characters.
const LONGEST_WARNING: usize = 512;
/// What a hub says about a server that it has not tried to reach yet.
const NOT_TRIED: &str = "not reached yet";

/// What a hub pod says about its servers and its filters, and what is to be told about that.
pub(super) struct Servers {
    pub(super) list: Vec<ServerStatus>,
    /// Number of tools that clients see.
    pub(super) tools: Option<u32>,
    /// What in the spec has no effect.
    pub(super) warnings: Vec<String>,
    pub(super) events: Vec<Event>,
}

/// Servers as a pod of stable sees them, else as a pod of the canary does. If no pod was asked,
/// they stay as they were.
pub(super) fn servers(input: &PlanInput<'_>, decision: &Decision, old: &McpHubStatus) -> Servers {
    let stable = decision.state.stable.as_ref().map(|stable| &stable.revision);
    let canary = decision.state.canary.as_ref().map(|canary| &canary.revision);
    let asked = stable
        .into_iter()
        .chain(canary)
        .find_map(|revision| Some((revision, self_check(input, revision)?)));
    let Some((revision, check)) = asked else {
        return Servers {
            list: old.servers.clone(),
            tools: old.tools,
            warnings: old.warnings.clone(),
            events: Vec::new(),
        };
    };
    let none = BTreeMap::new();
    let problems = input.facts.get(revision).map_or(&none, |facts| &facts.server_problems);
    let list: Vec<_> = check
        .servers
        .iter()
        .map(|server| server_status(server, problems.get(&server.name)))
        .collect();
    let starts = |server: &ServerStatus| {
        problems.get(&server.name).is_some_and(|problem| problem.starting)
            || server.message.as_deref() == Some(NOT_TRIED)
    };
    let failed = list.iter().filter(|server| !server.ready && !starts(server));
    let mut events: Vec<_> = failed.filter_map(|server| event(server, &old.servers)).collect();
    let warnings: Vec<_> =
        check.warnings.iter().take(MAX_WARNINGS).map(|warning| as_in_spec(warning)).collect();
    let new = warnings.iter().filter(|warning| !old.warnings.contains(warning));
    events.extend(new.map(|warning| Event {
        warning: true,
        reason: "NoEffect".into(),
        message: warning.clone(),
    }));
    let ready = list.iter().filter(|server| server.ready);
    let listed = ready.map(|server| server.tools).sum();
    Servers { tools: Some(check.visible_tools.unwrap_or(listed)), list, warnings, events }
}

/// A hub names the fields of its config, whose names differ from those of the spec in one place.
fn as_in_spec(warning: &str) -> String {
    let warning = warning.replacen("filtering.staticTools", "filtering.static.tools", 1);
    warning.chars().take(LONGEST_WARNING).collect()
}

fn server_status(server: &ServerState, problem: Option<&ServerProblem>) -> ServerStatus {
    let problem = problem.filter(|_| !server.connected);
    let message = problem.map_or(&server.message, |problem| &problem.message);
    ServerStatus {
        name: server.name.clone(),
        ready: server.connected,
        tools: server.tools,
        message: Some(message.chars().take(1024).collect::<String>())
            .filter(|message| !message.is_empty()),
    }
}

fn self_check<'a>(input: &'a PlanInput<'_>, revision: &Revision) -> Option<&'a SelfCheck> {
    let results = &input.results.self_checks;
    pod_facts::ready_pods(&input.snapshot.objects, revision)
        .find_map(|pod| results.get(pod.metadata.name.as_deref()?)?.as_ref().ok())
}

/// An Event if the status does not report this problem yet. Details such as the last line of a log
/// may change all the time.
fn event(server: &ServerStatus, old: &[ServerStatus]) -> Option<Event> {
    let before = old.iter().find(|old| old.name == server.name && !old.ready);
    if before.is_some_and(|before| headline(before) == headline(server)) {
        return None;
    }
    let why = server.message.as_deref().unwrap_or("it gives no reason");
    Some(Event {
        warning: true,
        reason: "ServerNotConnected".into(),
        message: format!("server \"{}\" is not connected: {why}", server.name),
    })
}

/// The message without its details.
fn headline(server: &ServerStatus) -> &str {
    let message = server.message.as_deref().unwrap_or_default();
    message.split_once(": ").map_or(message, |(headline, _)| headline)
}

/// The condition `ServersReady`.
pub(super) fn condition(servers: &[ServerStatus]) -> ConditionDraft {
    match not_connected(servers) {
        _ if servers.is_empty() => {
            ConditionDraft::unknown("NotAsked", "no hub pod has answered yet")
        }
        Some(message) => {
            ConditionDraft::no("NotConnected", format!("{message}; see status.servers"))
        }
        None if servers.len() == 1 => {
            ConditionDraft::yes("AllConnected", "the server is connected")
        }
        None => ConditionDraft::yes(
            "AllConnected",
            format!("all {} servers are connected", servers.len()),
        ),
    }
}

/// Names the servers that are not connected, with the reasons; `None` if all are.
pub(super) fn not_connected(all: &[ServerStatus]) -> Option<String> {
    let down: Vec<_> = all.iter().filter(|server| !server.ready).collect();
    let verb = if down.len() == 1 { "is" } else { "are" };
    let named = down.iter().take(NAMED).map(|server| match headline(server) {
        "" => server.name.clone(),
        why => format!("{} ({why})", server.name),
    });
    let list = named.collect::<Vec<_>>().join(", ");
    let more = match down.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let (down, all) = (down.len(), counted(all.len(), "server"));
    (down > 0).then(|| format!("{down} of {all} {verb} not connected: {list}{more}"))
}
