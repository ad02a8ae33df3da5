//! `/why` on the admin port: which rule hides or shows a tool in the running hub. The answer may be
//! about tools that callers may not know of, so only the pod itself gets it: whoever may `kubectl
//! exec` or `port-forward`.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use mcphub_hub_catalog::explain::Question;
use mcphub_hub_catalog::principal::Principal;
use serde::Deserialize;

use crate::explanation::{self, EXPLAIN_PATH, ToolListing};
use crate::selector::{Ask, hits_to_add};
use crate::serve::state::hub::Hub;
use crate::serve::state::snapshot::{HubSnapshot, ServerSlot};

#[derive(Deserialize)]
struct ExplainQuery {
    tool: String,
    view: Option<String>,
    #[serde(rename = "as")]
    principal: Option<String>,
    prompt: Option<String>,
}

pub(crate) fn router(hub: Arc<Hub>) -> Router {
    Router::new().route(EXPLAIN_PATH, get(explain)).with_state(hub)
}

async fn explain(
    State(hub): State<Arc<Hub>>,
    Query(query): Query<ExplainQuery>,
) -> Result<String, (StatusCode, String)> {
    let principal = explanation::parse_principal(query.principal.as_deref())
        .map_err(|error| (StatusCode::BAD_REQUEST, format!("{error:#}")))?;
    let snapshot = hub.snapshot();
    let view = query.view.as_deref();
    let chosen = match &query.prompt {
        Some(prompt) => Some(chosen_tools(&hub, &snapshot, view, &principal, prompt).await?),
        None => None,
    };
    let lists = snapshot.servers.iter().map(ServerSlot::list).collect();
    let listing = ToolListing { visibility: Arc::clone(&snapshot.visibility), lists };
    let question =
        Question { tool: &query.tool, view, principal: &principal, chosen: chosen.as_deref() };
    Ok(explanation::text(&listing, question))
}

/// The tools that a prompt would add to the list of a session, as `hub__analyze_prompt` does. No
/// metric counts it.
async fn chosen_tools(
    hub: &Hub,
    snapshot: &HubSnapshot,
    view: Option<&str>,
    principal: &Principal,
    prompt: &str,
) -> Result<Vec<String>, (StatusCode, String)> {
    let Some(lists) = snapshot.lists.caller(view, principal) else { return Ok(Vec::new()) };
    let visible = &lists.visible;
    if !snapshot.lists.search_is_reachable() {
        let message = "this hub lists all of its tools, so it has no search, and a prompt chooses \
                       nothing";
        return Err((StatusCode::BAD_REQUEST, message.into()));
    }
    let rules = &snapshot.config.filtering.prompt_based;
    let ask = Ask {
        prompt,
        visible,
        server: None,
        limit: rules.max_tools as usize,
        memory: rules.memory,
        principal: hub.principal.hash(),
        counted: false,
    };
    let ranking = hub
        .selector
        .rank(ask)
        .await
        .map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, format!("the search {error}")))?;
    Ok(hits_to_add(&ranking, rules)
        .filter_map(|hit| Some(visible.tools.get(hit.position)?.exposed.clone()))
        .collect())
}
