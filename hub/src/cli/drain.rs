//! `mcp-hub drain`, the preStop hook of hub and router pods: the pod goes when its sessions have, or when the time
//! is up. (There is no shell and no curl in the image.)

use std::time::{Duration, Instant};

use crate::admin::{DRAIN_PATH, Drained};
use crate::args;

const LOOK: Duration = Duration::from_millis(250);
const ANSWER: Duration = Duration::from_secs(5);

/// Asks until nothing is left. Ends well in any case: a hook that fails only adds an event to a pod that goes anyway.
pub async fn run(args: args::Drain) -> anyhow::Result<()> {
    let http = reqwest::Client::builder().no_proxy().timeout(ANSWER).build()?;
    let url = format!("{}{DRAIN_PATH}", args.admin.trim_end_matches('/'));
    let since = Instant::now();
    loop {
        let over = since.elapsed() >= args.timeout;
        match left(&http, &url).await {
            Ok(0) => {
                tracing::info!(seconds = since.elapsed().as_secs(), "drained");
                return Ok(());
            }
            Err(error) if error.is_connect() => {
                tracing::info!("nothing runs here: nothing to drain");
                return Ok(());
            }
            Ok(left) if over => tracing::warn!(left, "the time is up"),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "not answered"),
        }
        if over {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn left(http: &reqwest::Client, url: &str) -> reqwest::Result<u64> {
    let answer = http.post(url).send().await?.error_for_status()?;
    Ok(answer.json::<Drained>().await?.left)
}
