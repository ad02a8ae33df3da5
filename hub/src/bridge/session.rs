//! One upstream session: its server process, the calls that wait for it, and who listens to what else it says.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use mcphub_hub_protocol::message::{Upstream, parse_upstream};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};

use super::answers;
use super::asleep::{Lists, Purpose};
use super::call::Call;
use super::metrics::Metrics;
use super::process::{Event, Process};
use super::sessions::{Launcher, Refused};

/// Calls that wait for one server at a time.
const MAX_PENDING: usize = 1024;
/// Messages for one slow reader; further ones are dropped (requests: refused), never piled up.
const MAX_QUEUED: usize = 256;
/// A cold start may fetch packages first.
const START_TIMEOUT: Duration = Duration::from_mins(1);

const INITIALIZED: &[u8] = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// A session. It outlives its process: one that idles is stopped, and started again by the next call.
pub(super) struct Session {
    number: u64,
    /// The client's `initialize`, as it is said to every process of this session.
    initialize: Bytes,
    initialize_id: String,
    launcher: Arc<Launcher>,
    /// One start at a time.
    starting: tokio::sync::Mutex<()>,
    link: Mutex<Link>,
}

struct Link {
    process: Option<Process>,
    /// It has been initialized: calls may go to it.
    ready: bool,
    /// Which process of this session; events of earlier ones mean nothing any more.
    turn: u64,
    pending: HashMap<String, Pending>,
    listener: Option<mpsc::Sender<Bytes>>,
    /// What nobody listened for yet.
    backlog: VecDeque<Bytes>,
    lists: Lists,
    /// When it was last put to use: lists and pings are none, or no server behind a hub would ever idle.
    used: Instant,
    /// When the client last said anything.
    heard: Instant,
    /// The process died: the session is over.
    over: bool,
}

struct Pending {
    id: String,
    purpose: Purpose,
    progress_token: Option<String>,
    order: u64,
    done: oneshot::Sender<Bytes>,
    /// `None`: the client takes one JSON answer and no stream.
    related: Option<mpsc::Sender<Bytes>>,
}

/// A request as the session must know it.
pub(super) struct Ask {
    /// One line of JSON.
    pub(super) message: Bytes,
    /// The id as written.
    pub(super) id: String,
    /// What it is to a server that may sleep.
    pub(super) purpose: Purpose,
    /// `_meta.progressToken` as written.
    pub(super) progress_token: Option<String>,
    /// The client reads an event stream.
    pub(super) streams: bool,
    /// Longest wait.
    pub(super) within: Duration,
}

impl Session {
    /// A session without a process. `initialize` is one line of JSON with this id.
    pub(super) fn new(
        number: u64,
        initialize: Bytes,
        initialize_id: String,
        launcher: Arc<Launcher>,
    ) -> Arc<Self> {
        let link = Link {
            process: None,
            ready: false,
            turn: 0,
            pending: HashMap::new(),
            listener: None,
            backlog: VecDeque::new(),
            lists: Lists::default(),
            used: Instant::now(),
            heard: Instant::now(),
            over: false,
        };
        let (starting, link) = (tokio::sync::Mutex::new(()), Mutex::new(link));
        Arc::new(Self { number, initialize, initialize_id, launcher, starting, link })
    }

