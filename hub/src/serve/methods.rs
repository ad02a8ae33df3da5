//! The methods that the hub answers. What is not here is not declared as a capability and answers -32601.

pub mod grouping;
pub mod meta_tools;
pub mod tools_call;

use std::sync::Arc;

use axum::http::HeaderMap;
use mcphub_hub_catalog::instructions;
use mcphub_hub_protocol::message::{Notification, Request};
use mcphub_hub_protocol::outcome::RequestEnd;
use mcphub_hub_protocol::version::{self, ProtocolVersion};
use mcphub_hub_protocol::{json_splice, rewrite};

use crate::serve::http::mcp::{Answer, Ctx, Measured};
use crate::serve::state::caller_view::Seen;
use crate::serve::state::hub::Hub;
use crate::serve::state::sessions::Session;
use crate::serve::state::snapshot::Slot;

/// Who answers, as JSON.
const SERVER_INFO: &str =
    concat!(r#"{"name":"mcp-hub","version":""#, env!("CARGO_PKG_VERSION"), r#""}"#);
/// How long a list holds where no server says it: changes come by notification only in sessions.
const DEFAULT_TTL_MS: u64 = 30_000;

/// Answers a request.
pub async fn answer(
    hub: &Arc<Hub>,
    ctx: &Ctx,
    headers: &HeaderMap,
    request: Request<'_>,
) -> Answer {
    let measured = Measured::begin(hub, &request.method, ctx);
    if ctx.counted {
        hub.categories.want();
    }
    match (&*request.method, ctx.version) {
        ("tools/call", _) => tools_call::answer(hub, ctx, headers, &request, measured).await,
        ("tools/list", _) => list(hub, ctx, &request, measured).await,
        ("initialize", _) => {
            measured.end(RequestEnd::Result);
            initialize(hub, ctx, &request).await
        }
        ("server/discover", _) => {
            measured.end(RequestEnd::Result);
            discover(hub, ctx, &request).await
        }
        ("ping", ProtocolVersion::Stateful(_)) => {
            measured.end(RequestEnd::Result);
            Answer::result(request.id, "{}")
        }
        (method, version) => {
            measured.end(RequestEnd::Rejected);
            let error = rewrite::error(-32601, &format!("Method not found: {method}"));
            Answer::error(version, request.id, &error, -32601)
        }
    }
}

/// Takes note of a notification.
pub fn note(hub: &Arc<Hub>, ctx: &Ctx, notification: &Notification<'_>) {
    Measured::begin(hub, &notification.method, ctx).end(RequestEnd::Result);
    if notification.method == "notifications/cancelled"
        && let (Some(session), Some(id)) = (&ctx.session, notification.params.request_id)
    {
        session.cancel(id);
    }
}

async fn initialize(hub: &Arc<Hub>, ctx: &Ctx, request: &Request<'_>) -> Answer {
    let params = &request.params;
    let version = version::negotiate(params.protocol_version.as_deref());
    let session = hub.open_session(ctx, version, params);
    let instructions = instructions(hub, ctx, Some(&session)).await;
    let result = format!(
        r#"{{"protocolVersion":"{version}","capabilities":{{"tools":{{"listChanged":true}}}},"serverInfo":{SERVER_INFO},"instructions":{instructions}}}"#
    );
    match Answer::result(request.id, &result) {
        Answer::One { status, text, .. } => {
            Answer::One { status, text, session: Some(session.id.clone()) }
        }
        other => other,
    }
}

async fn discover(hub: &Arc<Hub>, ctx: &Ctx, request: &Request<'_>) -> Answer {
    let versions: Vec<String> = version::supported().map(json_splice::quoted).collect();
    let instructions = instructions(hub, ctx, None).await;
    let scope = if hub.live().config.access.is_empty() { "public" } else { "private" };
    let result = format!(
        r#"{{"resultType":"complete","supportedVersions":[{}],"capabilities":{{"tools":{{}}}},"instructions":{instructions},"ttlMs":{DEFAULT_TTL_MS},"cacheScope":"{scope}","_meta":{{"io.modelcontextprotocol/serverInfo":{SERVER_INFO}}}}}"#,
        versions.join(",")
    );
    Answer::result(request.id, &result)
}

/// What the client's model is told first, as JSON.
async fn instructions(hub: &Hub, ctx: &Ctx, session: Option<&Session>) -> String {
    let live = if ctx.counted { hub.live_for_handshake().await } else { hub.live() };
    let Some(seen) = Seen::of(hub, live, ctx.view.as_deref(), session) else {
        return "\"\"".into();
    };
    let said: Vec<(String, Arc<str>)> = seen
        .live
        .servers
        .iter()
        .filter_map(Slot::upstream)
        .filter_map(|upstream| {
            Some((upstream.server.name.clone(), upstream.state().instructions.clone()?))
        })
        .collect();
    let said: Vec<(&str, &str)> =
        said.iter().map(|(name, text)| (name.as_str(), &**text)).collect();
    json_splice::quoted(&instructions::instructions(&seen.visible, &seen.tool_list, &said))
}

async fn list(hub: &Arc<Hub>, ctx: &Ctx, request: &Request<'_>, measured: Measured) -> Answer {
    let first = ctx.session.as_ref().is_none_or(|session| !session.has_listed());
    let live = if first { hub.live_after_start().await } else { hub.live() };
    let Some(seen) = Seen::of(hub, live, ctx.view.as_deref(), ctx.session.as_deref()) else {
        measured.end(RequestEnd::Rejected);
        let error = rewrite::error(-32600, "this view is not there any more");
        return Answer::error(ctx.version, request.id, &error, -32600);
    };
    let cursor = request.params.cursor.filter(|cursor| *cursor != "null");
    let cursor = cursor.map(|cursor| json_splice::unquoted(cursor).unwrap_or_default());
    let Some((page, next)) = seen.tool_list.page(cursor.as_deref()) else {
        measured.end(RequestEnd::Rejected);
        let error = rewrite::error(
            -32602,
            "Invalid params: this cursor is not of the current list; begin again without",
        );
        return Answer::error(ctx.version, request.id, &error, -32602);
    };
    if ctx.counted && cursor.is_none() {
        hub.metrics.list_cost.listed(&seen.visible, &seen.tool_list);
    }
    if let Some(session) = &ctx.session {
        session.listed(seen.tool_list.digest);
    }
    let next = next.map(|next| format!(",\"nextCursor\":\"{next}\"")).unwrap_or_default();
    let result = match ctx.version {
        ProtocolVersion::Stateful(_) => format!("{{\"tools\":{page}{next}}}"),
        ProtocolVersion::Stateless => {
            let ttl = seen.visible.ttl_ms().unwrap_or(DEFAULT_TTL_MS);
            let scope = if seen.visible.private() { "private" } else { "public" };
            format!(
                r#"{{"resultType":"complete","tools":{page}{next},"ttlMs":{ttl},"cacheScope":"{scope}","_meta":{{"io.modelcontextprotocol/serverInfo":{SERVER_INFO}}}}}"#
            )
        }
    };
    measured.end(RequestEnd::Result);
    Answer::result(request.id, &result)
}
