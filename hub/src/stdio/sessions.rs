//! All sessions of a bridge, and the loop that stops idle servers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use mcphub_hub_protocol::message::{UpstreamMessage, parse_upstream};

use super::error::{Error, MAX_SESSIONS};
use super::launcher::Launcher;
use super::session::Session;

/// A session whose server is stopped ends after this time without a message from its client. The
/// client has probably gone without a DELETE.
const ABANDONED_AFTER: Duration = Duration::from_hours(1);

pub(super) struct Sessions {
    launcher: Arc<Launcher>,
    by_id: Mutex<HashMap<String, Arc<Session>>>,
    next_number: AtomicU64,
}

impl Sessions {
    pub(super) fn new(launcher: Arc<Launcher>) -> Self {
        Self { launcher, by_id: Mutex::default(), next_number: AtomicU64::new(1) }
    }

    /// Opens a session with a process of its own. Returns the server's response to `initialize`,
    /// and the session id. The id is `None` if the response is an error: then there is no session.
    pub(super) async fn open(
        &self,
        initialize: Bytes,
        id: String,
    ) -> Result<(Bytes, Option<String>), Error> {
        self.remove_ended();
        if self.by_id().len() >= MAX_SESSIONS {
            self.launcher.metrics().count_refusal("max_sessions");
            return Err(Error::MaxSessions);
        }
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let session = Session::new(number, initialize, id, Arc::clone(&self.launcher));
        let response = session.start().await?;
        let text = String::from_utf8_lossy(&response);
        if !matches!(parse_upstream(&text), Some(UpstreamMessage::Result { .. })) {
            session.end("it did not initialize");
            return Ok((response, None));
        }
        session.set_ready();
        let id = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>());
        let mut by_id = self.by_id();
        by_id.insert(id.clone(), session);
        self.update_gauge(&by_id);
        Ok((response, Some(id)))
    }

    pub(super) fn get(&self, id: &str) -> Option<Arc<Session>> {
        self.by_id().get(id).filter(|session| !session.has_ended()).cloned()
    }

    /// Ends a session. Returns `false` if there is none with this id.
    pub(super) fn end(&self, id: &str) -> bool {
        let mut by_id = self.by_id();
        let ended = by_id.remove(id).filter(|session| !session.has_ended());
        self.update_gauge(&by_id);
        ended.inspect(|session| session.end("the client ended the session")).is_some()
    }

    /// Stops idle servers and ends abandoned sessions. Never returns.
    pub(super) async fn sweep(&self, idle_timeout: Duration) {
        let interval =
            (idle_timeout / 10).clamp(Duration::from_millis(50), Duration::from_secs(10));
        loop {
            tokio::time::sleep(interval).await;
            self.remove_ended();
            let sessions: Vec<_> = self
                .by_id()
                .iter()
                .map(|(id, session)| (id.clone(), Arc::clone(session)))
                .collect();
            for (id, session) in sessions {
                session.stop_if_idle(idle_timeout);
                if session.client_silence() >= idle_timeout + ABANDONED_AFTER {
                    self.end(&id);
                }
            }
        }
    }

    /// The number of calls in all sessions that wait for a response.
    pub(super) fn pending_calls(&self) -> usize {
        self.by_id().values().map(|session| session.pending_calls()).sum()
    }

    /// Ends all sessions and waits for their processes.
    pub(super) async fn end_all(&self) {
        for (_, session) in self.by_id().drain() {
            session.end("the bridge is stopping");
        }
        self.launcher.all_stopped().await;
    }

    fn remove_ended(&self) {
        let mut by_id = self.by_id();
        by_id.retain(|_, session| !session.has_ended());
        self.update_gauge(&by_id);
    }

    fn update_gauge(&self, by_id: &HashMap<String, Arc<Session>>) {
        self.launcher.metrics().sessions.set(i64::try_from(by_id.len()).unwrap_or(i64::MAX));
    }

    fn by_id(&self) -> MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
