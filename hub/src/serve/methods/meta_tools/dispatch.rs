//! `hub__call_read`, `hub__call_write`, `hub__call_destructive`: any tool of a class by its name.

use mcphub_hub_catalog::meta_tools::{self, Class, Dispatch};
use mcphub_hub_protocol::outcome::RequestEnd;

use crate::serve::methods::answer::Answer;
use crate::serve::methods::forward::{self, CallRequest, Target};

pub(super) async fn answer(class: Class, call: CallRequest<'_>) -> Answer {
    let dispatch = match Dispatch::parse(call.request.params.arguments) {
        Ok(dispatch) => dispatch,
        Err(message) => return call.tool_error(RequestEnd::Rejected, &message),
    };
    let Some(position) = call.view.visible.find(&dispatch.name) else {
        return call.unknown_tool(&dispatch.name);
    };
    if let Some(tool) = call.view.visible.tools.get(position)
        && !class.admits(Class::from_hints(tool.hints()))
    {
        let message = meta_tools::wrong_class(tool, class);
        return call.tool_error(RequestEnd::Rejected, &message);
    }
    // From here on it is as if the client had called the tool by its own name.
    let target = Target {
        position,
        arguments: Some(dispatch.arguments),
        dispatched: true,
        selection: dispatch.selection_id.as_deref(),
        correction: None,
    };
    forward::forward(call, target).await
}
