//! One session: its server process, the calls that wait for the server, and the client's listener.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use mcphub_hub_protocol::message::{UpstreamMessage, parse_upstream};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};

use super::call::{Call, CallOwner};
use super::error::Error;
use super::idle_responses::{IdleResponses, RequestKind};
use super::launcher::Launcher;
use super::messages;
use super::metrics::Metrics;
use super::process::{Process, ProcessEvent};

/// Calls that wait for one server at a time.
const MAX_PENDING: usize = 1024;
/// Messages queued for one slow reader. Further notifications are dropped, and further requests of
/// the server are refused, so that memory stays bounded.
const MAX_QUEUED: usize = 256;
/// A cold start may download packages first.
const START_TIMEOUT: Duration = Duration::from_mins(1);

const INITIALIZED: &[u8] = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// A session outlives its process: an idle process is stopped, and the next call starts another.
pub(super) struct Session {
    number: u64,
    /// The client's `initialize` request, which every process of this session gets.
    initialize: Bytes,
    initialize_id: String,
    launcher: Arc<Launcher>,
    /// Held while a process starts, so that concurrent calls start one process.
    starting: tokio::sync::Mutex<()>,
    state: Mutex<SessionState>,
}

struct SessionState {
    process: Option<Process>,
    /// The process is initialized and takes calls.
    ready: bool,
    /// Counts the processes of this session. Events of earlier processes are ignored.
    launch: u64,
    pending: HashMap<String, PendingCall>,
    listener: Option<mpsc::Sender<Bytes>>,
    /// Messages that arrived while no client was listening.
    backlog: VecDeque<Bytes>,
    idle_responses: IdleResponses,
    /// Lists and pings do not count as use. A hub sends them all the time, so its servers would
    /// never be idle.
    last_use: Instant,
    /// When the process was started.
    started: Instant,
    last_client_message: Instant,
    /// The process died, or the session was ended.
    ended: bool,
}

struct PendingCall {
    id: String,
    kind: RequestKind,
    progress_token: Option<String>,
    /// Rises with every call, to find the oldest.
    order: u64,
    response: oneshot::Sender<Bytes>,
    /// `None` if the client accepts only one JSON response and no event stream.
    related: Option<mpsc::Sender<Bytes>>,
}

/// A client's request, with what the session must know about it.
pub(super) struct SessionRequest {
    /// One line of JSON.
    pub(super) message: Bytes,
    /// Raw JSON.
    pub(super) id: String,
    pub(super) kind: RequestKind,
    /// `_meta.progressToken`, as raw JSON.
    pub(super) progress_token: Option<String>,
    /// The client accepts an event stream.
    pub(super) accepts_stream: bool,
    pub(super) timeout: Duration,
}

impl Session {
    /// A session without a process. `initialize` is one line of JSON with this id.
    pub(super) fn new(
        number: u64,
        initialize: Bytes,
        initialize_id: String,
        launcher: Arc<Launcher>,
    ) -> Arc<Self> {
        let state = SessionState {
            process: None,
            ready: false,
            launch: 0,
            pending: HashMap::new(),
            listener: None,
            backlog: VecDeque::new(),
            idle_responses: IdleResponses::default(),
            last_use: Instant::now(),
            started: Instant::now(),
            last_client_message: Instant::now(),
            ended: false,
        };
        let (starting, state) = (tokio::sync::Mutex::new(()), Mutex::new(state));
        Arc::new(Self { number, initialize, initialize_id, launcher, starting, state })
    }

