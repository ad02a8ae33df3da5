//! What is in force: one immutable snapshot of config, servers and view, swapped as a whole.

use std::sync::Arc;

use mcphub_core::catalogue::Catalogue;
use mcphub_core::filter::{self, View};
use mcphub_wire::config::HubConfig;

use super::metrics::{Metrics, ToolMetrics};
use super::upstream::{Status, Upstream};

/// What is in force.
pub struct Live {
    /// The config.
    pub config: Arc<HubConfig>,
    /// The servers of the config, in its order.
    pub servers: Vec<Slot>,
    /// What clients see.
    pub view: View,
    /// The counters of each tool of the view.
    pub tool_metrics: Vec<ToolMetrics>,
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

    /// Tools that the server lists, before filtering.
    pub fn listed(&self) -> usize {
        self.upstream().and_then(|upstream| upstream.state().list.as_ref().map(|list| list.tools.len())).unwrap_or(0)
    }
}

impl Live {
    /// The snapshot of these servers as they are now.
    pub fn of(config: Arc<HubConfig>, servers: Vec<Slot>, metrics: &Metrics) -> Self {
        let lists: Vec<_> =
            servers.iter().map(|slot| slot.upstream().and_then(|upstream| upstream.state().list.clone())).collect();
        let catalogue = Catalogue::of(&config, &lists);
        for tool in catalogue.renamed(&config) {
            let server = config.servers.get(tool.server).map(|server| server.name.as_str());
            tracing::warn!(server, tool = %tool.own, exposed = %tool.exposed, "another tool has this name; the later is renamed");
        }
        let view = filter::view(&config, &catalogue);
        let up: Vec<bool> = servers.iter().map(|slot| slot.status() == Some(Status::Connected)).collect();
        let listed: Vec<usize> = servers.iter().map(Slot::listed).collect();
        let tool_metrics = metrics.tools(&config, &view, &up, &listed);
        Self { config, servers, view, tool_metrics }
    }

    /// Whether a server that is not disabled has not been reached yet.
    pub fn is_starting(&self) -> bool {
        self.servers.iter().any(|slot| slot.status().is_some_and(|status| status.is_starting()))
    }
}
