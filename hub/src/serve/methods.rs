//! The methods that the hub answers. What is not here is not declared as a capability and answers -32601.

use std::sync::Arc;

use axum::http::HeaderMap;
use mcphub_core::era::{self, Era};
use mcphub_core::exposure::Asker;
use mcphub_core::message::{Notification, Request};
use mcphub_core::outcome::Ending;
use mcphub_core::{object, rewrite};

use super::call;
use super::hub::Hub;
use super::mcp::{Answer, Ctx, Measured};

/// Who answers, as JSON.
const SERVER_INFO: &str = concat!(r#"{"name":"mcp-hub","version":""#, env!("CARGO_PKG_VERSION"), r#""}"#);
/// How long a list holds where no server says it: changes come by notification only in sessions.
const DEFAULT_TTL_MS: u64 = 30_000;

/// Answers a request.
pub async fn answer(hub: &Arc<Hub>, ctx: &Ctx, headers: &HeaderMap, request: Request<'_>) -> Answer {
    let measured = Measured::begin(hub, &request.method, ctx);
    match (&*request.method, ctx.era) {
        ("tools/call", _) => call::answer(hub, ctx, headers, &request, measured).await,
        ("tools/list", _) => list(hub, ctx, &request, measured).await,
        ("initialize", _) => {
            measured.end(Ending::Result);
            initialize(hub, &request)
        }
        ("server/discover", _) => {
            measured.end(Ending::Result);
            discover(&request)
        }
        ("ping", Era::Legacy(_)) => {
            measured.end(Ending::Result);
            Answer::result(request.id, "{}")
        }
        (method, era) => {
            measured.end(Ending::Refused);
            let error = rewrite::error(-32601, &format!("Method not found: {method}"));
            Answer::error(era, request.id, &error, -32601)
        }
    }
}

/// Takes note of a notification.
pub fn note(hub: &Arc<Hub>, ctx: &Ctx, notification: &Notification<'_>) {
    Measured::begin(hub, &notification.method, ctx).end(Ending::Result);
    if notification.method == "notifications/cancelled"
        && let (Some(session), Some(id)) = (&ctx.session, notification.params.request_id)
    {
        session.cancel(id);
    }
}

fn initialize(hub: &Arc<Hub>, request: &Request<'_>) -> Answer {
    let params = &request.params;
    let version = era::negotiate(params.protocol_version.as_deref());
    let session = hub.open_session(version, params.client_info, params.capabilities);
    let result = format!(
        r#"{{"protocolVersion":"{version}","capabilities":{{"tools":{{"listChanged":true}}}},"serverInfo":{SERVER_INFO}}}"#
    );
    match Answer::result(request.id, &result) {
        Answer::One { status, text, .. } => Answer::One { status, text, session: Some(session.id.clone()) },
        other => other,
    }
}

fn discover(request: &Request<'_>) -> Answer {
    let versions: Vec<String> = era::supported().map(object::quoted).collect();
    let result = format!(
        r#"{{"resultType":"complete","supportedVersions":[{}],"capabilities":{{"tools":{{}}}},"ttlMs":{DEFAULT_TTL_MS},"cacheScope":"public","_meta":{{"io.modelcontextprotocol/serverInfo":{SERVER_INFO}}}}}"#,
        versions.join(",")
    );
    Answer::result(request.id, &result)
}

async fn list(hub: &Arc<Hub>, ctx: &Ctx, request: &Request<'_>, measured: Measured) -> Answer {
    let first = ctx.session.as_ref().is_none_or(|session| session.has_listed().is_none());
    let live = if first { hub.live_after_start().await } else { hub.live() };
    let sight = live.anonymous();
    let exposure = sight.exposure(Asker::Stateless);
    let cursor = request.params.cursor.filter(|cursor| *cursor != "null");
    let cursor = cursor.map(|cursor| object::unquoted(cursor).unwrap_or_default());
    let Some((page, next)) = exposure.page(cursor.as_deref()) else {
        measured.end(Ending::Refused);
        let error =
            rewrite::error(-32602, "Invalid params: this cursor is not of the current list; begin again without");
        return Answer::error(ctx.era, request.id, &error, -32602);
    };
    if ctx.counted && cursor.is_none() {
        hub.metrics.list_cost.listed(&sight, &exposure);
    }
    if let Some(session) = &ctx.session {
        session.listed(exposure.digest);
    }
    let next = next.map(|next| format!(",\"nextCursor\":\"{next}\"")).unwrap_or_default();
    let result = match ctx.era {
        Era::Legacy(_) => format!("{{\"tools\":{page}{next}}}"),
        Era::Modern => {
            let ttl = sight.ttl_ms().unwrap_or(DEFAULT_TTL_MS);
            let scope = if sight.private() { "private" } else { "public" };
            format!(
                r#"{{"resultType":"complete","tools":{page}{next},"ttlMs":{ttl},"cacheScope":"{scope}","_meta":{{"io.modelcontextprotocol/serverInfo":{SERVER_INFO}}}}}"#
            )
        }
    };
    measured.end(Ending::Result);
    Answer::result(request.id, &result)
}
