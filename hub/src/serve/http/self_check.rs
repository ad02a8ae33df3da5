//! The self-check: the operator sends no traffic to a pod before it passes. It takes the same path
//! as the requests of clients, as the hub's own principal, and no metric counts it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use mcphub_hub_catalog::catalog::{Tool, ToolCatalog};
use mcphub_hub_catalog::client_limits;
use mcphub_hub_catalog::list_cache::ListCache;
use mcphub_hub_catalog::meta_tools::MetaTool;
use mcphub_hub_catalog::tool_list::ListScope;
use mcphub_hub_catalog::visibility::Visibility;
use mcphub_hub_protocol::json_splice;
use mcphub_hub_protocol::message::{Message, parse};
use mcphub_hub_protocol::version::{ProtocolVersion, STATEFUL_VERSIONS, STATELESS_VERSION};
use mcphub_hub_wire::admin::{Check, MAX_WARNINGS, SELF_CHECK_PATH, SelfCheck, ServerState};
use mcphub_hub_wire::config::Server;
use serde_json::Value;

use crate::serve::methods;
use crate::serve::methods::answer::Answer;
use crate::serve::methods::ctx::Ctx;
use crate::serve::metrics::client_limits::known_tools;
use crate::serve::state::caller_view::CallerView;
use crate::serve::state::hub::Hub;
use crate::serve::state::sessions::Session;
use crate::serve::state::snapshot::{HubSnapshot, ServerSlot};
use crate::serve::upstream::Status;

const STATEFUL: ProtocolVersion = ProtocolVersion::Stateful(STATEFUL_VERSIONS[0]);

#[derive(Clone)]
struct CheckedHub {
    hub: Arc<Hub>,
    /// Where `/mcp` is.
    address: SocketAddr,
}

/// `/self-check`. `address` is where `/mcp` is.
pub(crate) fn router(hub: Arc<Hub>, address: SocketAddr) -> Router {
    Router::new().route(SELF_CHECK_PATH, get(run)).with_state(CheckedHub { hub, address })
}

async fn run(State(CheckedHub { hub, address }): State<CheckedHub>) -> Json<SelfCheck> {
    let snapshot = hub.snapshot();
    let checks = vec![
        check("listening", listening(address).await),
        check("generation", generation(&hub)),
        check("initialize", initialize(&hub).await),
        check("discover", discover(&hub).await),
        check("tools/list", tools_list(&hub, &snapshot).await),
        check("filtering", filtering(&hub, &snapshot)),
        check("selection", selection(&hub, &snapshot).await),
    ];
    let visible = snapshot.lists.without_view(&hub.principal).visible.tools.len();
    Json(SelfCheck {
        passed: checks.iter().all(|check| check.passed),
        checks,
        servers: server_states(&snapshot),
        visible_tools: Some(u32::try_from(visible).unwrap_or(u32::MAX)),
        warnings: warnings(&snapshot),
    })
}

/// What in the config has no effect. It cannot be known before every server has listed its tools.
fn warnings(snapshot: &HubSnapshot) -> Vec<String> {
    let lists: Vec<_> = snapshot.servers.iter().map(ServerSlot::list).collect();
    let waits = |(list, slot): (&Option<_>, &ServerSlot)| list.is_none() && slot.status().is_some();
    if lists.iter().zip(&snapshot.servers).any(waits) {
        return Vec::new();
    }
    let visibility = &snapshot.visibility;
    let all = visibility.warnings().into_iter().chain(visibility.server_warnings(&lists));
    all.take(MAX_WARNINGS).collect()
}

fn check(name: &str, result: Result<String, String>) -> Check {
    let passed = result.is_ok();
    Check { name: name.to_owned(), passed, message: result.unwrap_or_else(|message| message) }
}

async fn listening(address: SocketAddr) -> Result<String, String> {
    let loopback = if address.is_ipv6() { "::1" } else { "127.0.0.1" };
    let ip = if address.ip().is_unspecified() {
        loopback.parse().unwrap_or(address.ip())
    } else {
        address.ip()
    };
    let target = SocketAddr::new(ip, address.port());
    match tokio::net::TcpStream::connect(target).await {
        Ok(_) => Ok(format!("on {address}")),
        Err(error) => Err(format!("failed to connect to {target}: {error}")),
    }
}

fn generation(hub: &Hub) -> Result<String, String> {
    match hub.generation() {
        0 if hub.identity.hub.is_some() => Err("dataplane.json has not been read yet".into()),
        generation => Ok(format!("generation {generation}")),
    }
}

