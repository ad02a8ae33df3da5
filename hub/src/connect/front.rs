//! Reads the client's messages from stdin, and writes what the server sends to stdout.

use std::collections::HashMap;
use std::io::{BufRead as _, Read as _, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Method;
use http::header::HeaderMap;
use mcphub_hub_protocol::message::{self, Message};
use mcphub_hub_protocol::rewrite;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;

use super::call::{self, Call};
use super::link::Link;
use super::peer::Peer;
use super::session;

/// The longest message of the client.
const MAX_MESSAGE_BYTES: u64 = 64 << 20;
const MAX_QUEUED: usize = 64;
/// Requests that wait for the server at a time. Further ones wait in stdin.
const MAX_CALLS: usize = 256;
/// How long requests in flight may take after the client has closed stdin.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// What the messages of one client share.
struct Front {
    link: Arc<Link>,
    calls: Mutex<HashMap<String, CallInFlight>>,
    permits: Arc<Semaphore>,
}

struct CallInFlight {
    /// The request has no end of its own.
    endless: bool,
    /// In protocol versions without sessions, closing the stream cancels a request.
    stateless: bool,
    task: Option<AbortHandle>,
}

/// Serves the client on stdin and stdout until stdin is closed.
pub(crate) async fn serve_stdio(peer: Peer) {
    let (output, lines) = mpsc::channel(MAX_QUEUED);
    let written = write_stdout(lines);
    let front = Arc::new(Front {
        link: Arc::new(Link::new(peer, output)),
        calls: Mutex::default(),
        permits: Arc::new(Semaphore::new(MAX_CALLS)),
    });
    let mut messages = read_stdin();
    while let Some(text) = messages.recv().await {
        front.take(text).await;
    }
    front.close().await;
    drop(front);
    tokio::time::timeout(CLOSE_TIMEOUT, written).await.ok();
}

/// Reads lines in a thread of its own, because a read of stdin cannot be cancelled.
fn read_stdin() -> mpsc::Receiver<String> {
    let (sender, messages) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        loop {
            let mut line = Vec::new();
            let read = stdin.by_ref().take(MAX_MESSAGE_BYTES).read_until(b'\n', &mut line);
            // A line without an end is over the bound, or the client has died in the middle of it.
            if read.is_err() || !line.ends_with(b"\n") {
                return;
            }
            let text = String::from_utf8_lossy(&line).trim().to_owned();
            if !text.is_empty() && sender.blocking_send(text).is_err() {
                return;
            }
        }
    });
    messages
}

/// Writes in a thread of its own, because a client may stop reading. The receiver hears when all
/// is written.
fn write_stdout(mut lines: mpsc::Receiver<String>) -> oneshot::Receiver<()> {
    let (done, written) = oneshot::channel();
    std::thread::spawn(move || {
        let mut stdout = std::io::stdout().lock();
        while let Some(line) = lines.blocking_recv() {
            if stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush()).is_err() {
                break;
            }
        }
        done.send(()).ok();
    });
    written
}

impl Front {
    async fn take(self: &Arc<Self>, text: String) {
        match message::parse(&text) {
            Err(error) => {
                let reason = rewrite::error(error.code(), &error.to_string());
                self.link.write(&rewrite::error_response(error.id(), &reason)).await;
            }
            Ok(Message::Request(request)) => {
                let call = Call {
                    id: request.id.to_owned(),
                    method: request.method.to_string(),
                    stateless: session::stateless_headers(&request).map(|mut headers| {
                        headers.extend(self.link.tools.headers(&request));
                        headers
                    }),
                    message: text.clone(),
                };
                if call.method == "initialize" {
                    // Everything else needs the session that it opens.
                    call::initialize(&self.link, &call).await;
                } else {
                    self.start(call).await;
                }
            }
            Ok(Message::Notification(notification)) => {
                if notification.method == "notifications/cancelled"
                    && let Some(id) = notification.params.request_id
                    && self.abort(id)
                {
                    return;
                }
                let initialized = notification.method == "notifications/initialized";
                self.link.post(text.clone()).await;
                if initialized {
                    call::start_listening(&self.link);
                }
            }
            Ok(Message::Response) => self.link.post(text).await,
        }
    }

    async fn start(self: &Arc<Self>, call: Call) {
        let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else { return };
        let endless = call.method == "subscriptions/listen";
        let in_flight = CallInFlight { endless, stateless: call.stateless.is_some(), task: None };
        self.calls().insert(call.id.clone(), in_flight);
        let (front, id) = (Arc::clone(self), call.id.clone());
        let task = tokio::spawn(async move {
            call::run(&front.link, &call).await;
            front.calls().remove(&call.id);
            drop(permit);
        });
        if let Some(in_flight) = self.calls().get_mut(&id) {
            in_flight.task = Some(task.abort_handle());
        }
    }

    /// Ends a request of a protocol version without sessions. Returns false if there is none.
    fn abort(&self, id: &str) -> bool {
        let mut calls = self.calls();
        let Some(CallInFlight { stateless: true, task, .. }) = calls.get(id) else { return false };
        if let Some(task) = task {
            task.abort();
        }
        calls.remove(id);
        true
    }

    /// Waits for requests in flight, and ends the session.
    async fn close(&self) {
        for call in self.calls().values().filter(|call| call.endless) {
            call.task.as_ref().inspect(|task| task.abort());
        }
        let all = u32::try_from(MAX_CALLS).unwrap_or(u32::MAX);
        tokio::time::timeout(DRAIN_TIMEOUT, self.permits.acquire_many(all)).await.ok();
        let calls: Vec<_> = self.calls().drain().filter_map(|(_, call)| call.task).collect();
        for task in calls {
            task.abort();
        }
        self.link.stop_listening();
        if self.link.session.id().is_some() {
            let headers: HeaderMap = self.link.session.headers();
            let deleted = self.link.peer.send(Method::DELETE, headers, String::new());
            tokio::time::timeout(CLOSE_TIMEOUT, deleted).await.ok();
        }
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<String, CallInFlight>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
