//! A tool that stands for the tools of a server or category: `files__do {action, arguments}`.

use std::borrow::Cow;
use std::sync::Arc;

use mcphub_hub_catalog::grouping::DispatchCall;
use mcphub_hub_protocol::outcome::RequestEnd;
use mcphub_hub_wire::flags::AUTO_CORRECTION;

use super::answer::Answer;
use super::forward::{self, CallRequest, Target};
use super::list_changes;

/// Answers a call of the grouped tool with this name.
pub(super) async fn answer(name: &str, call: CallRequest<'_>) -> Answer {
    let tool_list = Arc::clone(&call.view.tool_list);
    let Some(dispatcher) = tool_list.dispatcher(name) else { return call.unknown_tool(name) };
    let (hub, ctx) = (call.hub, call.ctx);
    match dispatcher.parse(call.request.params.arguments, hub.flag(AUTO_CORRECTION)) {
        DispatchCall::Help(text) => call.text(&text),
        DispatchCall::Invalid(message) => call.tool_error(RequestEnd::Rejected, &message),
        DispatchCall::Tool { position, name, arguments, correction } => {
            if let Some(session) = &ctx.session {
                hub.additions(session).touch(name);
            }
            if let Some(correction) = &correction {
                hub.validator.count_correction(correction);
            }
            // From here on it is as if the client had called the tool by its own name.
            let arguments = Some(Cow::Borrowed(arguments));
            let target =
                Target { position, arguments, dispatched: true, selection: None, correction };
            list_changes::prepend(hub, ctx, forward::forward(call, target).await)
        }
    }
}
