//! A tool that stands for the tools of a server or category: `files__do {action, arguments}`.

use std::sync::Arc;

use axum::http::HeaderMap;
use mcphub_hub_catalog::grouping::DispatchCall;
use mcphub_hub_protocol::message::{Message, Request, parse};
use mcphub_hub_protocol::outcome::RequestEnd;
use mcphub_hub_wire::flags::AUTO_CORRECTION;

use crate::serve::http::mcp::{Answer, Ctx, Measured};
use crate::serve::methods::meta_tools::{resolved, result, telling, tool_error};
use crate::serve::methods::tools_call::{self, Direct};
use crate::serve::state::caller_view::Seen;
use crate::serve::state::hub::Hub;

/// Answers a call of the dispatching tool of this name.
pub(in crate::serve) async fn answer(
    name: &str,
    hub: &Arc<Hub>,
    ctx: &Ctx,
    headers: &HeaderMap,
    request: &Request<'_>,
    seen: Seen,
    measured: Measured,
) -> Answer {
    let tool_list = Arc::clone(&seen.tool_list);
    let Some(dispatcher) = tool_list.dispatcher(name) else {
        return tools_call::unknown(ctx, request, measured, name);
    };
    let (position, tool, arguments, correction) =
        match dispatcher.parse(request.params.arguments, hub.flag(AUTO_CORRECTION)) {
            DispatchCall::Tool { position, name, arguments, correction } => {
                (position, name, arguments, correction)
            }
            DispatchCall::Help(text) => {
                measured.end(RequestEnd::Result);
                return result(ctx.version, request.id, &text);
            }
            DispatchCall::Invalid(message) => {
                measured.end(RequestEnd::Rejected);
                return tool_error(ctx.version, request.id, &message);
            }
        };
    // From here on it is as if the tool had been called by its own name.
    let text = resolved(request, tool, arguments);
    let Ok(Message::Request(direct)) = parse(&text) else {
        measured.end(RequestEnd::Rejected);
        return tool_error(ctx.version, request.id, "arguments must be an object");
    };
    if let Some(session) = &ctx.session {
        hub.additions(session).used(tool);
    }
    if let Some(correction) = &correction {
        hub.judging.corrected(correction);
    }
    let what = Direct { seen, position, dispatched: true, selection: None, correction };
    let answer = tools_call::direct(hub, ctx, headers, &direct, what, measured).await;
    telling(hub, ctx, answer)
}
