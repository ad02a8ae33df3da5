//! Tools that big vendors refuse: one of them takes down every request that lists it, in a client far away from here. So
//! they are named where somebody looks: in the log, in a metric, in `/api/servers`, and in the status of the McpHub.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use mcphub_hub_catalog::catalog::Tool;
use mcphub_hub_catalog::client_limits::{self, Vendor};
use prometheus::{IntGaugeVec, Opts, Registry};
use serde_json::{Value, json};

use crate::serve::state::hub::Hub;
use crate::serve::state::snapshot::Live;

/// Most tools of a server that are named each time that it lists, and in an answer.
const NAMED: usize = 20;

/// What is known of tools that are refused.
pub struct Vendors {
    refused: IntGaugeVec,
    said: Mutex<Said>,
}

/// What was said already.
#[derive(Default)]
struct Said {
    /// Exposed name and digest of tools that the log has named.
    tools: HashSet<(String, u64)>,
    /// Servers that the metric has.
    servers: HashSet<String>,
}

impl Vendors {
    /// Without a server.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let opts =
            Opts::new("mcp_hub_vendor_breaches", "Tools of a server that a vendor's API refuses");
        let refused = IntGaugeVec::new(opts, &["server", "vendor"])?;
        registry.register(Box::new(refused.clone()))?;
        Ok(Self { refused, said: Mutex::default() })
    }

    /// Looks at every tool that somebody may know of, and names those that were not named as they are now.
    fn look(&self, live: &Live) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut *said);
        for (position, server) in
            live.config.servers.iter().enumerate().filter(|(_, server)| !server.disabled)
        {
            let tools: Vec<&Tool> =
                shown(live, position).filter(|tool| !tool.violations().is_empty()).collect();
            for (vendor, label) in Vendor::EACH {
                let count = tools.iter().filter(|tool| vendor.refuses(tool.violations())).count();
                self.refused
                    .with_label_values(&[server.name.as_str(), label])
                    .set(i64::try_from(count).unwrap_or(i64::MAX));
            }
            let key = |tool: &Tool| (tool.exposed.clone(), tool.digest);
            let new: Vec<&Tool> =
                tools.iter().copied().filter(|tool| !before.tools.contains(&key(tool))).collect();
            for tool in new.iter().take(NAMED) {
                tracing::warn!(server = %server.name, tool = %tool.exposed, refused = %client_limits::describe(tool.violations()), "vendors refuse this tool, and requests that list it");
            }
            if new.len() > NAMED {
                let more = new.len() - NAMED;
                tracing::warn!(server = %server.name, more, "vendors refuse more tools of this server");
            }
            said.tools.extend(tools.into_iter().map(key));
            said.servers.insert(server.name.clone());
        }
        for server in before.servers.difference(&said.servers) {
            for (_, label) in Vendor::EACH {
                self.refused.remove_label_values(&[server.as_str(), label]).ok();
            }
        }
    }
}

/// The tools of the server at this position that somebody may know of.
fn shown(live: &Live, server: usize) -> impl Iterator<Item = &Tool> {
    let tools = live.visibility.catalog.entries.iter().enumerate();
    tools
        .filter(move |(place, tool)| tool.server == server && live.visibility.shows(*place))
        .map(|(_, tool)| &**tool)
}

/// What is refused of the tools of a server, in a sentence. For whoever operates the hub.
pub fn summary(live: &Live, server: usize) -> Option<String> {
    client_limits::summary(
        shown(live, server).map(|tool| (tool.exposed.as_str(), tool.violations())),
    )
}

/// The refused ones among these tools, and why.
pub fn refused<'t>(tools: impl Iterator<Item = &'t Tool>) -> Vec<Value> {
    let refused = tools.filter(|tool| !tool.violations().is_empty()).take(NAMED);
    refused
        .map(|tool| json!({ "tool": tool.exposed, "reason": client_limits::describe(tool.violations()) }))
        .collect()
}

/// Looks at what is in force, and at every later state, on a thread of its own: ten thousand schemas take long.
pub async fn keep(hub: Arc<Hub>) {
    let mut live = hub.subscribe();
    loop {
        let (now, looker) = (Arc::clone(&live.borrow_and_update()), Arc::clone(&hub));
        if tokio::task::spawn_blocking(move || looker.metrics.vendors.look(&now)).await.is_err() {
            tracing::error!("looking at schemas failed");
        }
        if live.changed().await.is_err() {
            return;
        }
    }
}
