//! `hub__find_tools`: definitions of the tools that fit.

use std::sync::Arc;

use mcphub_hub_catalog::meta_tools::{Class, FindTools};
use mcphub_hub_catalog::visibility::VisibleTools;
use mcphub_hub_protocol::json_splice::quoted;
use mcphub_hub_protocol::message::Request;

use super::{Failed, score};
use crate::selector::{Ask, Ranking};
use crate::serve::http::mcp::Ctx;
use crate::serve::state::caller_view::Seen;
use crate::serve::state::hub::{Hub, anonymous};

/// Servers that an answer names; the answer must not cost more than what it saves.
const NAMED_SERVERS: usize = 100;
const NEXT: &str = "Call a tool by its name with arguments by its inputSchema, or pass both to the tool in callWith, \
                    with this selectionId.";

pub(super) async fn text(
    hub: &Arc<Hub>,
    ctx: &Ctx,
    request: &Request<'_>,
    seen: &Seen,
) -> Result<String, Failed> {
    let asked = FindTools::parse(request.params.arguments).map_err(Failed::refused)?;
    if let Some(server) = &asked.server
        && !seen.visible.servers().iter().any(|(name, _)| name == server)
    {
        return Err(Failed::refused(format!(
            "there is no server {}; there are: {}",
            quoted(server),
            servers(&seen.visible)
        )));
    }
    let ranking = hub
        .selector
        .rank(Ask {
            prompt: &asked.query,
            visible: &seen.visible,
            server: asked.server.as_deref(),
            limit: asked.limit,
            memory: seen.live.config.filtering.prompt_based.memory,
            principal: anonymous(),
            counted: ctx.counted,
        })
        .await?;
    Ok(if ranking.fits && !ranking.hits.is_empty() {
        found(&seen.visible, &ranking)
    } else {
        nothing(&seen.visible)
    })
}

fn found(visible: &VisibleTools, ranking: &Ranking) -> String {
    let tools = ranking.hits.iter().filter_map(|hit| {
        let tool = visible.tools.get(hit.position)?;
        let (class, score) = (Class::from_hints(tool.hints()), score(hit.score));
        // The definition as it is in a list, byte for byte.
        Some(format!(
            r#"{{"score":{score},"callWith":"{}","definition":{}}}"#,
            class.dispatcher().name(),
            tool.definition
        ))
    });
    let tools: Vec<String> = tools.collect();
    format!(
        r#"{{"selectionId":"{}","tools":[{}],"next":{}}}"#,
        ranking.id,
        tools.join(","),
        quoted(NEXT)
    )
}

/// That nothing fits, and where else something might be.
pub(super) fn nothing(visible: &VisibleTools) -> String {
    let message = if visible.tools.is_empty() {
        "There are no tools behind this hub now.".to_owned()
    } else {
        format!(
            "No tool fits. Ask again in other words, or for one server; there are: {}. If none of them is it, this hub cannot do it.",
            servers(visible)
        )
    };
    format!(r#"{{"tools":[],"message":{}}}"#, quoted(&message))
}

fn servers(visible: &VisibleTools) -> String {
    let servers = visible.servers();
    let named = servers.iter().take(NAMED_SERVERS).map(|(name, count)| format!("{name} ({count})"));
    let more = servers.len().saturating_sub(NAMED_SERVERS);
    let more = (more > 0).then(|| format!("and {more} more"));
    named.chain(more).collect::<Vec<_>>().join(", ")
}
