//! What `serve` measures. Label sets are bounded, and every bounded combination is there as 0 from the start: no
//! errors must be a number, or a rule over them has no data.

pub mod client_limits;
pub mod list_cost;
pub mod tool_durations;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mcphub_hub_catalog::catalog::Tool;
use mcphub_hub_catalog::flags;
use mcphub_hub_catalog::list_cache::CallerLists;
use mcphub_hub_catalog::tool_list::ListScope;
use mcphub_hub_protocol::outcome::Outcome;
use mcphub_hub_wire::config::HubConfig;
use mcphub_hub_wire::flags::PERFORMANCE_MONITORING;
use prometheus::core::Collector;
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
};

use crate::serve::http::filtering_stats::CategoryCache;
use crate::serve::metrics::client_limits::Vendors;
use crate::serve::metrics::list_cost::ListCost;
use crate::serve::metrics::tool_durations::ToolTimes;

/// From 50 us, which is what the hub adds when it does well, to 60 s, the usual longest wait for a server.
const BUCKETS: [f64; 18] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0, 60.0,
];

const STATES: [&str; 3] = ["exposed", "unlisted", "denied"];

/// Methods that have a label of their own; all others are `other`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `initialize`
    Initialize,
    /// `notifications/initialized`
    Initialized,
    /// `notifications/cancelled`
    Cancelled,
    /// `ping`
    Ping,
    /// `server/discover`
    Discover,
    /// `tools/list`
    ToolsList,
    /// `tools/call`
    ToolsCall,
    /// All else, also what is no message.
    Other,
}

impl Method {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Initialize, "initialize"),
        (Self::Initialized, "notifications/initialized"),
        (Self::Cancelled, "notifications/cancelled"),
        (Self::Ping, "ping"),
        (Self::Discover, "server/discover"),
        (Self::ToolsList, "tools/list"),
        (Self::ToolsCall, "tools/call"),
        (Self::Other, "other"),
    ];

    /// The method of this name.
    pub fn of(name: &str) -> Self {
        Self::ALL
            .into_iter()
            .find(|(_, label)| *label == name)
            .map_or(Self::Other, |(method, _)| method)
    }
}

/// Everything that `serve` measures.
pub struct Metrics {
    /// What is exported.
    pub registry: Registry,
    methods: Vec<MethodMetrics>,
    tool_calls: IntCounterVec,
    tool_call_duration: HistogramVec,
    tool_times: Arc<ToolTimes>,
    upstream_up: IntGaugeVec,
    tools: IntGaugeVec,
    /// Open sessions.
    pub sessions: IntGauge,
    flags: IntGaugeVec,
    /// Generation of the data plane state in force.
    pub generation: Gauge,
    /// What lists cost.
    pub list_cost: ListCost,
    /// Tools that vendors refuse.
    pub vendors: Vendors,
    /// How often categories of tools were known.
    pub category_cache: CategoryCache,
    labeled: Mutex<Labeled>,
}

struct MethodMetrics {
    outcomes: [IntCounter; 5],
    duration: Histogram,
    overhead: Histogram,
}

/// Label values that are exported now, so that those of removed servers and tools do not pile up.
#[derive(Default)]
struct Labeled {
    servers: HashSet<String>,
    tools: HashSet<(String, String)>,
    flags: HashSet<String>,
}

/// What is counted of one tool.
#[derive(Clone)]
pub struct ToolMetrics {
    outcomes: [IntCounter; 5],
    duration: Histogram,
    times: Arc<ToolTimes>,
    /// Server and exposed name.
    of: Arc<(String, String)>,
}

impl ToolMetrics {
    /// Counts a call.
    pub fn called(&self, outcome: Outcome, took: Duration) {
        if let Some(counter) = self.outcomes.get(outcome.index()) {
            counter.inc();
        }
        self.duration.observe(took.as_secs_f64());
        self.times.called(&self.of, took);
    }
}

