//! `/api/filtering`: what is filtered, in numbers. Tools are counted, not decisions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Json;
use axum::extract::State;
use axum::http::Method;
use axum::response::Response;
use mcphub_hub_catalog::tool_list::ListScope;
use mcphub_hub_wire::config::{FilterMode, Filtering, ServerFilter};
use serde_json::{Value, json};

use crate::llm;
use crate::serve::http::edge;
use crate::serve::state::hub::Hub;
use crate::serve::state::snapshot::Live;

/// How often a tool's category was known already when it was wanted for a new list.
#[derive(Default)]
pub struct CategoryCache {
    hits: AtomicU64,
    misses: AtomicU64,
}

impl CategoryCache {
    /// Notes what a new catalog wanted: of its tools, so many were known before and so many are now.
    pub fn wanted(&self, before: usize, after: usize) {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        if after > 0 {
            self.hits.fetch_add(count(before), Ordering::Relaxed);
            self.misses.fetch_add(count(after.saturating_sub(before)), Ordering::Relaxed);
        }
    }

    fn hit_rate(&self) -> Option<f64> {
        let (hits, misses) =
            (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed));
        ratio(hits, hits + misses)
    }
}

/// `GET /api/filtering/stats`
pub async fn stats(State(hub): State<Arc<Hub>>) -> Json<Value> {
    let llm = hub.selector.llm().map_or_else(llm::Stats::disabled, |llm| llm.stats());
    Json(of(&hub, &hub.live(), &llm))
}

/// `POST /api/filtering/{status,mode}`: the config decides, and it is not changed here.
pub async fn fixed(State(hub): State<Arc<Hub>>, method: Method) -> Response {
    let reason = if hub.identity.hub.is_some() {
        "the operator owns this hub; change spec.filtering of the McpHub instead"
    } else {
        "edit \"filtering\" in the config file; it is read again when it changes"
    };
    edge::method_not_allowed("", &method, reason)
}

fn of(hub: &Hub, live: &Live, llm: &llm::Stats) -> Value {
    let filtering = &live.config.filtering;
    let total: usize = live.listed.iter().sum();
    let lists = live.lists.anonymous();
    let visible = &lists.visible;
    let exposed = lists.tool_list(ListScope::Stateless).listed();
    let filtered = total.saturating_sub(exposed);
    json!({
        "enabled": filters(&live.config.access, filtering),
        "mode": filtering.mode,
        "totalTools": total,
        "filteredTools": filtered,
        "exposedTools": exposed,
        "filterRate": ratio(count(filtered), count(total)),
        "unlistedTools": visible.tools.len().saturating_sub(exposed),
        "deniedTools": total.saturating_sub(visible.tools.len()),
        "serverFilterMode": server_filter(filtering.mode, &filtering.servers),
        "allowedServers": filtering.servers.allow,
        "allowedCategories": filtering.categories.expose,
        "categoryCacheSize": live.categorized(),
        "cacheHitRate": hub.metrics.category_cache.hit_rate(),
        "llmCacheSize": llm.llm_cache.size,
        "llmCacheHitRate": llm.llm_cache.hit_rate,
        "llm": llm.llm,
        "llmCache": llm.llm_cache,
        "warnings": live.visibility.warnings(),
        "pod": hub.identity.pod,
    })
}

/// Whether anything can be denied or unlisted.
fn filters(access: &[mcphub_hub_wire::config::AccessRule], filtering: &Filtering) -> bool {
    filtering.mode != FilterMode::None || filtering.tool_budget.is_some() || !access.is_empty()
}

fn server_filter(mode: FilterMode, servers: &ServerFilter) -> &'static str {
    if !matches!(mode, FilterMode::ServerAllowlist | FilterMode::Hybrid) {
        return "none";
    }
    match (servers.allow.is_empty(), servers.deny.is_empty()) {
        (false, _) => "allowlist",
        (true, false) => "denylist",
        (true, true) => "none",
    }
}

#[allow(clippy::cast_precision_loss)] // counts of tools and questions stay far below 2^53
fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
