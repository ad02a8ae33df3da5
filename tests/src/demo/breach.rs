//! The first instant at which Prometheus shows that the rule `tool-errors` has been breached for
//! the duration of its `for`.
//!
//! The demo sends the range query of the rule every 100 ms, independently of the operator.

use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::{SignedDuration, Timestamp};
use mcphub_crds::rollout::Metric;
use mcphub_hub_wire::dataplane::Revision;
use mcphub_operator_plan::rollout::rules::presets;
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::cluster::Cluster;

/// As in `tests/demo/3-bad.yaml`.
const ABOVE: f64 = 0.10;
const FOR: SignedDuration = SignedDuration::from_secs(4);
const MIN_SAMPLES: f64 = 20.0;
/// `max(4 x scrape interval, 1m)`.
const WINDOW: Duration = Duration::from_mins(1);

/// Queries until the breach is visible. Ends when dropped.
pub(super) struct BreachProbe(JoinHandle<Timestamp>);

impl BreachProbe {
    /// Starts to query. Nothing before `epoch` counts.
    pub(super) fn start(
        cluster: &Cluster,
        namespace: &str,
        hub: &str,
        bad: &Revision,
        epoch: Timestamp,
    ) -> Result<Self> {
        let metric = Metric::ToolErrorRate;
        let value =
            presets::expression(metric, namespace, hub, bad, WINDOW).context("an expression")?;
        let samples =
            presets::samples(metric, namespace, hub, bad, WINDOW).context("an expression")?;
        let url = format!("{}/api/v1/query_range", cluster.prometheus_url_from_host()?);
        let http = reqwest::Client::new();
        Ok(Self(tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_millis(100));
            loop {
                tick.tick().await;
                let now = Timestamp::now();
                let line = tokio::try_join!(
                    range(&http, &url, &value, epoch, now),
                    range(&http, &url, &samples, epoch, now)
                );
                if line.is_ok_and(|(values, samples)| breached(&values, &samples)) {
                    return Timestamp::now();
                }
            }
        })))
    }

    /// When the breach became visible. An error if it is not visible although the operator has
    /// rolled back.
    pub(super) async fn visible_at(mut self) -> Result<Timestamp> {
        let visible = tokio::time::timeout(Duration::from_secs(30), &mut self.0).await;
        visible
            .context("the operator rolled back, but Prometheus does not show the breach")?
            .context("the probe ended early")
    }
}

impl Drop for BreachProbe {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn range(
    http: &reqwest::Client,
    url: &str,
    promql: &str,
    start: Timestamp,
    end: Timestamp,
) -> Result<Vec<(f64, f64)>> {
    let (start, end) = (start.as_millisecond() as f64 / 1e3, end.as_millisecond() as f64 / 1e3);
    let query = [
        ("query", promql),
        ("start", &start.to_string()),
        ("end", &end.to_string()),
        ("step", "0.25"),
    ];
    let answer: Value =
        http.get(url).query(&query).send().await?.error_for_status()?.json().await?;
    let points = answer["data"]["result"][0]["values"].as_array().context("one series")?;
    points
        .iter()
        .map(|point| {
            Ok((
                point[0].as_f64().context("a time")?,
                point[1].as_str().context("a value")?.parse()?,
            ))
        })
        .collect()
}

/// Whether the latest uninterrupted breach is as long as `for`.
fn breached(values: &[(f64, f64)], samples: &[(f64, f64)]) -> bool {
    let enough = |at: f64| {
        samples.iter().any(|(when, have)| (when - at).abs() < 0.01 && *have >= MIN_SAMPLES)
    };
    let mut since = None;
    let mut until = 0.0;
    for (at, value) in values.iter().filter(|(at, _)| enough(*at)) {
        match (since, *value > ABOVE) {
            (_, false) => since = None,
            (None, true) => (since, until) = (Some(*at), *at),
            (Some(_), true) => until = *at,
        }
    }
    since.is_some_and(|since| until - since >= FOR.as_secs_f64())
}