impl Metrics {
    /// All at 0. `labels` are on every series.
    pub fn new(labels: HashMap<String, String>) -> prometheus::Result<Self> {
        let registry = Registry::new_custom(None, Some(labels))?;
        let opts = |name: &str, help: &str| Opts::new(format!("mcp_hub_{name}"), help);
        let histogram = |name: &str, help: &str| {
            HistogramOpts::from(opts(name, help)).buckets(BUCKETS.to_vec())
        };
        let info = register(
            &registry,
            IntGaugeVec::new(opts("info", "1, with the hub's version"), &["version"])?,
        )?;
        info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let requests = IntCounterVec::new(
            opts("requests_total", "MCP requests by how they ended"),
            &["method", "outcome"],
        )?;
        let requests = register(&registry, requests)?;
        let duration = HistogramVec::new(
            histogram("request_duration_seconds", "Time to answer, the whole"),
            &["method"],
        )?;
        let duration = register(&registry, duration)?;
        let overhead = HistogramVec::new(
            histogram("overhead_seconds", "Time to answer without upstream"),
            &["method"],
        )?;
        let overhead = register(&registry, overhead)?;
        let methods = Method::ALL.iter().map(|(_, label)| MethodMetrics {
            outcomes: Outcome::ALL
                .map(|outcome| requests.with_label_values(&[*label, outcome.label()])),
            duration: duration.with_label_values(&[label]),
            overhead: overhead.with_label_values(&[label]),
        });
        let tool_calls = IntCounterVec::new(
            opts("tool_calls_total", "Tool calls by how they ended"),
            &["server", "tool", "outcome"],
        )?;
        let tool_call_duration = HistogramVec::new(
            histogram("tool_call_duration_seconds", "Time of tool calls"),
            &["server"],
        )?;
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            register(&registry, IntGaugeVec::new(opts(name, help), labels)?)
        };
        Ok(Self {
            methods: methods.collect(),
            tool_calls: register(&registry, tool_calls)?,
            tool_call_duration: register(&registry, tool_call_duration)?,
            tool_times: Arc::new(ToolTimes::register(&registry)?),
            upstream_up: gauges(
                "upstream_up",
                "1 while the server's tools can be listed",
                &["server"],
            )?,
            tools: gauges(
                "tools",
                "Tools of a server: exposed (in the list), unlisted (found by search) or denied",
                &["server", "state"],
            )?,
            sessions: register(&registry, IntGauge::with_opts(opts("sessions", "Open sessions"))?)?,
            flags: gauges("feature_flag", "1 while the flag is on", &["flag"])?,
            generation: register(
                &registry,
                Gauge::with_opts(opts(
                    "config_generation",
                    "Generation of the data plane state in force",
                ))?,
            )?,
            list_cost: ListCost::register(&registry)?,
            vendors: Vendors::register(&registry)?,
            category_cache: CategoryCache::default(),
            labeled: Mutex::default(),
            registry,
        })
    }

    /// Counts a request.
    pub fn request(&self, method: Method, outcome: Outcome, took: Duration, upstream: Duration) {
        let Some(metrics) = self.methods.get(method as usize) else { return };
        if let Some(counter) = metrics.outcomes.get(outcome.index()) {
            counter.inc();
        }
        metrics.duration.observe(took.as_secs_f64());
        metrics.overhead.observe(took.saturating_sub(upstream).as_secs_f64());
    }

    /// The counters of every tool of the catalog that somebody may know of, in its order. Those of tools and
    /// servers that are gone are removed. `listing` is how many tools each server lists.
    pub fn tools(
        &self,
        lists: &CallerLists,
        up: &[bool],
        listing: &[usize],
    ) -> Vec<Option<ToolMetrics>> {
        let visible = &lists.visible;
        let visibility = visible.visibility();
        let tool_list = lists.tool_list(ListScope::Stateless);
        let config = &visibility.config;
        let listed =
            visible.tools.iter().enumerate().filter(|(position, _)| tool_list.lists(*position));
        let exposed = by_server(listed.map(|(_, tool)| tool), config);
        let known = by_server(visible.tools.iter(), config);
        let mut labeled = self.labeled.lock().unwrap_or_else(PoisonError::into_inner);
        let mut servers = HashSet::new();
        let mut tools = HashSet::new();
        for (position, server) in
            config.servers.iter().enumerate().filter(|(_, server)| !server.disabled)
        {
            let name = server.name.as_str();
            let of = |counts: &[usize]| counts.get(position).copied().unwrap_or_default();
            let (listing, known, exposed) = (of(listing), of(&known), of(&exposed));
            self.upstream_up
                .with_label_values(&[name])
                .set(i64::from(up.get(position).copied().unwrap_or_default()));
            self.tools.with_label_values(&[name, "exposed"]).set(count(exposed));
            self.tools.with_label_values(&[name, "unlisted"]).set(count(known - exposed));
            self.tools
                .with_label_values(&[name, "denied"])
                .set(count(listing.saturating_sub(known)));
            self.tool_call_duration.with_label_values(&[name]);
            // A server's own 0, for as long as nothing is known of its tools.
            self.outcomes(name, "");
            servers.insert(name.to_owned());
            tools.insert((name.to_owned(), String::new()));
        }
        let metrics = visibility.catalog.entries.iter().enumerate().map(|(place, tool)| {
            if !visibility.shows(place) {
                return None;
            }
            let server = &*tool.server_name;
            let of = (server.to_owned(), tool.exposed.clone());
            tools.insert(of.clone());
            Some(ToolMetrics {
                of: Arc::new(of),
                times: Arc::clone(&self.tool_times),
                outcomes: self.outcomes(server, &tool.exposed),
                duration: self.tool_call_duration.with_label_values(&[server]),
            })
        });
        let metrics = metrics.collect();
        self.tool_times.keep(&tools);
        for (server, tool) in labeled.tools.difference(&tools) {
            for outcome in Outcome::ALL {
                self.tool_calls
                    .remove_label_values(&[server.as_str(), tool.as_str(), outcome.label()])
                    .ok();
            }
        }
        for server in labeled.servers.difference(&servers) {
            self.upstream_up.remove_label_values(&[server]).ok();
            self.tool_call_duration.remove_label_values(&[server]).ok();
            for state in STATES {
                self.tools.remove_label_values(&[server.as_str(), state]).ok();
            }
        }
        labeled.servers = servers;
        labeled.tools = tools;
        metrics
    }

    /// Shows the flags in force, and measures as they say.
    pub fn flags(&self, flags: &BTreeMap<String, bool>) {
        self.tool_times.switch(flags::configured(flags, PERFORMANCE_MONITORING));
        let mut labeled = self.labeled.lock().unwrap_or_else(PoisonError::into_inner);
        for (flag, on) in flags {
            self.flags.with_label_values(&[flag]).set(i64::from(*on));
        }
        let now: HashSet<String> = flags.keys().cloned().collect();
        for flag in labeled.flags.difference(&now) {
            self.flags.remove_label_values(&[flag]).ok();
        }
        labeled.flags = now;
    }

    fn outcomes(&self, server: &str, tool: &str) -> [IntCounter; 5] {
        Outcome::ALL
            .map(|outcome| self.tool_calls.with_label_values(&[server, tool, outcome.label()]))
    }
}

fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    metric: C,
) -> prometheus::Result<C> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

/// How many of the tools each server of the config has.
fn by_server<'t>(tools: impl Iterator<Item = &'t Arc<Tool>>, config: &HubConfig) -> Vec<usize> {
    let mut counts = vec![0; config.servers.len()];
    for tool in tools {
        if let Some(count) = counts.get_mut(tool.server) {
            *count += 1;
        }
    }
    counts
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