async fn initialize(hub: &Arc<Hub>) -> Result<String, String> {
    let (result, session) = open_session(hub).await?;
    let session = session.ok_or("initialize opened no session")?;
    hub.end_session(&session);
    Ok(format!("version {}", result["protocolVersion"].as_str().unwrap_or_default()))
}

async fn open_session(hub: &Arc<Hub>) -> Result<(Value, Option<String>), String> {
    let version = STATEFUL_VERSIONS[0];
    let client = r#"{"name":"self-check","version":"1"}"#;
    let params =
        format!(r#"{{"protocolVersion":"{version}","capabilities":{{}},"clientInfo":{client}}}"#);
    let ctx = Ctx::internal(&hub.principal, STATEFUL);
    request(hub, &ctx, "initialize", &params).await
}

async fn discover(hub: &Arc<Hub>) -> Result<String, String> {
    let ctx = Ctx::internal(&hub.principal, ProtocolVersion::Stateless);
    let (result, _) = request(hub, &ctx, "server/discover", "{}").await?;
    let versions = result["supportedVersions"].as_array().ok_or("no supportedVersions")?;
    if versions.iter().any(|version| version == STATELESS_VERSION) {
        Ok(format!("{} versions", versions.len()))
    } else {
        Err(format!("{STATELESS_VERSION} is not among them"))
    }
}

async fn tools_list(hub: &Arc<Hub>, snapshot: &Arc<HubSnapshot>) -> Result<String, String> {
    let ctx = Ctx::internal(&hub.principal, ProtocolVersion::Stateless);
    let (result, _) = request(hub, &ctx, "tools/list", "{}").await?;
    let tools = result["tools"].as_array().ok_or("the result has no tools")?.len();
    let more = result.get("nextCursor").is_some();
    let expected = caller_view(hub, snapshot, None)?.tool_list.entries();
    if more || tools == expected {
        Ok(format!("{tools} tools"))
    } else {
        Err(format!("{tools} tools listed, {expected} exposed"))
    }
}

/// Checks that the list in force is what the config and the servers' lists result in now.
fn filtering(hub: &Hub, snapshot: &HubSnapshot) -> Result<String, String> {
    let server_lists: Vec<_> = snapshot.servers.iter().map(ServerSlot::list).collect();
    let catalog =
        ToolCatalog::new(&snapshot.config, &server_lists).reuse(&snapshot.visibility.catalog);
    let inputs = snapshot.visibility.runtime_inputs();
    let expected = Visibility::with(Arc::clone(&snapshot.config), catalog, inputs);
    let expected = ListCache::new(expected, Some(&snapshot.lists)).without_view(&hub.principal);
    let current = snapshot.lists.without_view(&hub.principal);
    let mode = snapshot.config.filtering.mode;
    if expected.tool_list(ListScope::Stateless).digest
        == current.tool_list(ListScope::Stateless).digest
    {
        let existing = snapshot.listed.iter().sum::<usize>();
        Ok(format!("mode {mode:?}, {} of {existing} tools visible", current.visible.tools.len()))
    } else {
        Err("a newer list of a server is not in force yet".into())
    }
}

/// Checks that a prompt leads to tools, as it does for a client.
async fn selection(hub: &Arc<Hub>, snapshot: &Arc<HubSnapshot>) -> Result<String, String> {
    hub.selector.verify().await?;
    let golden = hub.selector.golden_result().map(|golden| {
        let unknown =
            if golden.unknown.is_empty() { "all exist".into() } else { golden.unknown.join(", ") };
        format!("; golden questions: recall {:.2}, unknown tools: {unknown}", golden.recall)
    });
    let golden = golden.unwrap_or_default();
    let (_, session) = open_session(hub).await?;
    let session = session.ok_or("initialize opened no session")?;
    let found = workflow(hub, snapshot, &session).await;
    hub.end_session(&session);
    found.map(|found| found + &golden)
}

/// Analyzes a prompt and lists the tools. If the hub analyzes no prompts, it searches instead.
async fn workflow(
    hub: &Arc<Hub>,
    snapshot: &Arc<HubSnapshot>,
    session: &str,
) -> Result<String, String> {
    let session = hub
        .sessions
        .get(session, None, &hub.principal, Instant::now())
        .ok_or("the new session does not exist")?;
    let before = caller_view(hub, snapshot, Some(&session))?;
    let prompt = |tool: &Arc<Tool>| {
        format!("{} {}", tool.bare, tool.description).chars().take(200).collect::<String>()
    };
    let Some(prompt) = before.visible.tools.first().map(prompt) else {
        return Ok("there are no tools to search".into());
    };
    let ctx =
        Ctx { session: Some(Arc::clone(&session)), ..Ctx::internal(&hub.principal, STATEFUL) };
    let prompt = json_splice::quoted(&prompt);
    let (tool, arguments) = if before.tool_list.has(MetaTool::AnalyzePrompt) {
        (MetaTool::AnalyzePrompt, format!(r#"{{"prompt":{prompt}}}"#))
    } else if before.tool_list.has(MetaTool::FindTools) {
        (MetaTool::FindTools, format!(r#"{{"query":{prompt}}}"#))
    } else {
        return Ok("every visible tool is listed, so there is no search".into());
    };
    let params = format!(r#"{{"name":"{}","arguments":{arguments}}}"#, tool.name());
    let (result, _) = request(hub, &ctx, "tools/call", &params).await?;
    let text = result["content"][0]["text"].as_str().unwrap_or_default();
    if result["isError"] == true {
        return Err(format!("{}: {text}", tool.name()));
    }
    let chosen: Value =
        serde_json::from_str(text).map_err(|error| format!("{}: {error}", tool.name()))?;
    let chosen = chosen["tools"].as_array().map_or(&[][..], Vec::as_slice);
    let (list, _) = request(hub, &ctx, "tools/list", "{}").await?;
    let listed = list["tools"].as_array().map_or(&[][..], Vec::as_slice);
    let missing = chosen.iter().filter(|chosen| chosen["listed"] == true).find(|chosen| {
        list.get("nextCursor").is_none()
            && !listed.iter().any(|listed| listed["name"] == chosen["name"])
    });
    match missing {
        Some(tool) => Err(format!("{} was chosen but is not in the list", tool["name"])),
        None => Ok(format!("a prompt found {} tools", chosen.len())),
    }
}

fn caller_view(
    hub: &Hub,
    snapshot: &Arc<HubSnapshot>,
    session: Option<&Session>,
) -> Result<CallerView, String> {
    CallerView::new(hub, Arc::clone(snapshot), &hub.principal, None, session)
        .ok_or_else(|| "no caller can see anything".into())
}

fn server_states(snapshot: &HubSnapshot) -> Vec<ServerState> {
    let state =
        |(position, ((server, slot), &tools)): (usize, ((&Server, &ServerSlot), &usize))| {
            let status = slot.status()?;
            let connected = status == Status::Connected;
            let message = match status {
                Status::Connected => {
                    let tools = known_tools(&snapshot.visibility, position);
                    let refused = client_limits::summary(
                        tools.map(|tool| (tool.exposed.as_str(), tool.violations())),
                    );
                    let invalid = slot.list().and_then(|list| list.problem_summary());
                    let invalid = invalid.map(|text| format!("violates the MCP schema: {text}"));
                    let messages: Vec<String> = invalid.into_iter().chain(refused).collect();
                    messages.join("; ")
                }
                Status::Starting(message) if message.is_empty() => "not reached yet".to_owned(),
                Status::Starting(message) | Status::Down(message) => message,
            };
            Some(ServerState {
                name: server.name.clone(),
                connected,
                tools: u32::try_from(tools).unwrap_or(u32::MAX),
                message,
            })
        };
    snapshot
        .config
        .servers
        .iter()
        .zip(&snapshot.servers)
        .zip(&snapshot.listed)
        .enumerate()
        .filter_map(state)
        .collect()
}

/// Sends a request through the path that clients take. Returns the result, and the id of the
/// session that was opened.
async fn request(
    hub: &Arc<Hub>,
    ctx: &Ctx,
    method: &str,
    params: &str,
) -> Result<(Value, Option<String>), String> {
    let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
    let Ok(Message::Request(request)) = parse(&text) else {
        return Err("bug: the request is invalid".into());
    };
    let Answer::Response { message, session, .. } = methods::answer(hub, ctx, request).await else {
        return Err("the answer is not a response".into());
    };
    let response: Value = serde_json::from_str(&message).map_err(|error| error.to_string())?;
    match response.get("result") {
        Some(result) => Ok((result.clone(), session)),
        None => Err(format!("answered with error {}", response["error"])),
    }
}
