//! The way to the server and back to the client.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Method;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::peer::Peer;
use super::session::Session;
use super::tool_headers::ToolHeaders;

/// How long a notification may take. The messages after it wait.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// The server, the session with it, and where the client's messages are written.
pub(super) struct Link {
    pub(super) peer: Peer,
    pub(super) session: Session,
    pub(super) tools: ToolHeaders,
    output: mpsc::Sender<String>,
    listener: Mutex<Option<AbortHandle>>,
}

impl Link {
    pub(super) fn new(peer: Peer, output: mpsc::Sender<String>) -> Self {
        let (session, tools) = (Session::default(), ToolHeaders::default());
        Self { peer, session, tools, output, listener: Mutex::default() }
    }

    /// Writes a message for the client, on one line.
    pub(super) async fn write(&self, message: &str) {
        let mut line = message.replace(['\n', '\r'], " ");
        line.push('\n');
        self.output.send(line).await.ok();
    }

    /// Sends a message that gets no response.
    pub(super) async fn post(&self, text: String) {
        let sent = self.peer.send(Method::POST, self.session.headers(), text);
        match tokio::time::timeout(SEND_TIMEOUT, sent).await {
            Ok(Ok(response)) if response.status().is_success() => {}
            Ok(Ok(response)) => {
                tracing::warn!(status = %response.status(), "the server refused a notification");
            }
            Ok(Err(error)) => tracing::warn!(%error, "failed to send a notification"),
            Err(_) => tracing::warn!("the server did not accept a notification in time"),
        }
    }

    /// Replaces the task that listens on the session's stream.
    pub(super) fn set_listener(&self, task: AbortHandle) {
        if let Some(before) = self.listener().replace(task) {
            before.abort();
        }
    }

    pub(super) fn stop_listening(&self) {
        if let Some(task) = self.listener().take() {
            task.abort();
        }
    }

    fn listener(&self) -> MutexGuard<'_, Option<AbortHandle>> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
