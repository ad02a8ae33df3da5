//! A session with a server. It is deleted when its last holder drops it, whoever that is.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use mcphub_hub_protocol::message::{UpstreamMessage, parse_upstream};
use mcphub_hub_protocol::rewrite;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::endpoint::Endpoint;
use super::link::{self, Link};

const DELETE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait for the head of a stream.
const STREAM_TIMEOUT: Duration = Duration::from_secs(30);
/// Delays before a stream is opened again start with this and double.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LAST_DELAY: Duration = Duration::from_secs(30);

/// An open session, or the link to a server without sessions.
#[derive(Debug)]
pub(super) struct UpstreamSession {
    pub(super) connection: Connection,
    /// Runs the DELETE requests of the server.
    deletes: TaskTracker,
    _listener: Option<AbortOnDropHandle<()>>,
}

/// What it takes to send something in a session.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) link: Link,
    /// How long to wait for an answer.
    pub(super) timeout: Duration,
}

impl UpstreamSession {
    /// Takes over a session, and listens on its stream. `nudge` is notified when the server says
    /// that its list has changed.
    pub(super) fn new(connection: Connection, nudge: Arc<Notify>, deletes: TaskTracker) -> Self {
        let listens = !connection.link.stateless && connection.link.has_session();
        let listener = listens.then(|| tokio::spawn(listen(connection.clone(), nudge)));
        Self { connection, deletes, _listener: listener.map(AbortOnDropHandle::new) }
    }
}

impl Drop for UpstreamSession {
    fn drop(&mut self) {
        let in_runtime = tokio::runtime::Handle::try_current().is_ok();
        if !in_runtime || !self.connection.link.has_session() {
            return;
        }
        let Connection { endpoint, link, timeout } = self.connection.clone();
        let timeout = timeout.min(DELETE_TIMEOUT);
        self.deletes.spawn(async move {
            endpoint.send(Method::DELETE, String::new(), &link.headers, timeout).await.ok();
        });
    }
}

impl Connection {
    /// Whether the server still knows us. It does if it does not answer in time.
    pub(super) async fn is_alive(&self) -> bool {
        link::is_alive(&self.endpoint, &self.link).await
    }

    /// Answers a request of the server: a ping with a result, everything else with an error.
    /// Without an answer the server would wait forever.
    pub(super) fn answer_request(&self, id: &str, method: &str) {
        if self.link.stateless {
            return; // servers without sessions send no requests
        }
        let response = if method == "ping" {
            rewrite::response(id, "{}")
        } else {
            let message = "this hub does not support requests of servers yet";
            rewrite::error_response(Some(id), &rewrite::error(-32601, message))
        };
        self.send_and_forget(response);
    }

    pub(super) fn send_and_forget(&self, message: String) {
        let Self { endpoint, link, timeout } = self.clone();
        // Not awaited: nothing depends on it, and the server may be hung.
        tokio::spawn(async move {
            endpoint.send(Method::POST, message, &link.headers, timeout).await.ok();
        });
    }
}

/// Whether the status means that asking again is useless, and not that the server is busy.
fn has_no_stream(status: StatusCode) -> bool {
    let busy = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
    status.is_client_error() && !busy.contains(&status)
}

/// Listens on the stream of a session: servers send pings there, which they end the session for if
/// nobody answers, and notify of changed tools.
async fn listen(connection: Connection, nudge: Arc<Notify>) {
    let mut headers = HeaderMap::clone(&connection.link.headers);
    headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    let mut delay = FIRST_DELAY;
    loop {
        let opened = Instant::now();
        let sent =
            connection.endpoint.send(Method::GET, String::new(), &headers, STREAM_TIMEOUT).await;
        match sent {
            Ok(response) if response.status == StatusCode::NOT_FOUND => {
                nudge.notify_one(); // the session is gone
                return;
            }
            // The server has no such stream. Reading the list periodically has to do.
            Ok(response) if has_no_stream(response.status) => return,
            Ok(response) if response.status.is_success() && !response.is_stream() => return,
            Ok(mut response) if response.status.is_success() => {
                while let Ok(Some(text)) = response.next().await {
                    match parse_upstream(&text) {
                        Some(UpstreamMessage::Notification { method, .. })
                            if method == "notifications/tools/list_changed" =>
                        {
                            nudge.notify_one();
                        }
                        Some(UpstreamMessage::Request { id, method }) => {
                            connection.answer_request(id, &method);
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        // A change may have happened while no stream was open, and the server may be gone.
        nudge.notify_one();
        delay =
            if opened.elapsed() > LAST_DELAY { FIRST_DELAY } else { (delay * 2).min(LAST_DELAY) };
        tokio::time::sleep(delay).await;
    }
}