    /// Starts a process and sends it `initialize`. Returns its response, which may be an error.
    pub(super) async fn start(self: &Arc<Self>) -> Result<Bytes, Error> {
        let launch = {
            let mut state = self.state();
            state.launch += 1;
            state.launch
        };
        let (process, mut events) = self.launcher.launch(self.number).await?;
        let stdin = process.stdin().clone();
        let (call, _) = {
            let mut state = self.state();
            state.process = Some(process);
            state.started = Instant::now();
            self.add_call(&mut state, &self.handshake())?
        };
        let session = Arc::downgrade(self);
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                let Some(session) = Weak::upgrade(&session) else { return };
                session.handle_event(launch, event);
            }
        });
        stdin.send(self.initialize.clone()).await.ok();
        Ok(call.response().await)
    }

    fn handshake(&self) -> SessionRequest {
        SessionRequest {
            message: self.initialize.clone(),
            id: self.initialize_id.clone(),
            kind: RequestKind::Call,
            progress_token: None,
            accepts_stream: false,
            timeout: START_TIMEOUT,
        }
    }

    /// Sends a request to the process. If the process was stopped for idling, the bridge responds
    /// itself where it can, and otherwise starts another process first.
    pub(super) async fn send_request(
        self: &Arc<Self>,
        request: SessionRequest,
    ) -> Result<Call, Error> {
        loop {
            let added = {
                let mut state = self.state();
                if state.ended {
                    return Err(Error::SessionEnded);
                }
                state.last_client_message = Instant::now();
                if state.ready {
                    Some(self.add_call(&mut state, &request)?)
                } else if let Some(response) =
                    state.idle_responses.response(&request.kind, &request.id)
                {
                    return Ok(Call::completed(self.clone(), request.id, response));
                } else {
                    None
                }
            };
            if let Some((call, stdin)) = added {
                // A server that does not read its stdin blocks this send when the pipe is full.
                // The call's own deadline ends the wait.
                tokio::time::timeout_at(call.deadline(), stdin.send(request.message)).await.ok();
                return Ok(call);
            }
            // In a task of its own: a caller that leaves must not throw a half-done start away.
            let session = self.clone();
            let restarted = tokio::spawn(async move { session.restart().await });
            restarted.await.unwrap_or(Err(Error::SessionEnded))?;
        }
    }

    async fn restart(self: &Arc<Self>) -> Result<(), Error> {
        let _guard = self.starting.lock().await;
        {
            let state = self.state();
            if state.ended {
                return Err(Error::SessionEnded);
            }
            if state.ready {
                return Ok(());
            }
        }
        let response = self.start().await?;
        let text = String::from_utf8_lossy(&response).into_owned();
        if !matches!(parse_upstream(&text), Some(UpstreamMessage::Result { .. })) {
            tracing::warn!(
                number = self.number,
                "server failed to initialize after a restart, ending its session"
            );
            self.end("the server failed to initialize after a restart");
            return Err(Error::SessionEnded);
        }
        self.send_message(Bytes::from_static(INITIALIZED)).await;
        self.set_ready();
        Ok(())
    }

    /// Lets calls through. Called after the process has responded to `initialize` without error.
    pub(super) fn set_ready(&self) {
        self.state().ready = true;
    }

    /// Sends a notification or a response to the process. If the process is stopped, the message
    /// is dropped: the next process knows nothing of what came before.
    pub(super) async fn send_message(&self, message: Bytes) {
        let stdin = {
            let mut state = self.state();
            state.last_client_message = Instant::now();
            state.process.as_ref().map(|process| process.stdin().clone())
        };
        if let Some(stdin) = stdin {
            stdin.send(message).await.ok();
        }
    }

    /// Receives everything that the server sends and that belongs to no call. A later listener
    /// replaces an earlier one.
    pub(super) fn listen(&self) -> mpsc::Receiver<Bytes> {
        let (sender, receiver) = mpsc::channel(MAX_QUEUED);
        let mut state = self.state();
        for message in state.backlog.drain(..) {
            sender.try_send(message).ok();
        }
        state.listener = Some(sender);
        receiver
    }

    /// Stops the process if it had no call for `idle_timeout`.
    pub(super) fn stop_if_idle(&self, idle_timeout: Duration) {
        let mut state = self.state();
        let idle = state.pending.is_empty() && state.last_use.elapsed() >= idle_timeout;
        if idle && state.process.take().is_some() {
            state.launch += 1;
            state.ready = false;
            self.metrics().idle_stops.inc();
            tracing::info!(
                server = self.launcher.name(),
                number = self.number,
                "server is idle and was stopped; the next call starts it again"
            );
        }
    }

    /// The time since the client's last message. Zero while a call waits.
    pub(super) fn client_silence(&self) -> Duration {
        let state = self.state();
        if state.pending.is_empty() { state.last_client_message.elapsed() } else { Duration::ZERO }
    }

    /// The number of calls that wait for a response.
    pub(super) fn pending_calls(&self) -> usize {
        self.state().pending.len()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state().ended
    }

    /// Ends the session. Pending calls get an error with this reason.
    pub(super) fn end(&self, reason: &str) {
        let mut state = self.state();
        state.ended = true;
        state.process = None;
        state.listener = None;
        state.backlog.clear();
        for (_, call) in state.pending.drain() {
            call.response.send(messages::server_ended_error(&call.id, reason)).ok();
        }
    }

    fn add_call(
        self: &Arc<Self>,
        state: &mut SessionState,
        request: &SessionRequest,
    ) -> Result<(Call, mpsc::Sender<Bytes>), Error> {
        let process = state.process.as_ref().ok_or(Error::SessionEnded)?;
        let stdin = process.stdin().clone();
        let key = canonical(&request.id);
        if state.pending.contains_key(&key) {
            return Err(Error::IdInUse);
        }
        if state.pending.len() >= MAX_PENDING {
            self.metrics().count_refusal("max_calls");
            return Err(Error::TooManyCalls);
        }
        if request.kind == RequestKind::Call {
            state.last_use = Instant::now();
        }
        let (sender, response) = oneshot::channel();
        let (related_sender, related) = mpsc::channel(MAX_QUEUED);
        let order = state.pending.values().map(|call| call.order + 1).max().unwrap_or(0);
        let pending = PendingCall {
            id: request.id.clone(),
            kind: request.kind.clone(),
            progress_token: request.progress_token.as_deref().map(canonical),
            order,
            response: sender,
            related: request.accepts_stream.then_some(related_sender),
        };
        state.pending.insert(key, pending);
        let call = Call::new(self.clone(), request.id.clone(), response, related, request.timeout);
        Ok((call, stdin))
    }

    fn handle_event(&self, launch: u64, event: ProcessEvent) {
        let mut state = self.state();
        if state.launch != launch || state.ended {
            return;
        }
        match event {
            ProcessEvent::Line(line) => state.handle_line(&line, self.number, self.metrics()),
            ProcessEvent::Ended(reason) => {
                let ran = state.started.elapsed();
                drop(state);
                self.launcher.record_end(ran);
                tracing::warn!(
                    server = self.launcher.name(),
                    number = self.number,
                    reason,
                    "server died, ending its session"
                );
                self.end(&reason);
            }
        }
    }

    fn metrics(&self) -> &Metrics {
        self.launcher.metrics()
    }

    fn state(&self) -> MutexGuard<'_, SessionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CallOwner for Session {
    fn cancel(&self, id: &str) {
        self.state().pending.remove(&canonical(id));
    }

    fn time_out(&self, id: &str) {
        let mut state = self.state();
        if state.pending.remove(&canonical(id)).is_none() {
            return;
        }
        self.metrics().timeouts.inc();
        if id == self.initialize_id {
            // MCP forbids to cancel `initialize`. A server that hangs in it is of no use, so it is
            // stopped.
            state.process = None;
            return;
        }
        if let Some(process) = &state.process {
            process.stdin().try_send(messages::cancelled_notification(id)).ok();
        }
    }
}

