//! The self-check: the operator sends no traffic to a pod before it passes. It goes through the real path, as an
//! internal principal, and is counted nowhere.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::get;
use axum::{Json, Router};
use mcphub_hub_catalog::catalog::{Tool, ToolCatalog};
use mcphub_hub_catalog::list_cache::ListCache;
use mcphub_hub_catalog::meta_tools::MetaTool;
use mcphub_hub_catalog::tool_list::ListScope;
use mcphub_hub_catalog::visibility::Visibility;
use mcphub_hub_protocol::json_splice;
use mcphub_hub_protocol::message::{Message, parse};
use mcphub_hub_protocol::version::{ProtocolVersion, STATEFUL_VERSIONS, STATELESS_VERSION};
use mcphub_hub_wire::admin::{Check, SELF_CHECK_PATH, SelfCheck, ServerState};
use serde_json::Value;

use crate::serve::http::mcp::{Answer, Ctx};
use crate::serve::methods;
use crate::serve::metrics::client_limits;
use crate::serve::state::caller_view::Seen;
use crate::serve::state::hub::{Hub, anonymous};
use crate::serve::state::sessions::Session;
use crate::serve::state::snapshot::{Live, Slot};
use crate::serve::upstream::Status;

#[derive(Clone)]
struct Checked {
    hub: Arc<Hub>,
    listening: SocketAddr,
}

/// `/self-check`; `listening` is where `/mcp` is.
pub fn router(hub: Arc<Hub>, listening: SocketAddr) -> Router {
    Router::new().route(SELF_CHECK_PATH, get(run)).with_state(Checked { hub, listening })
}

async fn run(State(Checked { hub, listening }): State<Checked>) -> Json<SelfCheck> {
    let live = hub.live();
    let checks = vec![
        check("listening", is_listening(listening).await),
        check("generation", generation(&hub)),
        check("initialize", initialize(&hub).await),
        check("discover", discover(&hub).await),
        check("tools/list", list(&hub, &live).await),
        check("filtering", filtering(&live)),
        check("selection", selection(&hub, &live).await),
    ];
    let servers = servers(&live);
    Json(SelfCheck { passed: checks.iter().all(|check| check.passed), checks, servers })
}

fn check(name: &str, outcome: Result<String, String>) -> Check {
    let passed = outcome.is_ok();
    Check { name: name.to_owned(), passed, message: outcome.unwrap_or_else(|message| message) }
}

async fn is_listening(address: SocketAddr) -> Result<String, String> {
    let loopback = if address.is_ipv6() { "::1" } else { "127.0.0.1" };
    let ip = if address.ip().is_unspecified() {
        loopback.parse().unwrap_or(address.ip())
    } else {
        address.ip()
    };
    let target = SocketAddr::new(ip, address.port());
    match tokio::net::TcpStream::connect(target).await {
        Ok(_) => Ok(format!("on {address}")),
        Err(error) => Err(format!("cannot connect to {target}: {error}")),
    }
}

fn generation(hub: &Hub) -> Result<String, String> {
    match hub.generation() {
        0 if hub.identity.hub.is_some() => Err("no dataplane.json has been read yet".into()),
        generation => Ok(format!("generation {generation}")),
    }
}

async fn initialize(hub: &Arc<Hub>) -> Result<String, String> {
    let (result, session) = open(hub).await?;
    let session = session.ok_or("initialize opened no session")?;
    hub.end_session(&session);
    Ok(format!("version {}", result["protocolVersion"].as_str().unwrap_or_default()))
}

async fn open(hub: &Arc<Hub>) -> Result<(Value, Option<String>), String> {
    let params = format!(
        r#"{{"protocolVersion":"{}","capabilities":{{}},"clientInfo":{{"name":"self-check","version":"1"}}}}"#,
        STATEFUL_VERSIONS[0]
    );
    ask(hub, ProtocolVersion::Stateful(STATEFUL_VERSIONS[0]), "initialize", &params).await
}

async fn discover(hub: &Arc<Hub>) -> Result<String, String> {
    let (result, _) = ask(hub, ProtocolVersion::Stateless, "server/discover", "{}").await?;
    let versions = result["supportedVersions"].as_array().ok_or("no supportedVersions")?;
    if versions.iter().any(|version| version == STATELESS_VERSION) {
        Ok(format!("{} versions", versions.len()))
    } else {
        Err(format!("{STATELESS_VERSION} is not among them"))
    }
}

async fn list(hub: &Arc<Hub>, live: &Arc<Live>) -> Result<String, String> {
    let (result, _) = ask(hub, ProtocolVersion::Stateless, "tools/list", "{}").await?;
    let tools = result["tools"].as_array().ok_or("no tools in the result")?.len();
    let more = result.get("nextCursor").is_some();
    let tool_list = seen(hub, live, None)?.tool_list;
    let expected = tool_list.entries();
    if more || tools == expected {
        Ok(format!("{tools} tools"))
    } else {
        Err(format!("{tools} tools listed, {expected} exposed"))
    }
}

/// The list in force is what config and servers give now.
fn filtering(live: &Live) -> Result<String, String> {
    let lists: Vec<_> = live
        .servers
        .iter()
        .map(|slot| slot.upstream().and_then(|upstream| upstream.state().list.clone()))
        .collect();
    let catalog = ToolCatalog::new(&live.config, &lists).reuse(&live.visibility.catalog);
    let inputs = live.visibility.runtime_inputs();
    let expected = Visibility::with(Arc::clone(&live.config), catalog, inputs);
    let expected = ListCache::new(expected, Some(&live.lists)).anonymous();
    let lists = live.lists.anonymous();
    let mode = live.config.filtering.mode;
    if expected.tool_list(ListScope::Stateless).digest
        == lists.tool_list(ListScope::Stateless).digest
    {
        let existing = live.listed.iter().sum::<usize>();
        Ok(format!("mode {mode:?}, {} of {existing} tools visible", lists.visible.tools.len()))
    } else {
        Err("a newer list of a server is not in force yet".into())
    }
}

