//! `initialize` and `server/discover`: what the hub says about itself.

use std::sync::Arc;

use mcphub_hub_catalog::instructions;
use mcphub_hub_protocol::json_splice;
use mcphub_hub_protocol::message::Request;
use mcphub_hub_protocol::{rewrite, version};

use super::answer::Answer;
use super::ctx::Ctx;
use super::{DEFAULT_TTL_MS, RESULT_META, SERVER_INFO};
use crate::serve::state::caller_view::CallerView;
use crate::serve::state::hub::{Hub, NewSession};
use crate::serve::state::sessions::Session;
use crate::serve::state::snapshot::ServerSlot;

pub(super) async fn initialize(hub: &Arc<Hub>, ctx: &Ctx, request: &Request<'_>) -> Answer {
    let params = &request.params;
    let version = version::negotiate(params.protocol_version.as_deref());
    let session = hub.open_session(NewSession {
        version,
        principal: &ctx.principal,
        view: ctx.view.clone(),
        client_info: params.client_info,
        capabilities: params.capabilities,
        internal: !ctx.counted,
    });
    let instructions = instructions(hub, ctx, Some(&session)).await;
    let capabilities = r#"{"tools":{"listChanged":true}}"#;
    let identity = format!(r#""capabilities":{capabilities},"serverInfo":{SERVER_INFO}"#);
    let result =
        format!(r#"{{"protocolVersion":"{version}",{identity},"instructions":{instructions}}}"#);
    let message = rewrite::response(request.id, &result);
    Answer::Response { message, error: None, session: Some(session.id.clone()) }
}

pub(super) async fn discover(hub: &Arc<Hub>, ctx: &Ctx, request: &Request<'_>) -> Answer {
    let versions: Vec<String> = version::supported().map(json_splice::quoted).collect();
    let instructions = instructions(hub, ctx, None).await;
    let scope = if hub.snapshot().config.access.is_empty() { "public" } else { "private" };
    let members = [
        r#""resultType":"complete""#.to_owned(),
        format!(r#""supportedVersions":[{}]"#, versions.join(",")),
        r#""capabilities":{"tools":{}}"#.to_owned(),
        format!(r#""instructions":{instructions}"#),
        format!(r#""ttlMs":{DEFAULT_TTL_MS},"cacheScope":"{scope}""#),
        format!(r#""_meta":{RESULT_META}"#),
    ];
    let result = format!("{{{}}}", members.join(","));
    Answer::result(request.id, &result)
}

/// What the client's model should know first, as a JSON string.
async fn instructions(hub: &Hub, ctx: &Ctx, session: Option<&Session>) -> String {
    let snapshot = if ctx.counted { hub.snapshot_for_handshake().await } else { hub.snapshot() };
    let Some(view) = CallerView::new(hub, snapshot, &ctx.principal, ctx.view.as_deref(), session)
    else {
        return "\"\"".into();
    };
    let of_servers: Vec<(String, Arc<str>)> = view
        .snapshot
        .servers
        .iter()
        .filter_map(ServerSlot::upstream)
        .filter_map(|upstream| {
            Some((upstream.server.name.clone(), upstream.state().instructions.clone()?))
        })
        .collect();
    let of_servers: Vec<(&str, &str)> =
        of_servers.iter().map(|(name, text)| (name.as_str(), &**text)).collect();
    json_splice::quoted(&instructions::instructions(&view.visible, &view.tool_list, &of_servers))
}
