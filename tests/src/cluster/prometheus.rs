//! Prometheus beside the cluster. It finds pods by annotation, as the Prometheus of a user does.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::component::{Component, Part};
use super::sandbox::Sandbox;
use super::tools::Tools;

/// The port of Prometheus.
pub(crate) const PORT: u16 = 9090;

/// Starts the Prometheus of Debian inside the run, and the script that writes its list of pods.
pub(crate) fn start(
    sandbox: &Sandbox,
    tools: &Tools,
    kubeconfig: &str,
    interval: Duration,
) -> Result<[Component; 2]> {
    let dir = sandbox.dir().join("prometheus");
    fs::create_dir_all(&dir)?;
    let targets = dir.join("targets.json");
    fs::write(&targets, "[]")?;
    let path = dir.join("prometheus.yml");
    fs::write(
        &path,
        config(interval, &json!({"file_sd_configs": [{"files": [targets]}]}), &json!([]))
            .to_string(),
    )?;
    let args = [
        format!("--config.file={}", path.display()),
        format!("--storage.tsdb.path={}", dir.join("data").display()),
        format!("--web.listen-address=0.0.0.0:{PORT}"),
        "--log.level=warn".into(),
    ];
    let kubectl = tools.kubernetes("kubectl").to_string_lossy().into_owned();
    let discover = ["-c", DISCOVER, "discover", &kubectl, kubeconfig, &targets.to_string_lossy()]
        .map(String::from);
    Ok([
        Component::start(sandbox, Part::Discovery, "bash".into(), discover.into())?,
        Component::start(sandbox, Part::Prometheus, "prometheus".into(), args.into())?,
    ])
}

const DISCOVER: &str = include_str!("discover.sh");

/// A configuration that scrapes what `discovery` finds. The labels that a pod exports (`namespace`,
/// `hub`, `revision`) take precedence over those of the target.
pub(crate) fn config(interval: Duration, discovery: &Value, relabel: &Value) -> Value {
    let every = format!("{}ms", interval.as_millis());
    let mut job = json!({"job_name": "pods", "honor_labels": true, "relabel_configs": relabel});
    if let (Some(job), Some(discovery)) = (job.as_object_mut(), discovery.as_object()) {
        job.extend(discovery.clone());
    }
    json!({
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "scrape_configs": [job],
    })
}

/// The value of an instant query; `None` if it returns no series.
pub(crate) async fn query(url: &str, expression: &str) -> Result<Option<f64>> {
    super::crypto();
    let response: Value = reqwest::Client::new()
        .get(format!("{url}/api/v1/query"))
        .query(&[("query", expression)])
        .send()
        .await
        .context("failed to query Prometheus")?
        .json()
        .await?;
    anyhow::ensure!(
        response["status"] == "success",
        "Prometheus rejected {expression}: {}",
        response["error"]
    );
    let value = &response["data"]["result"][0]["value"][1];
    value
        .as_str()
        .map(|text| text.parse().context("Prometheus returned a value that is not a number"))
        .transpose()
}
