//! `/why` on the admin port: which rule hides or shows a tool, by what is in force. It tells of tools that callers may not
//! know of, so it answers only in the pod itself: to whoever may `kubectl exec` or `port-forward`.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use mcphub_hub_catalog::explain::Question;
use mcphub_hub_catalog::principal::Principal;
use serde::Deserialize;

use crate::cli::explain::{self, WHY_PATH};
use crate::cli::tool_listing::Listed;
use crate::selector::{Ask, chosen};
use crate::serve::state::hub::{Hub, anonymous};
use crate::serve::state::snapshot::{Live, Slot};

#[derive(Deserialize)]
struct Asked {
    tool: String,
    view: Option<String>,
    #[serde(rename = "as")]
    caller: Option<String>,
    prompt: Option<String>,
}

/// [`WHY_PATH`].
pub fn router(hub: Arc<Hub>) -> Router {
    Router::new().route(WHY_PATH, get(answer)).with_state(hub)
}

async fn answer(
    State(hub): State<Arc<Hub>>,
    Query(asked): Query<Asked>,
) -> Result<String, (StatusCode, String)> {
    let caller = explain::caller(asked.caller.as_deref())
        .map_err(|error| (StatusCode::BAD_REQUEST, format!("{error:#}")))?;
    let live = hub.live();
    let view = asked.view.as_deref();
    let picked = match &asked.prompt {
        Some(prompt) => Some(picked(&hub, &live, view, &caller, prompt).await?),
        None => None,
    };
    let listed = |slot: &Slot| slot.upstream().and_then(|upstream| upstream.state().list.clone());
    let lists = live.servers.iter().map(listed).collect();
    let listed = Listed { visibility: Arc::clone(&live.visibility), lists };
    let question =
        Question { tool: &asked.tool, view, principal: &caller, chosen: picked.as_deref() };
    Ok(explain::text(&listed, question))
}

/// What a prompt would add to the list of this caller's session, as `hub__analyze_prompt` does. Counted nowhere.
async fn picked(
    hub: &Hub,
    live: &Live,
    view: Option<&str>,
    caller: &Principal,
    prompt: &str,
) -> Result<Vec<String>, (StatusCode, String)> {
    let Some(lists) = live.lists.caller(view, caller) else { return Ok(Vec::new()) };
    let visible = &lists.visible;
    if !live.lists.search_is_reachable() {
        let message = "this hub lists everything that there is, so it has no search, and a prompt chooses nothing";
        return Err((StatusCode::BAD_REQUEST, message.into()));
    }
    let rules = &live.config.filtering.prompt_based;
    let limit = rules.max_tools as usize;
    let (memory, principal) = (rules.memory, anonymous());
    let ask = Ask { prompt, visible, server: None, limit, memory, principal, counted: false };
    let ranking = hub.selector.rank(ask).await;
    let ranking = ranking
        .map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, format!("the search {error}")))?;
    Ok(chosen(&ranking, rules)
        .filter_map(|hit| Some(visible.tools.get(hit.position)?.exposed.clone()))
        .collect())
}
