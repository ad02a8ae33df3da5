//! The names, types and label sets of all metrics are an interface: dashboards, alerts and the
//! rules of a rollout quote them.

use std::collections::BTreeSet;

use crate::fixture::Fixture;
use crate::operator::{compiled, pod};

/// Every series that a hub with one server of one tool exposes before its first request.
const GOLDEN: &str = include_str!("metric_names.txt");

// A renamed metric silently empties every dashboard, alert and rollout rule that reads it.
#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_has_started_exposes_exactly_these_metrics_with_these_labels() {
    let server = Fixture::legacy(&["echo"]).await;
    let (hub, _mounted) = pod(compiled(&[("s", &server.url)])).await;
    hub.list_becomes(&["s__echo"]).await;
    hub.metric_becomes("mcp_hub_tools", &[("server", "s"), ("state", "exposed")], 1.0).await;
    hub.metric_becomes("mcp_hub_vendor_breaches", &[("server", "s")], 0.0).await;
    let exposed = series(&hub.get(hub.admin_url("/metrics")).await.text);
    assert_eq!(exposed, GOLDEN, "write this to metric_names.txt if it is meant:\n{exposed}");
}

/// The types and series of a Prometheus text, one per line, without values, bucket bounds and help.
fn series(text: &str) -> String {
    let mut lines = BTreeSet::new();
    for line in text.lines() {
        if line.starts_with("# TYPE ") {
            lines.insert(line.to_owned());
        } else if let Some((series, _)) = line.rsplit_once(' ').filter(|_| !line.starts_with('#')) {
            lines.insert(without_varying_labels(series));
        }
    }
    lines.into_iter().map(|line| line + "\n").collect()
}

/// The series with sorted labels, without the bucket bound and with a masked version.
fn without_varying_labels(series: &str) -> String {
    let Some((name, labels)) = series.trim_end_matches('}').split_once('{') else {
        return series.to_owned();
    };
    let mut labels: Vec<&str> = labels
        .split(',')
        .filter(|label| !label.starts_with("le="))
        .map(|label| if label.starts_with("version=") { "version=\"*\"" } else { label })
        .collect();
    labels.sort_unstable();
    format!("{name}{{{}}}", labels.join(","))
}