/// A prompt leads to tools, as it does for a caller.
async fn selection(hub: &Arc<Hub>, live: &Arc<Live>) -> Result<String, String> {
    hub.selector.verify().await?;
    let golden = hub.selector.golden().map(|golden| {
        let unknown =
            if golden.unknown.is_empty() { "all exist".into() } else { golden.unknown.join(", ") };
        format!("; golden questions: recall {:.2}, unknown tools: {unknown}", golden.recall)
    });
    let golden = golden.unwrap_or_default();
    let (_, session) = open(hub).await?;
    let session = session.ok_or("initialize opened no session")?;
    let found = workflow(hub, live, &session).await;
    hub.end_session(&session);
    found.map(|found| found + &golden)
}

/// Analyse prompt, then list; where sessions have no prompts, search.
async fn workflow(hub: &Arc<Hub>, live: &Arc<Live>, session: &str) -> Result<String, String> {
    let session = hub
        .sessions
        .get(session, None, anonymous(), Instant::now())
        .ok_or("the session is gone at once")?;
    let before = seen(hub, live, Some(&session))?;
    let wanted = |tool: &Arc<Tool>| {
        format!("{} {}", tool.bare, tool.description).chars().take(200).collect::<String>()
    };
    let Some(prompt) = before.visible.tools.first().map(wanted) else {
        return Ok("there are no tools to search".into());
    };
    let ctx = Ctx {
        session: Some(Arc::clone(&session)),
        ..internal(ProtocolVersion::Stateful(STATEFUL_VERSIONS[0]))
    };
    let prompt = json_splice::quoted(&prompt);
    let (tool, arguments) = if before.tool_list.has(MetaTool::AnalyzePrompt) {
        (MetaTool::AnalyzePrompt, format!(r#"{{"prompt":{prompt}}}"#))
    } else if before.tool_list.has(MetaTool::FindTools) {
        (MetaTool::FindTools, format!(r#"{{"query":{prompt}}}"#))
    } else {
        return Ok("every visible tool is listed, so there is no search".into());
    };
    let params = format!(r#"{{"name":"{}","arguments":{arguments}}}"#, tool.name());
    let (result, _) = ask_as(hub, &ctx, "tools/call", &params).await?;
    let text = result["content"][0]["text"].as_str().unwrap_or_default();
    if result["isError"] == true {
        return Err(format!("{}: {text}", tool.name()));
    }
    let chosen: Value =
        serde_json::from_str(text).map_err(|error| format!("{}: {error}", tool.name()))?;
    let chosen = chosen["tools"].as_array().map_or(&[][..], Vec::as_slice);
    let (list, _) = ask_as(hub, &ctx, "tools/list", "{}").await?;
    let listed = list["tools"].as_array().map_or(&[][..], Vec::as_slice);
    let missing = chosen.iter().filter(|chosen| chosen["listed"] == true).find(|chosen| {
        list.get("nextCursor").is_none()
            && !listed.iter().any(|listed| listed["name"] == chosen["name"])
    });
    match missing {
        Some(tool) => Err(format!("{} was chosen and is not in the list", tool["name"])),
        None => Ok(format!("a prompt found {} tools", chosen.len())),
    }
}

fn seen(hub: &Hub, live: &Arc<Live>, session: Option<&Session>) -> Result<Seen, String> {
    Seen::of(hub, Arc::clone(live), None, session)
        .ok_or_else(|| "the hub shows nothing to anybody".into())
}

fn servers(live: &Live) -> Vec<ServerState> {
    let state = |(position, ((server, slot), &tools)): (
        usize,
        ((&mcphub_hub_wire::config::Server, &Slot), &usize),
    )| {
        let status = slot.status()?;
        let connected = status == Status::Connected;
        let message = match status {
            Status::Connected => client_limits::summary(live, position).unwrap_or_default(),
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
    live.config
        .servers
        .iter()
        .zip(&live.servers)
        .zip(&live.listed)
        .enumerate()
        .filter_map(state)
        .collect()
}

/// Nobody: counted nowhere.
fn internal(version: ProtocolVersion) -> Ctx {
    Ctx { version, session: None, view: None, streams: false, counted: false }
}

/// Asks through the path that callers take, uncounted. Gives the result and the session that was opened.
async fn ask(
    hub: &Arc<Hub>,
    version: ProtocolVersion,
    method: &str,
    params: &str,
) -> Result<(Value, Option<String>), String> {
    ask_as(hub, &internal(version), method, params).await
}

async fn ask_as(
    hub: &Arc<Hub>,
    ctx: &Ctx,
    method: &str,
    params: &str,
) -> Result<(Value, Option<String>), String> {
    let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
    let Ok(Message::Request(request)) = parse(&text) else {
        return Err("the request is none".into());
    };
    let Answer::One { text, session, .. } =
        methods::answer(hub, ctx, &HeaderMap::new(), request).await
    else {
        return Err("the answer is no response".into());
    };
    let answer: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    match answer.get("result") {
        Some(result) => Ok((result.clone(), session)),
        None => Err(format!("answered {}", answer["error"])),
    }
}
