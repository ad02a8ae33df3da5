//! `target/demo/summary.json`: the figures of one run.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::Serialize;

/// The figures of one run; `null` is what was not measured.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Summary {
    /// Version of the API server.
    pub(super) kubernetes: String,
    /// Seconds since the start of the demo, or that a stage took.
    pub(super) seconds: Seconds,
    /// Image to bytes of its archive.
    pub(super) images: BTreeMap<String, u64>,
    /// Step ("10", "50", "100") to sessions opened while all routers reported its generation.
    pub(super) share: BTreeMap<String, Share>,
    /// Background traffic.
    pub(super) requests: Requests,
    /// From the first instant at which the rule's own range query, asked every 100 ms, shows the trigger met to the last
    /// request that a router began to forward to the canary. Negative: the operator was quicker than the poll.
    pub(super) breach_to_last_canary_request_s: Option<f64>,
    /// From the runtime ConfigMap written (as a watch sees it) to the last pod that reports its generation.
    pub(super) flag_write_to_last_pod_s: Option<f64>,
    /// `rollout.interval` of the demo's hub.
    pub(super) evaluation_interval_s: f64,
    /// Pods of stable that are the same (uid, restarts) after promotion, rollback and operator restart.
    pub(super) pods_unchanged: bool,
}

/// Times in seconds.
#[derive(Debug, Clone, Default, Serialize)]
#[allow(missing_docs)] // named by the stages
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
    /// Sessions opened.
    pub(super) sessions: u64,
    /// Of them, on the canary.
    pub(super) canary: u64,
}

/// Requests of the background traffic and of the counted sessions.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Requests {
    /// All.
    pub(super) sent: u64,
    /// Connection error, 5xx, or no success after one new initialize.
    pub(super) failed: u64,
    /// Of them, from the good change to the end of its guard.
    pub(super) failed_during_promotion: u64,
    /// Of them, from the bad change to the end.
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
