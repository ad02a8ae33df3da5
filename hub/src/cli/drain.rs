//! `mcp-hub drain`: the preStop hook of hub and router pods. It lets the pod stop when its sessions
//! have ended, or when the timeout expires. The image has no shell and no curl.

use std::time::{Duration, Instant};

use crate::admin::{DRAIN_PATH, DrainStatus};
use crate::args;

const POLL: Duration = Duration::from_millis(250);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Polls until no session is left. It never fails: a failed hook would only add an event to a pod
/// that stops anyway.
pub async fn run(args: args::Drain) -> anyhow::Result<()> {
    let http = reqwest::Client::builder().no_proxy().timeout(REQUEST_TIMEOUT).build()?;
    let url = format!("{}{DRAIN_PATH}", args.admin.trim_end_matches('/'));
    let start = Instant::now();
    loop {
        let timed_out = start.elapsed() >= args.timeout;
        match drain(&http, &url).await {
            Ok(0) => {
                tracing::info!(seconds = start.elapsed().as_secs(), "drained");
                return Ok(());
            }
            Err(error) if error.is_connect() => {
                tracing::info!("no hub or router is running, nothing to drain");
                return Ok(());
            }
            Ok(left) if timed_out => tracing::warn!(left, "drain timed out, sessions still open"),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "failed to ask for the drain status"),
        }
        if timed_out {
            return Ok(());
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Returns how many sessions are left.
async fn drain(http: &reqwest::Client, url: &str) -> reqwest::Result<u64> {
    let response = http.post(url).send().await?.error_for_status()?;
    Ok(response.json::<DrainStatus>().await?.left)
}
