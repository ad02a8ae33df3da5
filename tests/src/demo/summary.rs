//! `target/demo/summary.json`: the figures of one run.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::Serialize;

/// The figures of one run. What was not measured is `null`.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Summary {
    /// Version of the API server.
    pub(super) kubernetes: String,
    /// Seconds since the start of the demo. `promotion` and `rollback` are durations.
    pub(super) seconds: Seconds,
    /// Size of the archive of each image, in bytes.
    pub(super) images: BTreeMap<String, u64>,
    /// Sessions opened at each step ("10", "50", "100") while all routers had its generation.
    pub(super) share: BTreeMap<String, Share>,
    pub(super) requests: Requests,
    /// From the first instant at which the range query of the rule, sent every 100 ms, shows the
    /// breach, to the last request that a router began to forward to the canary. Negative if the
    /// operator was faster than the query.
    pub(super) breach_to_last_canary_request_s: Option<f64>,
    /// From the write of the runtime ConfigMap, as a watch sees it, to the last pod that reports
    /// its generation.
    pub(super) flag_write_to_last_pod_s: Option<f64>,
    /// `rollout.interval` of the demo's hub.
    pub(super) evaluation_interval_s: f64,
    /// Whether the pods of stable were the same (UID, restarts) after promotion, rollback and
    /// operator restart.
    pub(super) pods_unchanged: bool,
}

#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Seconds {
    pub(super) cluster_ready: f64,
    pub(super) operator_ready: f64,
    pub(super) hub_ready: f64,
    pub(super) promotion: f64,
    pub(super) rollback: f64,
    pub(super) total: f64,
}

/// Sessions of one step.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Share {
    pub(super) sessions: u64,
    /// Those of them that the canary got.
    pub(super) canary: u64,
}

/// Requests of the background traffic and of the sessions that are counted for `share`.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Requests {
    pub(super) sent: u64,
    /// Connection error, HTTP error, or no success after one new initialize.
    pub(super) failed: u64,
    /// Requests whose session was gone, so that the client had to initialize again.
    pub(super) reinitialized: u64,
    /// Those of the background traffic from the good change to the end of its guard.
    pub(super) failed_during_promotion: u64,
    /// Those of the background traffic from the bad change until it was rolled back.
    pub(super) failed_during_rollback: u64,
}

impl Summary {
    /// Writes `demo/summary.json` into the target folder and returns its path.
    pub(super) fn write(&self) -> Result<PathBuf> {
        let folder = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(
                || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target"),
                PathBuf::from,
            )
            .join("demo");
        std::fs::create_dir_all(&folder)?;
        let path = folder.join("summary.json");
        std::fs::write(&path, serde_json::to_string_pretty(self)?)
            .with_context(|| path.display().to_string())?;
        Ok(path.canonicalize()?)
    }
}
