//! The metrics of `serve`. Label sets are bounded, and every bounded combination exists as 0 from
//! the start: without it, a rule over errors that never happened has no data.

mod breakers;
pub(super) mod category_cache;
pub(super) mod client_limits;
pub(super) mod list_cost;
mod requests;
mod tool_durations;
mod tools;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mcphub_hub_catalog::flags;
use mcphub_hub_protocol::outcome::Outcome;
use mcphub_hub_wire::flags::PERFORMANCE_MONITORING;
use prometheus::core::Collector;
use prometheus::{Gauge, IntGauge, IntGaugeVec, Opts, Registry};

pub(super) use self::breakers::Breakers;
use self::category_cache::CategoryCache;
use self::client_limits::ClientLimitMetrics;
use self::list_cost::ListCost;
pub(super) use self::requests::Method;
use self::requests::RequestMetrics;
use self::tool_durations::ToolDurations;
pub(super) use self::tools::{ToolMetrics, Tools};

/// From 50 us, which is what the hub adds at best, to 60 s, the usual timeout of a server.
const BUCKETS: [f64; 18] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0, 60.0,
];

/// All metrics of `serve`, except those of the selector.
pub struct Metrics {
    pub registry: Registry,
    requests: RequestMetrics,
    pub tools: Tools,
    tool_durations: Arc<ToolDurations>,
    pub sessions: IntGauge,
    flags: IntGaugeVec,
    /// The flags that have a series now.
    labeled_flags: Mutex<HashSet<String>>,
    /// The generation of the data plane state in force.
    pub generation: Gauge,
    pub list_cost: ListCost,
    pub client_limits: ClientLimitMetrics,
    pub breakers: Breakers,
    pub category_cache: CategoryCache,
}

impl Metrics {
    /// Registers all metrics. `labels` are on every series.
    pub fn new(labels: HashMap<String, String>) -> prometheus::Result<Self> {
        let registry = Registry::new_custom(None, Some(labels))?;
        let info = opts("info", "1, with the hub's version");
        register(&registry, IntGaugeVec::new(info, &["version"])?)?
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        let tool_durations = Arc::new(ToolDurations::register(&registry)?);
        let sessions = IntGauge::with_opts(opts("sessions", "Open sessions"))?;
        let flags = opts("feature_flag", "1 while the flag is on");
        let generation = opts("config_generation", "Generation of the data plane state in force");
        Ok(Self {
            requests: RequestMetrics::register(&registry)?,
            tools: Tools::register(&registry, Arc::clone(&tool_durations))?,
            tool_durations,
            sessions: register(&registry, sessions)?,
            flags: register(&registry, IntGaugeVec::new(flags, &["flag"])?)?,
            labeled_flags: Mutex::default(),
            generation: register(&registry, Gauge::with_opts(generation)?)?,
            list_cost: ListCost::register(&registry)?,
            client_limits: ClientLimitMetrics::register(&registry)?,
            breakers: Breakers::new(&registry),
            category_cache: CategoryCache::default(),
            registry,
        })
    }

    /// Counts a request. `upstream` is the part of its time that was spent waiting for servers.
    pub fn count_request(
        &self,
        method: Method,
        outcome: Outcome,
        took: Duration,
        upstream: Duration,
    ) {
        self.requests.count(method, outcome, took, upstream);
    }

    /// Exports the flags in force, and turns metrics on and off as they say.
    pub fn set_flags(&self, flags: &BTreeMap<String, bool>) {
        self.tool_durations.enable(flags::configured(flags, PERFORMANCE_MONITORING));
        for (flag, on) in flags {
            self.flags.with_label_values(&[flag]).set(i64::from(*on));
        }
        let current: HashSet<String> = flags.keys().cloned().collect();
        let mut labeled = self.labeled_flags.lock().unwrap_or_else(PoisonError::into_inner);
        for flag in labeled.difference(&current) {
            self.flags.remove_label_values(&[flag]).ok();
        }
        *labeled = current;
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(format!("mcp_hub_{name}"), help)
}

fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    metric: C,
) -> prometheus::Result<C> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

#[cfg(test)]
mod tests {
    use super::BUCKETS;

    // Prometheus answers a quantile above the largest finite bucket with that bucket, so a rule
    // with a higher threshold could never fire.
    #[test]
    fn the_crd_accepts_only_latencies_below_the_largest_bucket() {
        let rules = mcphub_crds::rules::rules();
        let bounds = rules.iter().filter_map(|rule| {
            let of_metric = rule.cel.starts_with("self.?metric.orValue('') != 'HubLatencyP95'");
            of_metric
                .then(|| rule.cel.rsplit_once("double(v) < ")?.1.strip_suffix(')')?.parse().ok())
        });
        assert_eq!(bounds.collect::<Vec<Option<f64>>>(), [BUCKETS.last().copied()]);
    }
}
