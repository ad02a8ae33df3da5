//! How long tests wait, and for what.
//!
//! A wait ends as soon as what it waits for is there, so a long bound costs nothing while all is
//! well. It only has to be longer than the slowest machine needs.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// For everything that the contracts give no time limit: pods that start, leaders that are
/// replaced, rollouts that end.
pub const PATIENCE: Duration = Duration::from_mins(5);

/// A time limit of the contracts, stretched by as much as this machine is overloaded.
///
/// The limits hold for machines that have a core for the work. When twice as many threads want to
/// run as there are cores, everything takes twice as long, and that is no fault of the operator.
pub fn limit(contract: Duration) -> Duration {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    contract.mul_f64(overload(&load, cores))
}

/// Runnable threads per core, averaged over a minute, and 1 on a machine that is not overloaded.
fn overload(loadavg: &str, cores: usize) -> f64 {
    let load: f64 = loadavg.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0.0);
    (load / f64::from(u32::try_from(cores).unwrap_or(1))).max(1.0)
}

/// Asks every 100 ms until there is an answer. For what cannot be watched.
pub async fn eventually<T>(
    what: &str,
    within: Duration,
    mut ask: impl AsyncFnMut() -> Option<T>,
) -> Result<T> {
    let since = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return Ok(answer);
        }
        if since.elapsed() > within {
            bail!("not within {within:.0?}: {what}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Asks every 100 ms until the answer is yes, and returns how long that took.
pub async fn until(
    what: &str,
    within: Duration,
    mut is_so: impl AsyncFnMut() -> bool,
) -> Result<Duration> {
    let since = Instant::now();
    eventually(what, within, async || is_so().await.then_some(())).await?;
    Ok(since.elapsed())
}

/// Bounds the wait for something that can be watched.
pub async fn within<T, E: Into<anyhow::Error>>(
    patience: Duration,
    what: &str,
    happens: impl Future<Output = Result<T, E>>,
) -> Result<T> {
    // Boxed, because a watch is a large future and callers hold several of them.
    let ended = tokio::time::timeout(patience, Box::pin(happens)).await;
    ended.with_context(|| format!("not within {patience:.0?}: {what}"))?.map_err(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_stretched_only_on_an_overloaded_machine() {
        let stretch = |load: &str| format!("{:.1}", overload(load, 2));
        assert_eq!(["", "0.10 0 0", "2.00 0 0"].map(stretch), ["1.0", "1.0", "1.0"]);
        assert_eq!(["3.00 0 0", "9.00 0 0"].map(stretch), ["1.5", "4.5"]);
    }
}
