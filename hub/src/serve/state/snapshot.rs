//! One immutable version of config, servers and catalog. It is replaced as a whole.

use std::sync::Arc;

use mcphub_hub_catalog::catalog::{ServerList, ToolCatalog};
use mcphub_hub_catalog::category::LlmCategories;
use mcphub_hub_catalog::list_cache::ListCache;
use mcphub_hub_catalog::principal::Principal;
use mcphub_hub_catalog::visibility::{RuntimeInputs, Visibility};
use mcphub_hub_wire::config::HubConfig;

use crate::serve::metrics::{Metrics, ToolMetrics};
use crate::serve::upstream::{Status, Upstream};

/// One immutable version of config, servers and catalog.
pub struct HubSnapshot {
    pub config: Arc<HubConfig>,
    /// The servers of the config, in its order.
    pub servers: Vec<ServerSlot>,
    /// How many tools each server listed when this snapshot was made, before filtering. If a server
    /// has listed more since, those tools must not look denied.
    pub listed: Vec<usize>,
    /// What clients may know of.
    pub visibility: Arc<Visibility>,
    /// The lists of all callers.
    pub lists: ListCache,
    /// The metrics of each tool of the catalog; `None` if nobody may know of it.
    pub tool_metrics: Vec<Option<ToolMetrics>>,
}

/// A server of the config.
#[derive(Clone)]
pub enum ServerSlot {
    /// Not connected, and not shown to anybody.
    Disabled,
    /// Its config cannot be used, for this reason.
    Broken(String),
    Running(Arc<Upstream>),
}

impl ServerSlot {
    /// The server, if it is running.
    pub fn upstream(&self) -> Option<&Arc<Upstream>> {
        match self {
            Self::Running(upstream) => Some(upstream),
            Self::Disabled | Self::Broken(_) => None,
        }
    }

    /// `None` for a disabled server.
    pub fn status(&self) -> Option<Status> {
        match self {
            Self::Running(upstream) => Some(upstream.state().status.clone()),
            Self::Broken(message) => Some(Status::Down(message.clone())),
            Self::Disabled => None,
        }
    }

    /// The list of the server's tools; `None` if it has not listed them yet.
    pub fn list(&self) -> Option<Arc<ServerList>> {
        self.upstream().and_then(|upstream| upstream.state().list.clone())
    }
}

impl HubSnapshot {
    /// A snapshot of these servers as they are now. Work on tools that are the same as in `before`
    /// is reused.
    pub fn new(
        config: Arc<HubConfig>,
        servers: Vec<ServerSlot>,
        inputs: RuntimeInputs,
        before: Option<&Self>,
        principal: &Principal,
        metrics: &Metrics,
    ) -> Self {
        let server_lists: Vec<_> = servers.iter().map(ServerSlot::list).collect();
        let mut catalog = ToolCatalog::new(&config, &server_lists);
        if let Some(before) = before {
            catalog = catalog.reuse(&before.visibility.catalog);
        }
        warn_of_collisions(&catalog, &config);
        let known =
            before.map_or(0, |before| categorized(&catalog, before.visibility.categories.llm()));
        let visibility = Visibility::with(Arc::clone(&config), catalog, inputs);
        metrics
            .category_cache
            .record(known, categorized(&visibility.catalog, visibility.categories.llm()));
        let listed: Vec<usize> = server_lists
            .iter()
            .map(|list| list.as_ref().map_or(0, |list| list.definitions.len()))
            .collect();
        let lists = ListCache::new(Arc::clone(&visibility), before.map(|before| &before.lists));
        let up: Vec<bool> =
            servers.iter().map(|slot| slot.status() == Some(Status::Connected)).collect();
        let tool_metrics = metrics.tools.update(&lists.without_view(principal), &up, &listed);
        Self { config, servers, listed, visibility, lists, tool_metrics }
    }

    /// How many tools have a category that words or a language model found.
    pub fn categorized(&self) -> usize {
        categorized(&self.visibility.catalog, self.visibility.categories.llm())
    }

    /// Whether a server is still starting.
    pub fn is_starting(&self) -> bool {
        self.servers.iter().any(|slot| slot.status().is_some_and(|status| status.is_starting()))
    }
}

fn categorized(catalog: &ToolCatalog, llm: &LlmCategories) -> usize {
    catalog.entries.iter().filter(|tool| tool.is_categorized() || llm.contains(tool)).count()
}

fn warn_of_collisions(catalog: &ToolCatalog, config: &HubConfig) {
    for tool in catalog.name_collisions(config) {
        let server = config.servers.get(tool.server).map(|server| server.name.as_str());
        tracing::warn!(
            server,
            tool = %tool.own,
            exposed = %tool.exposed,
            "another tool has the same name, this one is renamed"
        );
    }
}
