//! The PromQL of every metric. It uses only rates and `*_over_time` windows: an instant selector
//! would show a dead series for five more minutes.

use std::time::Duration;

use mcphub_crds::rollout::Metric;
use mcphub_hub_wire::dataplane::Revision;

/// The value of a metric on one revision: a number, NaN without traffic, nothing without data.
/// `None` for metrics that hubs do not export yet.
pub fn expression(
    metric: Metric,
    namespace: &str,
    hub: &str,
    revision: &Revision,
    window: Duration,
) -> Option<String> {
    let of = Selector { namespace, hub, revision, window };
    match metric {
        Metric::HubErrorRate => Some(of.share("mcp_hub_requests_total", "hub_error")),
        Metric::ToolErrorRate => Some(of.share("mcp_hub_tool_calls_total", "tool_error")),
        Metric::UpstreamErrorRate => Some(of.share("mcp_hub_tool_calls_total", "upstream_error")),
        Metric::Availability => Some(of.share("mcp_router_requests_total", "ok")),
        Metric::HubLatencyP95 => {
            let buckets = of.rate("mcp_hub_overhead_seconds_bucket", "");
            Some(format!("histogram_quantile(0.95, sum by (le) ({buckets}))"))
        }
        Metric::LlmSuccessRate => Some(of.share(LLM_REQUESTS, "ok")),
        Metric::LlmLatencyP95 => {
            let buckets = of.rate("mcp_hub_llm_request_duration_seconds_bucket", "");
            Some(format!("histogram_quantile(0.95, sum by (le) ({buckets}))"))
        }
        // 2 means open. Half-open between two failures is no recovery, so the worst state of the
        // window counts.
        Metric::CircuitBreakerOpen => {
            Some(format!("max(max_over_time({})) == bool 2", of.series(BREAKER, LLM)))
        }
        // The worst pod counts: an average would hide a pod that sees no tools.
        Metric::SelectionRecall => Some(format!("min(avg_over_time({}))", of.series(RECALL, ""))),
        Metric::MemoryGrowth => None,
    }
}

/// The number of requests behind [`expression`], which is the increase of its denominator. For
/// metrics that a hub measures by itself, the number of scrapes.
pub fn samples(
    metric: Metric,
    namespace: &str,
    hub: &str,
    revision: &Revision,
    window: Duration,
) -> Option<String> {
    let of = Selector { namespace, hub, revision, window };
    match metric {
        Metric::HubErrorRate => Some(of.counted("mcp_hub_requests_total")),
        Metric::ToolErrorRate | Metric::UpstreamErrorRate => {
            Some(of.counted("mcp_hub_tool_calls_total"))
        }
        Metric::Availability => Some(of.counted("mcp_router_requests_total")),
        Metric::HubLatencyP95 => {
            Some(format!("sum({})", of.increase("mcp_hub_overhead_seconds_count", "")))
        }
        Metric::LlmSuccessRate => Some(of.counted(LLM_REQUESTS)),
        Metric::LlmLatencyP95 => {
            Some(format!("sum({})", of.increase("mcp_hub_llm_request_duration_seconds_count", "")))
        }
        Metric::CircuitBreakerOpen => {
            Some(format!("max(count_over_time({}))", of.series(BREAKER, LLM)))
        }
        Metric::SelectionRecall => Some(format!("max(count_over_time({}))", of.series(RECALL, ""))),
        Metric::MemoryGrowth => None,
    }
}

