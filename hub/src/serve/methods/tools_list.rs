//! `tools/list`: answers with one page of the caller's list.

use std::sync::Arc;

use mcphub_hub_protocol::message::Request;
use mcphub_hub_protocol::outcome::RequestEnd;
use mcphub_hub_protocol::{json_splice, rewrite};

use super::answer::Answer;
use super::ctx::Ctx;
use super::request_timer::RequestTimer;
use super::{DEFAULT_TTL_MS, RESULT_META};
use crate::serve::state::caller_view::CallerView;
use crate::serve::state::hub::Hub;

pub(super) async fn answer(
    hub: &Arc<Hub>,
    ctx: &Ctx,
    request: &Request<'_>,
    timer: RequestTimer,
) -> Answer {
    let first = ctx.session.as_ref().is_none_or(|session| !session.has_listed());
    let snapshot = if first { hub.snapshot_after_startup().await } else { hub.snapshot() };
    let (view, session) = (ctx.view.as_deref(), ctx.session.as_deref());
    let Some(view) = CallerView::new(hub, snapshot, &ctx.principal, view, session) else {
        return refused(request, timer, -32600, "this view does not exist any more");
    };
    let cursor = request.params.cursor.filter(|cursor| *cursor != "null");
    let cursor = cursor.map(|cursor| json_splice::unquoted(cursor).unwrap_or_default());
    let Some((page, next)) = view.tool_list.page(cursor.as_deref()) else {
        let message = "Invalid params: cursor is for an older list; request the first page again";
        return refused(request, timer, -32602, message);
    };
    if ctx.counted && cursor.is_none() {
        hub.metrics.list_cost.count_list(&view.visible, &view.tool_list);
    }
    if let Some(session) = &ctx.session {
        session.record_list(view.tool_list.digest);
    }
    let next = next.map(|next| format!(",\"nextCursor\":\"{next}\"")).unwrap_or_default();
    let result = if ctx.version.is_stateless() {
        let ttl = view.visible.ttl_ms().unwrap_or(DEFAULT_TTL_MS);
        let scope = if view.visible.private() { "private" } else { "public" };
        let caching = format!(r#""ttlMs":{ttl},"cacheScope":"{scope}""#);
        format!(
            r#"{{"resultType":"complete","tools":{page}{next},{caching},"_meta":{RESULT_META}}}"#
        )
    } else {
        format!("{{\"tools\":{page}{next}}}")
    };
    timer.end(RequestEnd::Result);
    Answer::result(request.id, &result)
}

fn refused(request: &Request<'_>, timer: RequestTimer, code: i32, message: &str) -> Answer {
    timer.end(RequestEnd::Rejected);
    Answer::error(request.id, &rewrite::error(code, message), code.into())
}
