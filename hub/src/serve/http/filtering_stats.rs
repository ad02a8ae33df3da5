//! `/api/filtering`: how many tools are filtered. The counts are of tools, not of decisions.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::Method;
use axum::response::Response;
use mcphub_hub_catalog::tool_list::ListScope;
use mcphub_hub_wire::config::{AccessRule, FilterMode, Filtering, ServerFilter};
use serde_json::{Value, json};

use super::responses::method_not_allowed;
use crate::llm;
use crate::serve::state::hub::Hub;

/// `GET /api/filtering/stats`
pub(super) async fn stats(State(hub): State<Arc<Hub>>) -> Json<Value> {
    let llm = hub.selector.llm().map_or_else(llm::Stats::disabled, |llm| llm.stats());
    let snapshot = hub.snapshot();
    let filtering = &snapshot.config.filtering;
    let total: usize = snapshot.listed.iter().sum();
    let lists = snapshot.lists.without_view(&hub.principal);
    let exposed = lists.tool_list(ListScope::Stateless).listed();
    let visible = lists.visible.tools.len();
    let filtered = total.saturating_sub(exposed);
    let (hits, lookups) = hub.metrics.category_cache.hits_of_lookups();
    Json(json!({
        "enabled": filters(&snapshot.config.access, filtering),
        "mode": filtering.mode,
        "totalTools": total,
        "filteredTools": filtered,
        "exposedTools": exposed,
        "filterRate": ratio(count(filtered), count(total)),
        "unlistedTools": visible.saturating_sub(exposed),
        "deniedTools": total.saturating_sub(visible),
        "serverFilterMode": server_filter_mode(filtering.mode, &filtering.servers),
        "allowedServers": filtering.servers.allow,
        "allowedCategories": filtering.categories.expose,
        "categoryCacheSize": snapshot.categorized(),
        "cacheHitRate": ratio(hits, lookups),
        "llmCacheSize": llm.llm_cache.size,
        "llmCacheHitRate": llm.llm_cache.hit_rate,
        "llm": llm.llm,
        "llmCache": llm.llm_cache,
        "warnings": snapshot.visibility.warnings(),
        "pod": hub.identity.pod,
    }))
}

/// `POST /api/filtering/{status,mode}`: only the config changes these.
pub(super) async fn read_only(State(hub): State<Arc<Hub>>, method: Method) -> Response {
    let reason = if hub.identity.hub.is_some() {
        "the operator owns this hub; change spec.filtering of the McpHub instead"
    } else {
        "change \"filtering\" in the config file instead; the hub reloads it when it changes"
    };
    method_not_allowed("", &method, reason)
}

/// Whether anything can be denied or unlisted.
fn filters(access: &[AccessRule], filtering: &Filtering) -> bool {
    filtering.mode != FilterMode::None || filtering.tool_budget.is_some() || !access.is_empty()
}

fn server_filter_mode(mode: FilterMode, servers: &ServerFilter) -> &'static str {
    if !matches!(mode, FilterMode::ServerAllowlist | FilterMode::Hybrid) {
        return "none";
    }
    match (servers.allow.is_empty(), servers.deny.is_empty()) {
        (false, _) => "allowlist",
        (true, false) => "denylist",
        (true, true) => "none",
    }
}

/// `None` if `whole` is 0.
#[allow(clippy::cast_precision_loss)] // counts of tools stay far below 2^53
fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
