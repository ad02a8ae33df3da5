//! A request that waits for its response.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::messages;

/// A message that a client gets for its request.
#[derive(Debug)]
pub(super) enum CallEvent {
    /// A message that belongs to the call and comes before its response, such as progress.
    Related(Bytes),
    /// The response. Nothing comes after it.
    Response(Bytes),
}

/// Whoever routes responses to calls, and so must know when nobody waits for one any more.
/// [`Call`] knows the session only by this trait, because the session makes the calls.
pub(super) trait CallOwner: Send + Sync {
    /// Forgets the call. The server goes on with it.
    fn cancel(&self, id: &str);
    /// Forgets the call and tells the server to cancel it.
    fn time_out(&self, id: &str);
}

/// Waits for a response until its deadline.
pub(super) struct Call {
    owner: Arc<dyn CallOwner>,
    id: String,
    response: oneshot::Receiver<Bytes>,
    related: mpsc::Receiver<Bytes>,
    timeout: Duration,
    deadline: Instant,
}

impl Call {
    pub(super) fn new(
        owner: Arc<dyn CallOwner>,
        id: String,
        response: oneshot::Receiver<Bytes>,
        related: mpsc::Receiver<Bytes>,
        timeout: Duration,
    ) -> Self {
        Self { owner, id, response, related, timeout, deadline: Instant::now() + timeout }
    }

    /// A call whose response is known already.
    pub(super) fn completed(owner: Arc<dyn CallOwner>, id: String, response: Bytes) -> Self {
        let (sender, receiver) = oneshot::channel();
        sender.send(response).ok();
        let (_, related) = mpsc::channel(1);
        Self::new(owner, id, receiver, related, Duration::ZERO)
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The next message. Must not be called again after [`CallEvent::Response`].
    pub(super) async fn next(&mut self) -> CallEvent {
        tokio::select! {
            // Keeps the order of the server: related messages come before the response.
            biased;
            Some(message) = self.related.recv() => CallEvent::Related(message),
            response = &mut self.response => {
                let response = response.unwrap_or_else(|_| messages::cancelled_error(&self.id));
                CallEvent::Response(response)
            }
            () = tokio::time::sleep_until(self.deadline) => {
                self.owner.time_out(&self.id);
                CallEvent::Response(messages::timeout_error(&self.id, self.timeout))
            }
        }
    }

    /// Waits for the response and drops related messages.
    pub(super) async fn response(mut self) -> Bytes {
        loop {
            if let CallEvent::Response(response) = self.next().await {
                return response;
            }
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // The client has disconnected. MCP says that this is no cancellation, so the server goes
        // on, and its response is dropped.
        self.owner.cancel(&self.id);
    }
}
