//! Servers, their tools, and calls of them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mcphub_hub_catalog::catalog::Tool;
use mcphub_hub_catalog::list_cache::CallerLists;
use mcphub_hub_catalog::tool_list::ListScope;
use mcphub_hub_catalog::visibility::Visibility;
use mcphub_hub_protocol::outcome::Outcome;
use mcphub_hub_wire::config::HubConfig;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Registry,
};

use super::tool_durations::ToolDurations;
use super::{BUCKETS, opts, register};

const STATES: [&str; 3] = ["exposed", "unlisted", "denied"];

/// The metrics of all servers and tools.
pub struct Tools {
    calls: IntCounterVec,
    call_duration: HistogramVec,
    durations: Arc<ToolDurations>,
    upstream_up: IntGaugeVec,
    tool_states: IntGaugeVec,
    labeled: Mutex<Labeled>,
}

/// The label values that have series now. Those of removed servers and tools must not pile up.
#[derive(Default)]
struct Labeled {
    servers: HashSet<String>,
    /// Servers and exposed names.
    tools: HashSet<(String, String)>,
}

/// The metrics of one tool.
#[derive(Clone)]
pub struct ToolMetrics {
    outcomes: [IntCounter; 5],
    duration: Histogram,
    durations: Arc<ToolDurations>,
    /// Server and exposed name.
    labels: Arc<(String, String)>,
}

impl ToolMetrics {
    pub fn count_call(&self, outcome: Outcome, took: Duration) {
        if let Some(counter) = self.outcomes.get(outcome.index()) {
            counter.inc();
        }
        self.duration.observe(took.as_secs_f64());
        self.durations.observe(&self.labels, took);
    }
}

impl Tools {
    pub(super) fn register(
        registry: &Registry,
        durations: Arc<ToolDurations>,
    ) -> prometheus::Result<Self> {
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            register(registry, IntGaugeVec::new(opts(name, help), labels)?)
        };
        let calls = IntCounterVec::new(
            opts("tool_calls_total", "Tool calls by outcome"),
            &["server", "tool", "outcome"],
        )?;
        let duration =
            HistogramOpts::from(opts("tool_call_duration_seconds", "Time of tool calls"))
                .buckets(BUCKETS.to_vec());
        Ok(Self {
            calls: register(registry, calls)?,
            call_duration: register(registry, HistogramVec::new(duration, &["server"])?)?,
            durations,
            upstream_up: gauges(
                "upstream_up",
                "1 while the tools of the server can be listed",
                &["server"],
            )?,
            tool_states: gauges(
                "tools",
                "Tools of a server: exposed (in the list), unlisted (found by search) or denied",
                &["server", "state"],
            )?,
            labeled: Mutex::default(),
        })
    }

    /// Exports the state of all servers, and returns the metrics of each tool of the catalog;
    /// `None` for a tool that nobody may know of. The series of removed servers and tools are
    /// removed. `up` and `listed` are per server of the config: whether it is connected, and how
    /// many tools it lists. `lists` are those of a caller without a view.
    pub fn update(
        &self,
        lists: &CallerLists,
        up: &[bool],
        listed: &[usize],
    ) -> Vec<Option<ToolMetrics>> {
        let visibility = lists.visible.visibility();
        let servers = self.update_servers(lists, up, listed);
        let mut tools: HashSet<(String, String)> =
            servers.iter().map(|server| (server.clone(), String::new())).collect();
        let metrics = self.tool_metrics(visibility);
        tools.extend(metrics.iter().flatten().map(|metrics| (*metrics.labels).clone()));
        self.durations.retain(&tools);
        self.remove_gone(Labeled { servers, tools });
        metrics
    }

    /// Returns the names of the servers that have series.
    fn update_servers(
        &self,
        lists: &CallerLists,
        up: &[bool],
        listed: &[usize],
    ) -> HashSet<String> {
        let (visible, tool_list) = (&lists.visible, lists.tool_list(ListScope::Stateless));
        let config = visible.config();
        let exposed =
            visible.tools.iter().enumerate().filter(|(position, _)| tool_list.lists(*position));
        let exposed = count_by_server(exposed.map(|(_, tool)| tool), config);
        let known = count_by_server(visible.tools.iter(), config);
        let mut servers = HashSet::new();
        for (position, server) in
            config.servers.iter().enumerate().filter(|(_, server)| !server.disabled)
        {
            let name = server.name.as_str();
            let at = |counts: &[usize]| counts.get(position).copied().unwrap_or_default();
            let (listed, known, exposed) = (at(listed), at(&known), at(&exposed));
            self.upstream_up
                .with_label_values(&[name])
                .set(i64::from(up.get(position).copied().unwrap_or_default()));
            let counts = [exposed, known - exposed, listed.saturating_sub(known)];
            for (state, count) in STATES.into_iter().zip(counts) {
                let count = i64::try_from(count).unwrap_or(i64::MAX);
                self.tool_states.with_label_values(&[name, state]).set(count);
            }
            self.call_duration.with_label_values(&[name]);
            // A 0 for the server as a whole, as long as none of its tools is known.
            self.outcomes(name, "");
            servers.insert(name.to_owned());
        }
        servers
    }

    fn tool_metrics(&self, visibility: &Visibility) -> Vec<Option<ToolMetrics>> {
        let metrics = visibility.catalog.entries.iter().enumerate().map(|(place, tool)| {
            let server = &*tool.server_name;
            visibility.shows(place).then(|| ToolMetrics {
                labels: Arc::new((server.to_owned(), tool.exposed.clone())),
                durations: Arc::clone(&self.durations),
                outcomes: self.outcomes(server, &tool.exposed),
                duration: self.call_duration.with_label_values(&[server]),
            })
        });
        metrics.collect()
    }

    fn remove_gone(&self, current: Labeled) {
        let mut labeled = self.labeled.lock().unwrap_or_else(PoisonError::into_inner);
        for (server, tool) in labeled.tools.difference(&current.tools) {
            for outcome in Outcome::ALL {
                self.calls
                    .remove_label_values(&[server.as_str(), tool.as_str(), outcome.label()])
                    .ok();
            }
        }
        for server in labeled.servers.difference(&current.servers) {
            self.upstream_up.remove_label_values(&[server]).ok();
            self.call_duration.remove_label_values(&[server]).ok();
            for state in STATES {
                self.tool_states.remove_label_values(&[server.as_str(), state]).ok();
            }
        }
        *labeled = current;
    }

    fn outcomes(&self, server: &str, tool: &str) -> [IntCounter; 5] {
        Outcome::ALL.map(|outcome| self.calls.with_label_values(&[server, tool, outcome.label()]))
    }
}

/// How many of the tools each server of the config has.
fn count_by_server<'t>(
    tools: impl Iterator<Item = &'t Arc<Tool>>,
    config: &HubConfig,
) -> Vec<usize> {
    let mut counts = vec![0; config.servers.len()];
    for tool in tools {
        if let Some(count) = counts.get_mut(tool.server) {
            *count += 1;
        }
    }
    counts
}