impl SessionState {
    fn handle_line(&mut self, line: &Bytes, number: u64, metrics: &Metrics) {
        let Ok(text) = std::str::from_utf8(line) else {
            return tracing::warn!(number, "server wrote a line to stdout that is not UTF-8");
        };
        match parse_upstream(text) {
            Some(UpstreamMessage::Result { id, result }) => self.complete(id, Some(result), line),
            Some(UpstreamMessage::Error { id: Some(id), .. }) => self.complete(id, None, line),
            Some(UpstreamMessage::Error { id: None, .. }) => {
                tracing::warn!(number, "server sent an error response without an id");
            }
            Some(UpstreamMessage::Notification { ref method, params }) => {
                self.idle_responses.invalidate(method);
                let token =
                    (method == "notifications/progress").then(|| progress_token(params)).flatten();
                self.forward(line.clone(), token.as_deref(), metrics);
            }
            Some(UpstreamMessage::Request { id, .. }) => {
                let refusal = messages::no_listener_error(id);
                if !self.forward(line.clone(), None, metrics)
                    && let Some(process) = &self.process
                {
                    process.stdin().try_send(refusal).ok();
                }
            }
            // Some servers print a greeting. The log omits the text, which may contain secrets.
            None => tracing::warn!(
                number,
                bytes = line.len(),
                "server wrote a line to stdout that is no JSON-RPC message"
            ),
        }
    }

    fn complete(&mut self, id: &str, result: Option<&str>, line: &Bytes) {
        // No call waits if it was canceled, timed out, or never sent.
        let Some(call) = self.pending.remove(&canonical(id)) else { return };
        match (call.kind, result) {
            (RequestKind::Call, _) => self.last_use = Instant::now(),
            (RequestKind::List(page), Some(result)) => self.idle_responses.store(page, result),
            (RequestKind::List(_) | RequestKind::Ping, _) => {}
        }
        call.response.send(line.clone()).ok();
    }

    /// Sends a message of the server to the call with this progress token, else to the listener,
    /// else to the oldest call that accepts a stream, else to the backlog. Returns `false` if the
    /// message was dropped.
    fn forward(&mut self, line: Bytes, token: Option<&str>, metrics: &Metrics) -> bool {
        let with_token = self
            .pending
            .values()
            .find(|call| token.is_some() && call.progress_token.as_deref() == token);
        let related = with_token.and_then(|call| call.related.as_ref());
        let listener = self.listener.as_ref().filter(|listener| !listener.is_closed());
        let oldest = || {
            let streaming = self.pending.values().filter(|call| call.related.is_some());
            streaming.min_by_key(|call| call.order)
        };
        let receiver =
            related.or(listener).or_else(|| oldest().and_then(|call| call.related.as_ref()));
        let forwarded = match receiver {
            Some(receiver) => receiver.try_send(line).is_ok(),
            None if self.backlog.len() < MAX_QUEUED => {
                self.backlog.push_back(line);
                true
            }
            None => false,
        };
        if !forwarded {
            metrics.count_dropped_message();
        }
        forwarded
    }
}

/// An id or token as text that is equal where the values are equal. A server may write `"\u0061"`
/// for our `"a"`.
fn canonical(id: &str) -> String {
    serde_json::from_str::<serde_json::Value>(id)
        .map_or_else(|_| id.to_owned(), |value| value.to_string())
}

fn progress_token(params: Option<&str>) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Progress<'a> {
        #[serde(borrow)]
        progress_token: &'a RawValue,
    }
    let progress: Progress<'_> = serde_json::from_str(params?).ok()?;
    Some(canonical(progress.progress_token.get()))
}
