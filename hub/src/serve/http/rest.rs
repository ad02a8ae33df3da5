//! REST, as far as it only reads. What is one pod's own carries `pod`.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use axum::routing::{any, get};
use axum::{Json, Router};
use mcphub_hub_catalog::tool_list::ListScope;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::serve::http::edge;
use crate::serve::http::filtering_stats;
use crate::serve::metrics::client_limits;
use crate::serve::state::hub::Hub;
use crate::serve::state::snapshot::{Live, Slot};
use crate::serve::upstream::Status;

/// `/api/…`.
pub fn router() -> Router<Arc<Hub>> {
    Router::new()
        .route("/api/health", get(health))
        .route("/api/servers", get(servers))
        .route("/api/tools", get(tools))
        .route("/api/filtering/stats", get(filtering_stats::stats))
        .route("/api/filtering/status", any(filtering_stats::fixed))
        .route("/api/filtering/mode", any(filtering_stats::fixed))
        .route("/api/{*path}", any(other))
}

async fn health(State(hub): State<Arc<Hub>>) -> Json<Value> {
    let live = hub.live();
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
        "activeClients": hub.sessions.len(),
        "timestamp": u64::try_from(millis).unwrap_or_default(),
        "pod": hub.identity.pod,
        "revision": hub.identity.revision,
        "servers": states(&live),
    }))
}

async fn servers(State(hub): State<Arc<Hub>>) -> Json<Value> {
    Json(json!({ "servers": states(&hub.live()), "pod": hub.identity.pod }))
}

async fn tools(State(hub): State<Arc<Hub>>) -> Json<Value> {
    let live = hub.live_after_start().await;
    let tools: Vec<Value> = live
        .lists
        .anonymous()
        .visible
        .tools
        .iter()
        .map(|tool| {
            let server = live.config.servers.get(tool.server).map(|server| &server.name);
            let definition: Option<Box<RawValue>> = serde_json::from_str(&tool.definition).ok();
            json!({ "name": tool.exposed, "server": server, "tool": tool.own, "definition": definition })
        })
        .collect();
    Json(json!({ "tools": tools, "count": tools.len() }))
}

fn states(live: &Live) -> Vec<Value> {
    let lists = live.lists.anonymous();
    let visible = &lists.visible;
    let tool_list = lists.tool_list(ListScope::Stateless);
    let exposed = |server: usize| {
        let tools = visible.tools.iter().enumerate();
        tools.filter(|(position, tool)| tool.server == server && tool_list.lists(*position)).count()
    };
    let state = |(position, slot): (usize, &Slot)| {
        let (status, message) = match slot.status() {
            None => ("disabled", None),
            Some(Status::Starting(message)) => {
                ("connecting", Some(message).filter(|message| !message.is_empty()))
            }
            Some(Status::Connected) => ("connected", None),
            Some(Status::Down(message)) => ("disconnected", Some(message)),
        };
        json!({
            "name": live.config.servers.get(position).map(|server| &server.name),
            "status": status,
            "error": message,
            "tools": live.listed.get(position),
            "exposedTools": exposed(position),
            "vendorBreaches": client_limits::refused(visible.tools.iter().map(|tool| &**tool).filter(|tool| tool.server == position)),
        })
    };
    live.servers.iter().enumerate().map(state).collect()
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
        edge::method_not_allowed("GET", &method, "it only reads")
    } else if changes.contains(&uri.path()) && hub.identity.hub.is_some() {
        edge::method_not_allowed(
            "",
            &method,
            "the operator owns this hub; change the McpHub instead",
        )
    } else if changes.contains(&uri.path()) {
        edge::method_not_allowed(
            "",
            &method,
            "not supported yet; the config file is read again when it changes",
        )
    } else {
        edge::refusal(
            StatusCode::NOT_FOUND,
            "not found; there are /api/health, /api/servers, /api/tools and /api/filtering/stats",
        )
    }
}
