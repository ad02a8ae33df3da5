//! What is in force: one immutable snapshot of config, servers and visibility, swapped as a whole.

use std::sync::Arc;

use mcphub_hub_catalog::catalog::ToolCatalog;
use mcphub_hub_catalog::category::LlmCategories;
use mcphub_hub_catalog::list_cache::ListCache;
use mcphub_hub_catalog::visibility::{RuntimeInputs, Visibility, VisibleTools};
use mcphub_hub_wire::config::HubConfig;

use crate::serve::metrics::{Metrics, ToolMetrics};
use crate::serve::upstream::{Status, Upstream};

/// What is in force.
pub struct Live {
    /// The config.
    pub config: Arc<HubConfig>,
    /// The servers of the config, in its order.
    pub servers: Vec<Slot>,
    /// Tools that each server listed, before filtering. Of the moment of the catalog: a server that has listed since
    /// would make tools look denied that are only not there yet.
    pub listed: Vec<usize>,
    /// What clients may know of.
    pub visibility: Arc<Visibility>,
    /// The counters of each tool of the catalog; `None` for those that nobody may know of.
    pub tool_metrics: Vec<Option<ToolMetrics>>,
    /// What each caller may see, and its lists.
    pub lists: ListCache,
}

/// A server of the config.
#[derive(Clone)]
pub enum Slot {
    /// Neither connected to nor shown.
    Disabled,
    /// It could not even be begun with, and why.
    Broken(String),
    /// The usual.
    Running(Arc<Upstream>),
}

impl Slot {
    /// The server, where it is running.
    pub fn upstream(&self) -> Option<&Arc<Upstream>> {
        match self {
            Self::Running(upstream) => Some(upstream),
            Self::Disabled | Self::Broken(_) => None,
        }
    }

    /// How it stands with the server; `None` for one that is disabled.
    pub fn status(&self) -> Option<Status> {
        match self {
            Self::Running(upstream) => Some(upstream.state().status.clone()),
            Self::Broken(message) => Some(Status::Down(message.clone())),
            Self::Disabled => None,
        }
    }
}

impl Live {
    /// The snapshot of these servers as they are now; what was found out about tools that are as in `before` is kept.
    /// `inputs` are the flags and the answers of a language model now.
    pub fn of(
        config: Arc<HubConfig>,
        servers: Vec<Slot>,
        inputs: RuntimeInputs,
        before: Option<&Self>,
        metrics: &Metrics,
    ) -> Self {
        let lists: Vec<_> = servers
            .iter()
            .map(|slot| slot.upstream().and_then(|upstream| upstream.state().list.clone()))
            .collect();
        let mut catalog = ToolCatalog::new(&config, &lists);
        if let Some(before) = before {
            catalog = catalog.reuse(&before.visibility.catalog);
        }
        for tool in catalog.name_collisions(&config) {
            let server = config.servers.get(tool.server).map(|server| server.name.as_str());
            tracing::warn!(server, tool = %tool.own, exposed = %tool.exposed, "another tool has this name; the later is renamed");
        }
        let known =
            before.map_or(0, |before| categorized(&catalog, before.visibility.categories.llm()));
        let visibility = Visibility::with(Arc::clone(&config), catalog, inputs);
        metrics
            .category_cache
            .wanted(known, categorized(&visibility.catalog, visibility.categories.llm()));
        let up: Vec<bool> =
            servers.iter().map(|slot| slot.status() == Some(Status::Connected)).collect();
        let listed: Vec<usize> = lists
            .iter()
            .map(|list| list.as_ref().map_or(0, |list| list.definitions.len()))
            .collect();
        let lists = ListCache::new(Arc::clone(&visibility), before.map(|before| &before.lists));
        let tool_metrics = metrics.tools(&lists.anonymous(), &up, &listed);
        Self { config, servers, listed, visibility, tool_metrics, lists }
    }

    /// The counters of the tool at this position of a visible.
    pub fn metrics_of(&self, visible: &VisibleTools, position: usize) -> Option<&ToolMetrics> {
        self.tool_metrics.get(visible.place(position)?)?.as_ref()
    }

    /// How many tools have a category that was found by words or by a language model.
    pub fn categorized(&self) -> usize {
        categorized(&self.visibility.catalog, self.visibility.categories.llm())
    }

    /// Whether a server that is not disabled has not been reached yet.
    pub fn is_starting(&self) -> bool {
        self.servers.iter().any(|slot| slot.status().is_some_and(|status| status.is_starting()))
    }
}

fn categorized(catalog: &ToolCatalog, llm: &LlmCategories) -> usize {
    catalog.entries.iter().filter(|tool| tool.is_categorized() || llm.contains(tool)).count()
}
