//! What is in force: one immutable snapshot of config, servers and visibility, swapped as a whole.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use mcphub_hub_catalog::access::Caller;
use mcphub_hub_catalog::catalog::Catalog;
use mcphub_hub_catalog::category::LlmCategories;
use mcphub_hub_catalog::visibility::{Shape, Visibility, VisibleTools};
use mcphub_hub_wire::config::HubConfig;

use crate::serve::metrics::{Metrics, ToolMetrics};
use crate::serve::upstream::{Status, Upstream};

/// Sights that are kept; each has a few bytes for every tool. Beyond, all are made anew.
const MOST_SIGHTS: usize = 256;

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
    visible_tools: Mutex<Sights>,
}

/// Sights by view and caller.
type Sights = HashMap<(Option<String>, String), Arc<VisibleTools>>;

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
    /// `shape` is what the flags and a language model say now.
    pub fn of(
        config: Arc<HubConfig>,
        servers: Vec<Slot>,
        shape: Shape,
        before: Option<&Self>,
        metrics: &Metrics,
    ) -> Self {
        let lists: Vec<_> = servers
            .iter()
            .map(|slot| slot.upstream().and_then(|upstream| upstream.state().list.clone()))
            .collect();
        let mut catalog = Catalog::of(&config, &lists);
        if let Some(before) = before {
            catalog = catalog.keeping(&before.visibility.catalog);
        }
        for tool in catalog.renamed(&config) {
            let server = config.servers.get(tool.server).map(|server| server.name.as_str());
            tracing::warn!(server, tool = %tool.own, exposed = %tool.exposed, "another tool has this name; the later is renamed");
        }
        let known =
            before.map_or(0, |before| categorized(&catalog, before.visibility.categories.given()));
        let visibility = Visibility::with(Arc::clone(&config), catalog, shape);
        metrics
            .category_cache
            .wanted(known, categorized(&visibility.catalog, visibility.categories.given()));
        let up: Vec<bool> =
            servers.iter().map(|slot| slot.status() == Some(Status::Connected)).collect();
        let listed: Vec<usize> =
            lists.iter().map(|list| list.as_ref().map_or(0, |list| list.tools.len())).collect();
        let tool_metrics = metrics.tools(&visibility, &up, &listed);
        Self { config, servers, listed, visibility, tool_metrics, visible_tools: Mutex::default() }
    }

    /// What a caller may know of through a view. `None`: there is no such view.
    pub fn visible_tools(&self, view: Option<&str>, caller: &Caller) -> Option<Arc<VisibleTools>> {
        let key = (view.map(str::to_owned), caller.key());
        let kept = || self.visible_tools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(visible) = kept().get(&key) {
            return Some(Arc::clone(visible));
        }
        // Made without the lock: it may take a millisecond, and others have theirs already.
        let visible = Arc::new(self.visibility.visible_tools(view, caller)?);
        let mut visible_tools = kept();
        if visible_tools.len() >= MOST_SIGHTS {
            visible_tools.clear();
        }
        Some(Arc::clone(visible_tools.entry(key).or_insert(visible)))
    }

    /// What everybody may know of without a view.
    pub fn anonymous(&self) -> Arc<VisibleTools> {
        let caller = Caller::anonymous();
        self.visible_tools(None, &caller)
            .unwrap_or_else(|| Arc::new(self.visibility.whole(&caller)))
    }

    /// The counters of the tool at this position of a visible.
    pub fn metrics_of(&self, visible: &VisibleTools, position: usize) -> Option<&ToolMetrics> {
        self.tool_metrics.get(visible.place(position)?)?.as_ref()
    }

    /// How many tools have a category that was found by words or by a language model.
    pub fn categorized(&self) -> usize {
        categorized(&self.visibility.catalog, self.visibility.categories.given())
    }

    /// Whether a server that is not disabled has not been reached yet.
    pub fn is_starting(&self) -> bool {
        self.servers.iter().any(|slot| slot.status().is_some_and(|status| status.is_starting()))
    }
}

fn categorized(catalog: &Catalog, given: &LlmCategories) -> usize {
    catalog.tools.iter().filter(|tool| tool.is_categorized() || given.knows(tool)).count()
}