    /// Starts a process and says `initialize` to it: its answer, which may be an error.
    pub(super) async fn start(self: &Arc<Self>) -> Result<Bytes, Refused> {
        let turn = {
            let mut link = self.link();
            link.turn += 1;
            link.turn
        };
        let (process, mut events) = self.launcher.launch(self.number)?;
        let stdin = process.stdin().clone();
        let (call, _) = {
            let mut link = self.link();
            link.process = Some(process);
            self.begin(&mut link, &self.handshake())?
        };
        let session = Arc::downgrade(self);
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                let Some(session) = Weak::upgrade(&session) else { return };
                session.happened(turn, event);
            }
        });
        stdin.send(self.initialize.clone()).await.ok();
        Ok(call.answer().await)
    }

    fn handshake(&self) -> Ask {
        Ask {
            message: self.initialize.clone(),
            id: self.initialize_id.clone(),
            purpose: Purpose::Use,
            progress_token: None,
            streams: false,
            within: START_TIMEOUT,
        }
    }

    /// Passes a request on, to a process started for it if the last one was stopped for idling and the bridge cannot
    /// answer itself.
    pub(super) async fn ask(self: &Arc<Self>, ask: Ask) -> Result<Call, Refused> {
        loop {
            let begun = {
                let mut link = self.link();
                if link.over {
                    return Err(Refused::Over);
                }
                link.heard = Instant::now();
                if link.ready {
                    Some(self.begin(&mut link, &ask)?)
                } else if let Some(answer) = link.lists.answer(&ask.purpose, &ask.id) {
                    return Ok(Call::answered(Arc::clone(self), ask.id, answer));
                } else {
                    None
                }
            };
            if let Some((call, stdin)) = begun {
                // A full pipe of a server that reads nothing: the call's own time limit ends it.
                tokio::time::timeout_at(call.deadline(), stdin.send(ask.message)).await.ok();
                return Ok(call);
            }
            self.restart().await?;
        }
    }

    async fn restart(self: &Arc<Self>) -> Result<(), Refused> {
        let _one = self.starting.lock().await;
        if self.link().ready {
            return Ok(());
        }
        let answer = self.start().await?;
        let text = String::from_utf8_lossy(&answer).into_owned();
        if !matches!(parse_upstream(&text), Some(Upstream::Result { .. })) {
            tracing::warn!(
                number = self.number,
                "server did not initialize again; the session ends"
            );
            self.end("the server did not initialize again");
            return Err(Refused::Over);
        }
        self.tell(Bytes::from_static(INITIALIZED)).await;
        self.open();
        Ok(())
    }

    /// Its process has answered `initialize` well: calls may come.
    pub(super) fn open(&self) {
        self.link().ready = true;
    }

    /// Passes on what wants no answer. To a stopped server nothing needs to be said: it will know nothing of before.
    pub(super) async fn tell(&self, message: Bytes) {
        let stdin = {
            let mut link = self.link();
            link.heard = Instant::now();
            link.process.as_ref().map(|process| process.stdin().clone())
        };
        if let Some(stdin) = stdin {
            stdin.send(message).await.ok();
        }
    }

    /// The client has cancelled this request: nobody waits for its answer any more.
    pub(super) fn cancel(&self, id: &str) {
        self.link().pending.remove(&canonical(id));
    }

    /// Everything that the server says and that answers no call. A later listener takes over.
    pub(super) fn listen(&self) -> mpsc::Receiver<Bytes> {
        let (sender, receiver) = mpsc::channel(MAX_QUEUED);
        let mut link = self.link();
        for message in link.backlog.drain(..) {
            sender.try_send(message).ok();
        }
        link.listener = Some(sender);
        receiver
    }

    /// Stops the process if it was of no use for so long. Says for how long the client has said nothing.
    pub(super) fn idle(&self, limit: Duration) -> Duration {
        let mut link = self.link();
        if !link.pending.is_empty() {
            return Duration::ZERO;
        }
        if link.used.elapsed() >= limit && link.process.take().is_some() {
            link.turn += 1;
            link.ready = false;
            self.metrics().idle_stops.inc();
            tracing::info!(
                number = self.number,
                "server idles and is stopped; a call starts it again"
            );
        }
        link.heard.elapsed()
    }

    /// Calls that wait.
    pub(super) fn pending(&self) -> usize {
        self.link().pending.len()
    }

    /// Whether its process has died.
    pub(super) fn is_over(&self) -> bool {
        self.link().over
    }

    /// Ends the session; calls that wait are answered with this reason.
    pub(super) fn end(&self, reason: &str) {
        let mut link = self.link();
        link.over = true;
        link.process = None;
        link.listener = None;
        link.backlog.clear();
        for (_, pending) in link.pending.drain() {
            pending.done.send(answers::server_ended(&pending.id, reason)).ok();
        }
    }

    /// A call that did not get its answer in time: the server is told.
    pub(super) fn time_out(&self, id: &str) {
        let mut link = self.link();
        if link.pending.remove(&canonical(id)).is_none() {
            return;
        }
        self.metrics().timeouts.inc();
        if id == self.initialize_id {
            // `initialize` must not be cancelled; a server that hangs in it is of no use.
            link.process = None;
            return;
        }
        if let Some(process) = &link.process {
            process.stdin().try_send(answers::cancelled(id)).ok();
        }
    }

    fn begin(
        self: &Arc<Self>,
        link: &mut Link,
        ask: &Ask,
    ) -> Result<(Call, mpsc::Sender<Bytes>), Refused> {
        let process = link.process.as_ref().ok_or(Refused::Over)?;
        let stdin = process.stdin().clone();
        let key = canonical(&ask.id);
        if link.pending.contains_key(&key) {
            return Err(Refused::IdInUse);
        }
        if link.pending.len() >= MAX_PENDING {
            self.metrics().refuse("max_calls");
            return Err(Refused::TooManyCalls);
        }
        if ask.purpose == Purpose::Use {
            link.used = Instant::now();
        }
        let (done, answer) = oneshot::channel();
        let (sender, related) = mpsc::channel(MAX_QUEUED);
        let order = link.pending.values().map(|pending| pending.order + 1).max().unwrap_or(0);
        let pending = Pending {
            id: ask.id.clone(),
            purpose: ask.purpose.clone(),
            progress_token: ask.progress_token.as_deref().map(canonical),
            order,
            done,
            related: ask.streams.then_some(sender),
        };
        link.pending.insert(key, pending);
        Ok((Call::new(Arc::clone(self), ask.id.clone(), answer, related, ask.within), stdin))
    }

    fn happened(&self, turn: u64, event: Event) {
        let mut link = self.link();
        if link.turn != turn || link.over {
            return;
        }
        match event {
            Event::Line(message) => link.said(&message, self.number, self.metrics()),
            Event::Ended(reason) => {
                drop(link);
                self.metrics().deaths.inc();
                tracing::warn!(number = self.number, reason, "server died; its session is over");
                self.end(&reason);
            }
        }
    }

    fn metrics(&self) -> &Metrics {
        self.launcher.metrics()
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Link {
    fn said(&mut self, line: &Bytes, number: u64, metrics: &Metrics) {
        let Ok(text) = std::str::from_utf8(line) else {
            return tracing::warn!(number, "server wrote what is not UTF-8 to its stdout");
        };
        match parse_upstream(text) {
            Some(Upstream::Result { id, result }) => self.answered(id, Some(result), line),
            Some(Upstream::Error { id: Some(id), .. }) => self.answered(id, None, line),
            Some(Upstream::Error { id: None, .. }) => {
                tracing::warn!(number, "server answered with an error without id");
            }
            Some(Upstream::Notification { ref method, params }) => {
                self.lists.notified(method);
                let token =
                    (method == "notifications/progress").then(|| progress_token(params)).flatten();
                self.pass_on(line.clone(), token.as_deref(), metrics);
            }
            Some(Upstream::Request { id, .. }) => {
                let refusal = answers::nobody_listens(id);
                if !self.pass_on(line.clone(), None, metrics)
                    && let Some(process) = &self.process
                {
                    process.stdin().try_send(refusal).ok();
                }
            }
            // Some servers print greetings there. Not shown: it may be anything.
            None => tracing::warn!(
                number,
                bytes = line.len(),
                "server wrote what is no message to its stdout"
            ),
        }
    }

    fn answered(&mut self, id: &str, result: Option<&str>, line: &Bytes) {
        // Without a waiting call: cancelled, timed out, or never asked.
        let Some(pending) = self.pending.remove(&canonical(id)) else { return };
        match (pending.purpose, result) {
            (Purpose::Use, _) => self.used = Instant::now(),
            (Purpose::List(page), Some(result)) => self.lists.remember(page, result),
            (Purpose::List(_) | Purpose::Ping, _) => {}
        }
        pending.done.send(line.clone()).ok();
    }

    /// To the call that it belongs to, else to whoever listens, else to the oldest call that can stream, else kept
    /// until somebody does.
    fn pass_on(&mut self, line: Bytes, token: Option<&str>, metrics: &Metrics) -> bool {
        let of_token =
            self.pending.values().find(|p| token.is_some() && p.progress_token.as_deref() == token);
        let related = of_token.and_then(|pending| pending.related.as_ref());
        let listener = self.listener.as_ref().filter(|listener| !listener.is_closed());
        let oldest =
            || self.pending.values().filter(|p| p.related.is_some()).min_by_key(|p| p.order);
        let to =
            related.or(listener).or_else(|| oldest().and_then(|pending| pending.related.as_ref()));
        let passed = match to {
            Some(to) => to.try_send(line).is_ok(),
            None if self.backlog.len() < MAX_QUEUED => {
                self.backlog.push_back(line);
                true
            }
            None => false,
        };
        if !passed {
            metrics.drop_message();
        }
        passed
    }
}

/// Ids and tokens as text that is equal where the values are: a server may write `"\u0061"` for our `"a"`.
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
