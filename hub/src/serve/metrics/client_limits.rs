//! Tools that big vendors refuse. One such tool fails every request that lists it, in a client far
//! away from the hub, so the log and a metric name it.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use mcphub_hub_catalog::catalog::Tool;
use mcphub_hub_catalog::client_limits::{self, Vendor};
use mcphub_hub_catalog::visibility::Visibility;
use prometheus::{IntGaugeVec, Registry};

use super::{opts, register};

/// How many tools of a server are named in the log each time it lists them, and in an answer.
pub(crate) const MAX_NAMED: usize = 20;

pub struct ClientLimitMetrics {
    refused: IntGaugeVec,
    reported: Mutex<Reported>,
}

/// What has been reported already.
#[derive(Default)]
struct Reported {
    /// Exposed names and digests of the tools that the log has named.
    tools: HashSet<(String, u64)>,
    /// The servers that have series.
    servers: HashSet<String>,
}

impl ClientLimitMetrics {
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let opts = opts("vendor_breaches", "Tools of a server that the API of a vendor refuses");
        let refused = register(registry, IntGaugeVec::new(opts, &["server", "vendor"])?)?;
        Ok(Self { refused, reported: Mutex::default() })
    }

    /// Checks every tool that somebody may know of, and logs those that are new. Ten thousand
    /// schemas take long.
    pub fn check(&self, visibility: &Visibility) {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut *reported);
        for (position, server) in
            visibility.config.servers.iter().enumerate().filter(|(_, server)| !server.disabled)
        {
            let tools: Vec<&Tool> = known_tools(visibility, position)
                .filter(|tool| !tool.violations().is_empty())
                .collect();
            for (vendor, label) in Vendor::EACH {
                let count = tools.iter().filter(|tool| vendor.refuses(tool.violations())).count();
                self.refused
                    .with_label_values(&[server.name.as_str(), label])
                    .set(i64::try_from(count).unwrap_or(i64::MAX));
            }
            let key = |tool: &Tool| (tool.exposed.clone(), tool.digest);
            let new: Vec<&Tool> =
                tools.iter().copied().filter(|tool| !before.tools.contains(&key(tool))).collect();
            log(&server.name, &new);
            reported.tools.extend(tools.into_iter().map(key));
            reported.servers.insert(server.name.clone());
        }
        for server in before.servers.difference(&reported.servers) {
            for (_, label) in Vendor::EACH {
                self.refused.remove_label_values(&[server.as_str(), label]).ok();
            }
        }
    }
}

fn log(server: &str, tools: &[&Tool]) {
    for tool in tools.iter().take(MAX_NAMED) {
        tracing::warn!(
            server,
            tool = %tool.exposed,
            refused = %client_limits::describe(tool.violations()),
            "vendors refuse this tool and every request that lists it"
        );
    }
    if tools.len() > MAX_NAMED {
        let more = tools.len() - MAX_NAMED;
        tracing::warn!(server, more, "vendors refuse more tools of this server");
    }
}

/// The tools of the server at this position that somebody may know of.
pub(crate) fn known_tools(visibility: &Visibility, server: usize) -> impl Iterator<Item = &Tool> {
    let tools = visibility.catalog.entries.iter().enumerate();
    tools
        .filter(move |(place, tool)| tool.server == server && visibility.shows(*place))
        .map(|(_, tool)| &**tool)
}
