//! `hub__find_tools`: the definitions of the tools that fit a query.

use mcphub_hub_catalog::meta_tools::{Class, FindTools};
use mcphub_hub_catalog::visibility::VisibleTools;
use mcphub_hub_protocol::json_splice::quoted;

use super::{Error, score};
use crate::selector::{Ask, Ranking};
use crate::serve::methods::forward::CallRequest;

/// How many servers an answer names. The answer must not cost more tokens than it saves.
const NAMED_SERVERS: usize = 100;
const NEXT: &str = "Call a tool by its name with arguments that match its inputSchema, or pass \
                    both to the tool in callWith, with this selectionId.";

pub(super) async fn answer_text(call: &CallRequest<'_>) -> Result<String, Error> {
    let (hub, ctx, view) = (call.hub, call.ctx, &call.view);
    let query = FindTools::parse(call.request.params.arguments).map_err(Error::refused)?;
    if let Some(server) = &query.server
        && !view.visible.servers().iter().any(|(name, _)| name == server)
    {
        return Err(Error::refused(format!(
            "server {} does not exist; the servers are: {}",
            quoted(server),
            servers(&view.visible)
        )));
    }
    let ranking = hub
        .selector
        .rank(Ask {
            prompt: &query.query,
            visible: &view.visible,
            server: query.server.as_deref(),
            limit: query.limit,
            memory: view.snapshot.config.filtering.prompt_based.memory,
            principal: ctx.principal.hash(),
            counted: ctx.counted,
        })
        .await?;
    Ok(if ranking.fits && !ranking.hits.is_empty() {
        tools_text(&view.visible, &ranking)
    } else {
        nothing_fits(&view.visible)
    })
}

fn tools_text(visible: &VisibleTools, ranking: &Ranking) -> String {
    let tools = ranking.hits.iter().filter_map(|hit| {
        let tool = visible.tools.get(hit.position)?;
        let (class, score) = (Class::from_hints(tool.hints()), score(hit.score));
        // The definition is the same as in a list, byte for byte.
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

/// Says that nothing fits, and which servers there are to ask about.
pub(super) fn nothing_fits(visible: &VisibleTools) -> String {
    let message = if visible.tools.is_empty() {
        "This hub has no tools at the moment.".to_owned()
    } else {
        format!(
            "No tool fits. Try other words, or search one server; the servers are: {}. If none of \
             them can do it, this hub cannot do it.",
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
