//! `hub__analyze_prompt`: puts the tools that fit a task on the session's list.

use std::sync::Arc;

use mcphub_hub_catalog::meta_tools::AnalyzePrompt;
use mcphub_hub_protocol::json_splice::quoted;
use mcphub_hub_protocol::message::Request;

use super::{Failed, find_tools, score};
use crate::selector::{Ask, Hit, Ranking, chosen};
use crate::serve::http::mcp::Ctx;
use crate::serve::state::caller_view::Seen;
use crate::serve::state::hub::{Hub, anonymous};

pub(super) async fn text(
    hub: &Arc<Hub>,
    ctx: &Ctx,
    request: &Request<'_>,
    seen: &Seen,
) -> Result<String, Failed> {
    let asked = AnalyzePrompt::parse(request.params.arguments).map_err(Failed::refused)?;
    // Only sessions have this tool; see `tool_list`.
    let Some(session) = &ctx.session else {
        return Err(Failed::refused("this needs a session".into()));
    };
    let prompt = match &asked.context {
        Some(context) => format!("{}\n{context}", asked.prompt),
        None => asked.prompt.into_owned(),
    };
    let rules = &seen.live.config.filtering.prompt_based;
    let ranking = hub
        .selector
        .rank(Ask {
            prompt: &prompt,
            visible: &seen.visible,
            server: None,
            limit: rules.max_tools as usize,
            memory: rules.memory,
            principal: anonymous(),
            counted: ctx.counted,
        })
        .await?;
    let hits: Vec<&Hit> = chosen(&ranking, rules).collect();
    if hits.is_empty() {
        return Ok(find_tools::nothing(&seen.visible));
    }
    let names =
        hits.iter().filter_map(|hit| Some(seen.visible.tools.get(hit.position)?.exposed.as_str()));
    hub.additions(session).add_for_prompt(&names.collect::<Vec<_>>());
    let after = Seen::of(hub, Arc::clone(&seen.live), ctx.view.as_deref(), Some(session));
    Ok(added(seen, after.as_ref(), &ranking, &hits))
}

/// What was chosen, and what of it the list holds now.
fn added(before: &Seen, after: Option<&Seen>, ranking: &Ranking, hits: &[&Hit]) -> String {
    let lists = |position: usize| after.is_some_and(|after| after.tool_list.lists(position));
    let tools = hits.iter().filter_map(|hit| {
        let tool = before.visible.tools.get(hit.position)?;
        let (name, server, listed) =
            (quoted(&tool.exposed), quoted(&tool.server_name), lists(hit.position));
        Some(format!(
            r#"{{"name":{name},"server":{server},"score":{},"listed":{listed}}}"#,
            score(hit.score)
        ))
    });
    let tools: Vec<String> = tools.collect();
    let all_listed = hits.iter().all(|hit| lists(hit.position));
    let next = if all_listed {
        "These tools are in your tool list now; read it again (tools/list) and call them by name."
    } else {
        "Tools with listed true are in your tool list now; read it again (tools/list). The others did not fit into its \
         budget: hub__find_tools shows their definitions, and they can be called by name."
    };
    format!(
        r#"{{"selectionId":"{}","tools":[{}],"next":{}}}"#,
        ranking.id,
        tools.join(","),
        quoted(next)
    )
}
