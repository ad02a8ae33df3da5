//! Starts server processes, up to `--max-processes` at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};

use super::error::Error;
use super::metrics::Metrics;
use super::process::{Process, ProcessEvent};
use super::program::Program;
use super::restarts::Restarts;

/// How long the bridge waits for its servers when it stops. Stopping one takes 5 s at most, see
/// `process.rs`.
const STOP_TIMEOUT: Duration = Duration::from_secs(6);

pub(super) struct Launcher {
    program: Arc<dyn Program>,
    permits: Arc<Semaphore>,
    max_processes: u32,
    restarts: Restarts,
    metrics: Arc<Metrics>,
}

impl Launcher {
    pub(super) fn new(
        program: Arc<dyn Program>,
        max_processes: u32,
        metrics: Arc<Metrics>,
    ) -> Self {
        let permits = Arc::new(Semaphore::new(max_processes as usize));
        Self { program, permits, max_processes, restarts: Restarts::default(), metrics }
    }

    /// The name of the server, for logs.
    pub(super) fn name(&self) -> &str {
        self.program.name()
    }

    /// Starts a process for the session with this number. Fails if `--max-processes` run already
    /// and none of them ends within [`STOP_TIMEOUT`], or if the server keeps ending.
    pub(super) async fn launch(
        &self,
        number: u64,
    ) -> Result<(Process, mpsc::Receiver<ProcessEvent>), Error> {
        // A process that was stopped a moment ago has its permit until it has really ended.
        let permit = Arc::clone(&self.permits).acquire_owned();
        let Ok(Ok(permit)) = tokio::time::timeout(STOP_TIMEOUT, permit).await else {
            self.metrics.count_refusal("max_processes");
            return Err(Error::MaxProcesses(self.max_processes));
        };
        if let Some(wait) = self.restarts.wait() {
            return Err(Error::KeepsEnding(wait));
        }
        self.metrics.starts.inc();
        self.program.start(number, permit).map_err(Error::NotStarted)
    }

    /// Notes that a process has ended by itself after this time.
    pub(super) fn record_end(&self, ran: Duration) {
        self.metrics.deaths.inc();
        self.restarts.record_end(ran);
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
