//! Starts server processes, up to `--max-processes` at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};

use super::error::Error;
use super::metrics::Metrics;
use super::process::{Process, ProcessEvent};
use super::reaper::Reaper;

/// How long the bridge waits for its servers when it stops. Stopping one takes 5 s at most, see
/// `process.rs`.
const STOP_TIMEOUT: Duration = Duration::from_secs(6);

pub(super) struct Launcher {
    command: Vec<String>,
    permits: Arc<Semaphore>,
    max_processes: u32,
    reaper: Arc<Reaper>,
    metrics: Arc<Metrics>,
}

impl Launcher {
    pub(super) fn new(
        command: Vec<String>,
        max_processes: u32,
        reaper: Arc<Reaper>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let permits = Arc::new(Semaphore::new(max_processes as usize));
        Self { command, permits, max_processes, reaper, metrics }
    }

    /// Starts a process for the session with this number. Fails if `--max-processes` run already.
    pub(super) fn launch(
        &self,
        number: u64,
    ) -> Result<(Process, mpsc::Receiver<ProcessEvent>), Error> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().map_err(|_| {
            self.metrics.count_refusal("max_processes");
            Error::MaxProcesses(self.max_processes)
        })?;
        self.metrics.starts.inc();
        Process::start(&self.command, number, &self.reaper, permit).map_err(Error::NotStarted)
    }

    /// Waits until no process is left. The caller stops them first.
    pub(super) async fn all_stopped(&self) {
        let stopped = self.permits.acquire_many(self.max_processes);
        if tokio::time::timeout(STOP_TIMEOUT, stopped).await.is_err() {
            tracing::warn!("shutdown deadline reached with servers still running");
        }
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}
