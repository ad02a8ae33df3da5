//! `hub__analyze_prompt`: adds the tools that fit a task to the session's list.

use std::sync::Arc;

use mcphub_hub_catalog::meta_tools::AnalyzePrompt;
use mcphub_hub_protocol::json_splice::quoted;

use super::{Error, find_tools, score};
use crate::selector::{Ask, Hit, Ranking, hits_to_add};
use crate::serve::methods::forward::CallRequest;
use crate::serve::state::caller_view::CallerView;

pub(super) async fn answer_text(call: &CallRequest<'_>) -> Result<String, Error> {
    let (hub, ctx, view) = (call.hub, call.ctx, &call.view);
    let task = AnalyzePrompt::parse(call.request.params.arguments).map_err(Error::refused)?;
    // Only sessions have this tool in their list.
    let Some(session) = &ctx.session else {
        return Err(Error::refused("this tool needs a session".into()));
    };
    let prompt = match &task.context {
        Some(context) => format!("{}\n{context}", task.prompt),
        None => task.prompt.into_owned(),
    };
    let rules = &view.snapshot.config.filtering.prompt_based;
    let ranking = hub
        .selector
        .rank(Ask {
            prompt: &prompt,
            visible: &view.visible,
            server: None,
            limit: rules.max_tools as usize,
            memory: rules.memory,
            principal: ctx.principal.hash(),
            counted: ctx.counted,
        })
        .await?;
    let hits: Vec<&Hit> = hits_to_add(&ranking, rules).collect();
    if hits.is_empty() {
        return Ok(find_tools::nothing_fits(&view.visible));
    }
    let names =
        hits.iter().filter_map(|hit| Some(view.visible.tools.get(hit.position)?.exposed.as_str()));
    hub.additions(session).add_for_prompt(&names.collect::<Vec<_>>());
    let snapshot = Arc::clone(&view.snapshot);
    let after = CallerView::new(hub, snapshot, &ctx.principal, ctx.view.as_deref(), Some(session));
    Ok(additions_text(view, after.as_ref(), &ranking, &hits))
}

/// The chosen tools, and whether each is in the list now.
fn additions_text(
    before: &CallerView,
    after: Option<&CallerView>,
    ranking: &Ranking,
    hits: &[&Hit],
) -> String {
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
        "These tools are in your tool list now; request it again (tools/list) and call them by \
         name."
    } else {
        "The tools with listed true are in your tool list now; request it again (tools/list). The \
         others did not fit into its budget: hub__find_tools returns their definitions, and you \
         can call them by name."
    };
    format!(
        r#"{{"selectionId":"{}","tools":[{}],"next":{}}}"#,
        ranking.id,
        tools.join(","),
        quoted(next)
    )
}
