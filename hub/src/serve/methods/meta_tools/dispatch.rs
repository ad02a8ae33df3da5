//! `hub__call_read`, `hub__call_write`, `hub__call_destructive`: any tool of a class by its name.

use std::sync::Arc;

use axum::http::HeaderMap;
use mcphub_hub_catalog::meta_tools::{self, Class, Dispatch};
use mcphub_hub_protocol::message::{Message, Request, parse};
use mcphub_hub_protocol::outcome::RequestEnd;

use super::{resolved, tool_error};
use crate::serve::http::mcp::{Answer, Ctx, Measured};
use crate::serve::methods::tools_call::{self, Direct};
use crate::serve::state::caller_view::Seen;
use crate::serve::state::hub::Hub;

pub(super) async fn answer(
    class: Class,
    hub: &Arc<Hub>,
    ctx: &Ctx,
    headers: &HeaderMap,
    request: &Request<'_>,
    seen: Seen,
    measured: Measured,
) -> Answer {
    let refused = |measured: Measured, message: &str| {
        measured.end(RequestEnd::Rejected);
        tool_error(ctx.version, request.id, message)
    };
    let asked = match Dispatch::parse(request.params.arguments) {
        Ok(asked) => asked,
        Err(message) => return refused(measured, &message),
    };
    let Some(position) = seen.visible.find(&asked.name) else {
        return tools_call::unknown(ctx, request, measured, &asked.name);
    };
    if let Some(tool) = seen.visible.tools.get(position)
        && !class.admits(Class::from_hints(tool.hints()))
    {
        return refused(measured, &meta_tools::wrong_class(tool, class));
    }
    // From here on it is as if the tool had been called by its own name.
    let text = resolved(request, &asked.name, &asked.arguments);
    let Ok(Message::Request(direct)) = parse(&text) else {
        return refused(measured, "arguments must be an object, as the tool's inputSchema says");
    };
    let selection = asked.selection_id.as_deref();
    let what = Direct { seen, position, dispatched: true, selection, correction: None };
    tools_call::direct(hub, ctx, headers, &direct, what, measured).await
}
