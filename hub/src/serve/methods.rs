//! The MCP methods that the hub answers. A method that is missing here is not declared as a
//! capability, and is answered with -32601.
//!
//! Nothing here knows HTTP: a request comes with its [`ctx`], and leaves as an [`answer`].
//! [`tools_call`] finds the tool of a call; [`meta_tools`] and [`grouping`] are answered by the hub
//! itself or resolve to another tool, and [`forward`] sends the call to its server.
//! [`list_changes`] notifies sessions.

pub(super) mod answer;
pub(super) mod ctx;
mod forward;
mod grouping;
mod handshake;
pub(super) mod list_changes;
mod meta_tools;
pub(super) mod request_timer;
mod tools_call;
mod tools_list;

use std::sync::Arc;

use mcphub_hub_protocol::message::{Notification, Request};
use mcphub_hub_protocol::outcome::RequestEnd;
use mcphub_hub_protocol::rewrite;

use self::answer::Answer;
use self::ctx::Ctx;
use self::request_timer::RequestTimer;
use super::state::hub::Hub;

/// The `serverInfo` of the hub, as JSON.
const SERVER_INFO: &str =
    concat!(r#"{"name":"mcp-hub","version":""#, env!("CARGO_PKG_VERSION"), r#""}"#);
/// The `_meta` of a result in the protocol without sessions.
const RESULT_META: &str = concat!(
    r#"{"io.modelcontextprotocol/serverInfo":{"name":"mcp-hub","version":""#,
    env!("CARGO_PKG_VERSION"),
    r#""}}"#
);
/// How long clients may cache a list if no server says so. Clients without a session get no
/// notifications.
const DEFAULT_TTL_MS: u64 = 30_000;

/// Answers a request.
pub(super) async fn answer(hub: &Arc<Hub>, ctx: &Ctx, request: Request<'_>) -> Answer {
    let timer = RequestTimer::start(hub, &request.method, ctx);
    if ctx.counted {
        hub.llm_categories.want();
    }
    match &*request.method {
        "tools/call" => tools_call::answer(hub, ctx, &request, timer).await,
        "tools/list" => tools_list::answer(hub, ctx, &request, timer).await,
        "initialize" if !ctx.version.is_stateless() => {
            let answer = handshake::initialize(hub, ctx, &request).await;
            timer.end(RequestEnd::Result);
            answer
        }
        "server/discover" => {
            let answer = handshake::discover(hub, ctx, &request).await;
            timer.end(RequestEnd::Result);
            answer
        }
        "ping" if !ctx.version.is_stateless() => {
            timer.end(RequestEnd::Result);
            Answer::result(request.id, "{}")
        }
        method => {
            timer.end(RequestEnd::Rejected);
            let error = rewrite::error(-32601, &format!("Method not found: {method}"));
            Answer::error(request.id, &error, -32601)
        }
    }
}

/// Acts on a notification.
pub(super) fn notify(hub: &Arc<Hub>, ctx: &Ctx, notification: &Notification<'_>) {
    RequestTimer::start(hub, &notification.method, ctx).end(RequestEnd::Result);
    if notification.method == "notifications/cancelled"
        && let (Some(session), Some(id)) = (&ctx.session, notification.params.request_id)
    {
        session.cancel(id);
    }
}