/// The tools with the most failures that the metric counts, with labels `server` and `tool`; `None`
/// if it does not count failures of tools.
pub fn failures(
    metric: Metric,
    namespace: &str,
    hub: &str,
    revision: &Revision,
    window: Duration,
) -> Option<String> {
    let of = Selector { namespace, hub, revision, window };
    let outcome = match metric {
        Metric::HubErrorRate => "hub_error",
        Metric::ToolErrorRate => "tool_error",
        Metric::UpstreamErrorRate => "upstream_error",
        Metric::Availability
        | Metric::HubLatencyP95
        | Metric::LlmSuccessRate
        | Metric::LlmLatencyP95
        | Metric::CircuitBreakerOpen
        | Metric::SelectionRecall
        | Metric::MemoryGrowth => return None,
    };
    let failed =
        of.increase("mcp_hub_tool_calls_total", &format!(r#",tool!="",outcome="{outcome}""#));
    Some(format!("topk({FAILING_TOOLS}, sum by (server, tool) ({failed}) > 0)"))
}

/// Number of tools that [`failures`] asks for.
pub(super) const FAILING_TOOLS: usize = 3;

/// At least 1 if a pod of the revision was scraped within the window, else nothing.
pub fn presence(namespace: &str, hub: &str, revision: &Revision, window: Duration) -> String {
    let of = Selector { namespace, hub, revision, window };
    format!("max(count_over_time({}))", of.series("mcp_hub_info", ""))
}

const LLM_REQUESTS: &str = "mcp_hub_llm_requests_total";
const BREAKER: &str = "mcp_hub_circuit_breaker_state";
/// Matcher for the circuit breaker of the language model.
const LLM: &str = r#",server="llm""#;
const RECALL: &str = "mcp_hub_selection_recall";

/// Matcher without the mistakes of callers. A caller that sends garbage would otherwise hide the
/// errors of a hub.
const COUNTED: &str = r#",outcome!="caller_error""#;

struct Selector<'a> {
    namespace: &'a str,
    hub: &'a str,
    revision: &'a Revision,
    window: Duration,
}

impl Selector<'_> {
    fn series(&self, metric: &str, matchers: &str) -> String {
        let Self { namespace, hub, revision, window } = self;
        let window = window_text(*window);
        // Names of namespaces and hubs are DNS labels, so there is nothing to escape.
        format!(
            r#"{metric}{{namespace="{namespace}",hub="{hub}",revision="{revision}"{matchers}}}[{window}]"#
        )
    }

    fn rate(&self, metric: &str, matchers: &str) -> String {
        format!("rate({})", self.series(metric, matchers))
    }

    fn increase(&self, metric: &str, matchers: &str) -> String {
        format!("increase({})", self.series(metric, matchers))
    }

    fn share(&self, metric: &str, outcome: &str) -> String {
        let part = self.rate(metric, &format!(r#",outcome="{outcome}""#));
        format!("sum({part}) / sum({})", self.rate(metric, COUNTED))
    }

    fn counted(&self, metric: &str) -> String {
        format!("sum({})", self.increase(metric, COUNTED))
    }
}

fn window_text(window: Duration) -> String {
    if window.subsec_millis() == 0 {
        format!("{}s", window.as_secs())
    } else {
        format!("{}ms", window.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision() -> Revision {
        "0a1b2c3d".parse().unwrap()
    }

    // These expressions use metrics of the router, the hub and the demo. A renamed label would make
    // every rule NoData.
    #[test]
    fn expressions_are_pinned() {
        let of =
            |metric| expression(metric, "ai", "team", &revision(), Duration::from_mins(1)).unwrap();
        insta::assert_snapshot!(
            [
                Metric::HubErrorRate,
                Metric::ToolErrorRate,
                Metric::UpstreamErrorRate,
                Metric::Availability,
                Metric::HubLatencyP95
            ]
            .map(of)
            .join("\n"),
            @r#"
        sum(rate(mcp_hub_requests_total{namespace="ai",hub="team",revision="0a1b2c3d",outcome="hub_error"}[60s])) / sum(rate(mcp_hub_requests_total{namespace="ai",hub="team",revision="0a1b2c3d",outcome!="caller_error"}[60s]))
        sum(rate(mcp_hub_tool_calls_total{namespace="ai",hub="team",revision="0a1b2c3d",outcome="tool_error"}[60s])) / sum(rate(mcp_hub_tool_calls_total{namespace="ai",hub="team",revision="0a1b2c3d",outcome!="caller_error"}[60s]))
        sum(rate(mcp_hub_tool_calls_total{namespace="ai",hub="team",revision="0a1b2c3d",outcome="upstream_error"}[60s])) / sum(rate(mcp_hub_tool_calls_total{namespace="ai",hub="team",revision="0a1b2c3d",outcome!="caller_error"}[60s]))
        sum(rate(mcp_router_requests_total{namespace="ai",hub="team",revision="0a1b2c3d",outcome="ok"}[60s])) / sum(rate(mcp_router_requests_total{namespace="ai",hub="team",revision="0a1b2c3d",outcome!="caller_error"}[60s]))
        histogram_quantile(0.95, sum by (le) (rate(mcp_hub_overhead_seconds_bucket{namespace="ai",hub="team",revision="0a1b2c3d"}[60s])))
        "#
        );
    }

    #[test]
    fn samples_are_the_increase_of_the_denominator() {
        assert_eq!(
            samples(Metric::ToolErrorRate, "ai", "team", &revision(), Duration::from_millis(1500))
                .unwrap(),
            r#"sum(increase(mcp_hub_tool_calls_total{namespace="ai",hub="team",revision="0a1b2c3d",outcome!="caller_error"}[1500ms]))"#
        );
    }

    #[test]
    fn what_a_hub_measures_by_itself_is_the_worst_pods_and_its_samples_are_scrapes() {
        let of = |metric| {
            let (revision, window) = (revision(), Duration::from_mins(1));
            [expression, samples]
                .map(|part| part(metric, "ai", "team", &revision, window).unwrap())
                .join("\n")
        };
        insta::assert_snapshot!(
            [Metric::LlmSuccessRate, Metric::LlmLatencyP95, Metric::CircuitBreakerOpen,
                Metric::SelectionRecall].map(of).join("\n"),
            @r#"
        sum(rate(mcp_hub_llm_requests_total{namespace="ai",hub="team",revision="0a1b2c3d",outcome="ok"}[60s])) / sum(rate(mcp_hub_llm_requests_total{namespace="ai",hub="team",revision="0a1b2c3d",outcome!="caller_error"}[60s]))
        sum(increase(mcp_hub_llm_requests_total{namespace="ai",hub="team",revision="0a1b2c3d",outcome!="caller_error"}[60s]))
        histogram_quantile(0.95, sum by (le) (rate(mcp_hub_llm_request_duration_seconds_bucket{namespace="ai",hub="team",revision="0a1b2c3d"}[60s])))
        sum(increase(mcp_hub_llm_request_duration_seconds_count{namespace="ai",hub="team",revision="0a1b2c3d"}[60s]))
        max(max_over_time(mcp_hub_circuit_breaker_state{namespace="ai",hub="team",revision="0a1b2c3d",server="llm"}[60s])) == bool 2
        max(count_over_time(mcp_hub_circuit_breaker_state{namespace="ai",hub="team",revision="0a1b2c3d",server="llm"}[60s]))
        min(avg_over_time(mcp_hub_selection_recall{namespace="ai",hub="team",revision="0a1b2c3d"}[60s]))
        max(count_over_time(mcp_hub_selection_recall{namespace="ai",hub="team",revision="0a1b2c3d"}[60s]))
        "#
        );
    }

    #[test]
    fn failures_are_counted_by_tool_with_the_outcome_of_the_metric() {
        let of = |metric| failures(metric, "ai", "team", &revision(), Duration::from_mins(2));
        assert_eq!(
            of(Metric::ToolErrorRate).unwrap(),
            r#"topk(3, sum by (server, tool) (increase(mcp_hub_tool_calls_total{namespace="ai",hub="team",revision="0a1b2c3d",tool!="",outcome="tool_error"}[120s])) > 0)"#
        );
        assert_eq!(of(Metric::Availability), None, "routers know no tools");
    }

    #[test]
    fn a_metric_that_no_hub_exports_has_no_expression() {
        assert_eq!(
            expression(Metric::MemoryGrowth, "ai", "team", &revision(), Duration::from_mins(1)),
            None
        );
    }
}
