//! `tools/call`: finds the tool that a call names, and who answers it.

use std::sync::Arc;

use mcphub_hub_catalog::meta_tools::MetaTool;
use mcphub_hub_protocol::json_splice;
use mcphub_hub_protocol::message::Request;

use super::answer::Answer;
use super::ctx::Ctx;
use super::forward::{self, CallRequest, Target};
use super::request_timer::RequestTimer;
use super::{grouping, list_changes, meta_tools};
use crate::serve::state::caller_view::CallerView;
use crate::serve::state::hub::Hub;

pub(super) async fn answer(
    hub: &Arc<Hub>,
    ctx: &Ctx,
    request: &Request<'_>,
    timer: RequestTimer,
) -> Answer {
    let Some(name) = request.params.name.and_then(json_splice::unquoted) else {
        return forward::refuse(request, timer, "Invalid params: name is missing");
    };
    let Some(view) = caller_view(hub, ctx, &name).await else {
        return forward::unknown_tool(request, timer, &name);
    };
    if ctx.counted {
        hub.metrics.list_cost.count_call(&view.visible, &view.tool_list, &name);
    }
    let call = CallRequest { hub, ctx, request, view, timer };
    if let Some(tool) = MetaTool::from_name(&name).filter(|tool| call.view.tool_list.has(*tool)) {
        return meta_tools::answer(tool, call).await;
    }
    if call.view.tool_list.dispatcher(&name).is_some() {
        return grouping::answer(&name, call).await;
    }
    let Some(position) = call.view.visible.find(&name) else {
        return call.unknown_tool(&name);
    };
    if let (Some(session), Some(tool)) = (&ctx.session, call.view.visible.tools.get(position)) {
        let additions = hub.additions(session);
        // A tool that is called is wanted: add it to the list, and keep it there while others are
        // removed.
        if call.view.tool_list.lists(position) {
            additions.touch(&tool.exposed);
        } else {
            additions.add(&tool.exposed);
        }
    }
    let target = Target::named(position, request.params.arguments);
    list_changes::prepend(hub, ctx, forward::forward(call, target).await)
}

/// What the caller of a tool sees. A tool may be unknown only because its server is still starting:
/// then the call waits like a first list, because clients call what they know from before.
async fn caller_view(hub: &Arc<Hub>, ctx: &Ctx, name: &str) -> Option<CallerView> {
    let view = |snapshot| {
        let (view, session) = (ctx.view.as_deref(), ctx.session.as_deref());
        CallerView::new(hub, snapshot, &ctx.principal, view, session)
    };
    let current = view(hub.snapshot())?;
    let known = current.visible.find(name).is_some()
        || current.tool_list.dispatcher(name).is_some()
        || MetaTool::from_name(name).is_some();
    if known || hub.startup_is_over() {
        return Some(current);
    }
    view(hub.snapshot_after_startup().await)
}
