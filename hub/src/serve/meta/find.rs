//! `hub__find_tools`: definitions of the tools that fit.

use std::sync::Arc;

use mcphub_core::message::Request;
use mcphub_core::meta::{Class, FindTools};
use mcphub_core::object::quoted;
use mcphub_core::sight::Sight;

use super::{Failed, score};
use crate::selector::{Ask, Ranking};
use crate::serve::hub::{Hub, anonymous};
use crate::serve::mcp::Ctx;
use crate::serve::seen::Seen;

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
        && !seen.sight.servers().iter().any(|(name, _)| name == server)
    {
        return Err(Failed::refused(format!(
            "there is no server {}; there are: {}",
            quoted(server),
            servers(&seen.sight)
        )));
    }
    let ranking = hub
        .selector
        .rank(Ask {
            prompt: &asked.query,
            sight: &seen.sight,
            server: asked.server.as_deref(),
            limit: asked.limit,
            memory: seen.live.config.filtering.prompt_based.memory,
            principal: anonymous(),
            counted: ctx.counted,
        })
        .await?;
    Ok(if ranking.fits && !ranking.hits.is_empty() {
        found(&seen.sight, &ranking)
    } else {
        nothing(&seen.sight)
    })
}

fn found(sight: &Sight, ranking: &Ranking) -> String {
    let tools = ranking.hits.iter().filter_map(|hit| {
        let tool = sight.tools.get(hit.position)?;
        let (class, score) = (Class::of(tool), score(hit.score));
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
pub(super) fn nothing(sight: &Sight) -> String {
    let message = if sight.tools.is_empty() {
        "There are no tools behind this hub now.".to_owned()
    } else {
        format!(
            "No tool fits. Ask again in other words, or for one server; there are: {}. If none of them is it, this hub cannot do it.",
            servers(sight)
        )
    };
    format!(r#"{{"tools":[],"message":{}}}"#, quoted(&message))
}

fn servers(sight: &Sight) -> String {
    let servers = sight.servers();
    let named = servers.iter().take(NAMED_SERVERS).map(|(name, count)| format!("{name} ({count})"));
    let more = servers.len().saturating_sub(NAMED_SERVERS);
    let more = (more > 0).then(|| format!("and {more} more"));
    named.chain(more).collect::<Vec<_>>().join(", ")
}
