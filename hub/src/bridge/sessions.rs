//! All sessions of a bridge, and the bounds on them and on their processes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use mcphub_hub_protocol::message::{Upstream, parse_upstream};
use tokio::sync::{Semaphore, mpsc};

use super::metrics::Metrics;
use super::process::{Event, Process};
use super::reaper::Reaper;
use super::session::Session;

/// Sessions at a time, sleeping ones included.
const MAX_SESSIONS: usize = 1024;
/// A session whose server sleeps is forgotten after so long without a request: its client has gone without a word.
const FORGOTTEN: Duration = Duration::from_hours(1);
/// For servers to end when the bridge does: what a stop takes at most, and a little.
const ALL_STOPPED: Duration = Duration::from_secs(6);

/// Why a request is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// Every process that may run does.
    #[error(
        "all {0} server processes (--max-processes) are in use; try again later, or end a session"
    )]
    MaxProcesses(u32),
    /// Too many sessions.
    #[error("there are {MAX_SESSIONS} sessions; try again later, or end one")]
    MaxSessions,
    /// Too many calls in one session.
    #[error("too many calls wait for this server; try again later")]
    TooManyCalls,
    /// The command did not start.
    #[error("the server did not start: {0}")]
    NotStarted(std::io::Error),
    /// A call with the same id waits.
    #[error("a request with this id is under way")]
    IdInUse,
    /// The session has ended.
    #[error("the session is over; initialize again")]
    Over,
}

/// Starts processes, as many as there may be.
pub(super) struct Launcher {
    command: Vec<String>,
    places: Arc<Semaphore>,
    max_processes: u32,
    reaper: Arc<Reaper>,
    metrics: Arc<Metrics>,
}

impl Launcher {
    /// For this command.
    pub(super) fn new(
        command: Vec<String>,
        max_processes: u32,
        reaper: Arc<Reaper>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let places = Arc::new(Semaphore::new(max_processes as usize));
        Self { command, places, max_processes, reaper, metrics }
    }

    /// A new process, if there is a place for it.
    pub(super) fn launch(&self, number: u64) -> Result<(Process, mpsc::Receiver<Event>), Refused> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            self.metrics.refuse("max_processes");
            Refused::MaxProcesses(self.max_processes)
        })?;
        self.metrics.starts.inc();
        Process::start(&self.command, number, &self.reaper, place).map_err(Refused::NotStarted)
    }

    /// Where things are counted.
    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}

/// The sessions by id.
pub(super) struct Sessions {
    launcher: Arc<Launcher>,
    by_id: Mutex<HashMap<String, Arc<Session>>>,
    numbers: AtomicU64,
}

impl Sessions {
    /// None yet.
    pub(super) fn new(launcher: Arc<Launcher>) -> Self {
        Self { launcher, by_id: Mutex::default(), numbers: AtomicU64::new(1) }
    }

    /// Begins a session with a process of its own. The server's answer to `initialize`, and the session's id unless
    /// that answer is an error.
    pub(super) async fn begin(
        &self,
        initialize: Bytes,
        id: String,
    ) -> Result<(Bytes, Option<String>), Refused> {
        self.forget_ended();
        if self.by_id().len() >= MAX_SESSIONS {
            self.launcher.metrics.refuse("max_sessions");
            return Err(Refused::MaxSessions);
        }
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let session = Session::new(number, initialize, id, Arc::clone(&self.launcher));
        let answer = session.start().await?;
        let text = String::from_utf8_lossy(&answer);
        if !matches!(parse_upstream(&text), Some(Upstream::Result { .. })) {
            session.end("it did not initialize");
            return Ok((answer, None));
        }
        session.open();
        let id = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>());
        let mut by_id = self.by_id();
        by_id.insert(id.clone(), session);
        self.count(&by_id);
        Ok((answer, Some(id)))
    }

    /// The session with this id, unless its process has died.
    pub(super) fn get(&self, id: &str) -> Option<Arc<Session>> {
        self.by_id().get(id).filter(|session| !session.is_over()).cloned()
    }

    /// Ends a session; `false` if there is none.
    pub(super) fn end(&self, id: &str) -> bool {
        let mut by_id = self.by_id();
        let ended = by_id.remove(id).filter(|session| !session.is_over());
        self.count(&by_id);
        ended.inspect(|session| session.end("the client ended the session")).is_some()
    }

    /// Stops servers that idle and forgets sessions that nobody will use again. Runs for ever.
    pub(super) async fn sweep(&self, idle_timeout: Duration) {
        let pause = (idle_timeout / 10).clamp(Duration::from_millis(50), Duration::from_secs(10));
        loop {
            tokio::time::sleep(pause).await;
            self.forget_ended();
            let sessions: Vec<_> = self
                .by_id()
                .iter()
                .map(|(id, session)| (id.clone(), Arc::clone(session)))
                .collect();
            for (id, session) in sessions {
                if session.idle(idle_timeout) >= idle_timeout + FORGOTTEN {
                    self.end(&id);
                }
            }
        }
    }

    /// Calls that wait, over all sessions.
    pub(super) fn pending(&self) -> usize {
        self.by_id().values().map(|session| session.pending()).sum()
    }

    /// Ends all sessions; returns when their processes have ended.
    pub(super) async fn end_all(&self) {
        for (_, session) in self.by_id().drain() {
            session.end("the bridge stops");
        }
        let Launcher { places, max_processes, .. } = &*self.launcher;
        if tokio::time::timeout(ALL_STOPPED, places.acquire_many(*max_processes)).await.is_err() {
            tracing::warn!("servers were running until the end");
        }
    }

    fn forget_ended(&self) {
        let mut by_id = self.by_id();
        by_id.retain(|_, session| !session.is_over());
        self.count(&by_id);
    }

    fn count(&self, by_id: &HashMap<String, Arc<Session>>) {
        self.launcher.metrics.sessions.set(i64::try_from(by_id.len()).unwrap_or(i64::MAX));
    }

    fn by_id(&self) -> MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
