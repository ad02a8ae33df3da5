//! The REST routes that only read. Answers that describe one pod carry `pod`.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use axum::routing::{any, get};
use axum::{Json, Router};
use mcphub_hub_catalog::catalog::Tool;
use mcphub_hub_catalog::client_limits;
use mcphub_hub_catalog::tool_list::ListScope;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::filtering_stats;
use super::responses::{method_not_allowed, refusal};
use crate::serve::metrics::client_limits::MAX_NAMED;
use crate::serve::state::hub::Hub;
use crate::serve::state::snapshot::ServerSlot;
use crate::serve::upstream::Status;

/// `/api/…`
pub(super) fn router() -> Router<Arc<Hub>> {
    Router::new()
        .route("/api/health", get(health))
        .route("/api/servers", get(servers))
        .route("/api/tools", get(tools))
        .route("/api/filtering/stats", get(filtering_stats::stats))
        .route("/api/filtering/status", any(filtering_stats::read_only))
        .route("/api/filtering/mode", any(filtering_stats::read_only))
        .route("/api/{*path}", any(other))
}

async fn health(State(hub): State<Arc<Hub>>) -> Json<Value> {
    let ready = hub.ready();
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis());
    Json(json!({
        "status": "ok",
        "state": match &ready {
            _ if hub.is_draining() => "draining",
            Ok(()) => "ready",
            Err(_) => "starting",
        },
        "reason": ready.err(),
        "server_id": hub.identity.hub.as_deref().unwrap_or("mcp-hub"),
        "version": env!("CARGO_PKG_VERSION"),
        "activeClients": hub.sessions.count(),
        "timestamp": u64::try_from(millis).unwrap_or_default(),
        "pod": hub.identity.pod,
        "revision": hub.identity.revision,
        "servers": server_states(&hub),
    }))
}

async fn servers(State(hub): State<Arc<Hub>>) -> Json<Value> {
    Json(json!({ "servers": server_states(&hub), "pod": hub.identity.pod }))
}

async fn tools(State(hub): State<Arc<Hub>>) -> Json<Value> {
    let snapshot = hub.snapshot_after_startup().await;
    let tools: Vec<Value> = snapshot
        .lists
        .without_view(&hub.principal)
        .visible
        .tools
        .iter()
        .map(|tool| {
            let server = snapshot.config.servers.get(tool.server).map(|server| &server.name);
            let definition: Option<Box<RawValue>> = serde_json::from_str(&tool.definition).ok();
            json!({
                "name": tool.exposed,
                "server": server,
                "tool": tool.own,
                "definition": definition,
            })
        })
        .collect();
    Json(json!({ "tools": tools, "count": tools.len() }))
}

fn server_states(hub: &Hub) -> Vec<Value> {
    let snapshot = hub.snapshot();
    let lists = snapshot.lists.without_view(&hub.principal);
    let (visible, tool_list) = (&lists.visible, lists.tool_list(ListScope::Stateless));
    let exposed = |server: usize| {
        let tools = visible.tools.iter().enumerate();
        tools.filter(|(position, tool)| tool.server == server && tool_list.lists(*position)).count()
    };
    let state = |(position, slot): (usize, &ServerSlot)| {
        let (status, message) = match slot.status() {
            None => ("disabled", None),
            Some(Status::Starting(message)) => {
                ("connecting", Some(message).filter(|message| !message.is_empty()))
            }
            Some(Status::Connected) => ("connected", None),
            Some(Status::Down(message)) => ("disconnected", Some(message)),
        };
        let tools = visible.tools.iter().map(|tool| &**tool);
        json!({
            "name": snapshot.config.servers.get(position).map(|server| &server.name),
            "status": status,
            "error": message,
            "tools": snapshot.listed.get(position),
            "exposedTools": exposed(position),
            "invalidDefinitions": slot.list().and_then(|list| list.problem_summary()),
            "vendorBreaches": refused_tools(tools.filter(|tool| tool.server == position)),
        })
    };
    snapshot.servers.iter().enumerate().map(state).collect()
}

/// The tools that a vendor refuses, and why.
fn refused_tools<'t>(tools: impl Iterator<Item = &'t Tool>) -> Vec<Value> {
    let refused = tools.filter(|tool| !tool.violations().is_empty()).take(MAX_NAMED);
    refused
        .map(|tool| {
            let reason = client_limits::describe(tool.violations());
            json!({ "tool": tool.exposed, "reason": reason })
        })
        .collect()
}

async fn other(State(hub): State<Arc<Hub>>, method: Method, uri: Uri) -> Response {
    let changes = [
        "/api/servers/start",
        "/api/servers/stop",
        "/api/servers/refresh",
        "/api/refresh",
        "/api/restart",
    ];
    let known = ["/api/health", "/api/servers", "/api/tools", "/api/filtering/stats"];
    if known.contains(&uri.path()) {
        method_not_allowed("GET", &method, "this route is read-only")
    } else if changes.contains(&uri.path()) && hub.identity.hub.is_some() {
        let reason = "the operator owns this hub; change the McpHub instead";
        method_not_allowed("", &method, reason)
    } else if changes.contains(&uri.path()) {
        let reason = "not supported yet; the hub reloads its config file when it changes";
        method_not_allowed("", &method, reason)
    } else {
        refusal(
            StatusCode::NOT_FOUND,
            "not found; the routes are /api/health, /api/servers, /api/tools and \
             /api/filtering/stats",
        )
    }
}
