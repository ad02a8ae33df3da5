//! MCP clients against one hub, and what became of each of their requests.
//!
//! [`client`] is one client with one session of the legacy protocol; [`Traffic`] is many of them in the background;
//! [`spread`] opens sessions to see which revision they reach.

pub mod client;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use serde_json::json;

use client::{Client, Reply};

/// What became of the requests so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests sent, a new initialize after a 404 not counted.
    pub sent: u64,
    /// Connection error, 5xx, or no success after one new initialize.
    pub failed: u64,
    /// Answers that a server made, and that say `isError`: the revision's doing, not the hub's.
    pub tool_errors: u64,
    /// Sessions that were opened, by the revision that took them.
    pub sessions: BTreeMap<String, u64>,
    /// Sessions that answered from another revision than before without a new initialize. Must stay 0.
    pub moved: u64,
    /// The first failures, in words.
    pub failures: Vec<String>,
}

impl Tally {
    /// What happened since an earlier tally of the same traffic.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let sessions = self
            .sessions
            .iter()
            .map(|(revision, n)| {
                (revision.clone(), n - earlier.sessions.get(revision).copied().unwrap_or(0))
            })
            .filter(|(_, n)| *n > 0)
            .collect();
        Self {
            sent: self.sent - earlier.sent,
            failed: self.failed - earlier.failed,
            tool_errors: self.tool_errors - earlier.tool_errors,
            moved: self.moved - earlier.moved,
            failures: self.failures.iter().skip(earlier.failures.len()).cloned().collect(),
            sessions,
        }
    }

    fn record(&mut self, reply: &Reply) {
        self.sent += 1;
        match reply {
            Reply::Ok => {}
            Reply::ToolError => self.tool_errors += 1,
            Reply::Failed(why) => {
                self.failed += 1;
                if self.failures.len() < 20 {
                    self.failures.push(why.clone());
                }
            }
        }
    }
}

/// How background traffic behaves.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Clients at a time; each opens a session, uses it, ends it, and begins again.
    pub clients: usize,
    /// Calls that every session makes, in turn: exposed tool name and arguments.
    pub calls: Vec<(String, serde_json::Value)>,
    /// How often a session goes through `calls` before it ends.
    pub rounds: usize,
    /// Pause after each call.
    pub pace: Duration,
}

/// Background traffic; ends when stopped or dropped.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Traffic {
    /// Starts clients against `url` (`http://…/mcp`).
    pub fn start(url: &str, shape: &Shape) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let tally = Arc::new(Mutex::new(Tally::default()));
        let clients = (0..shape.clients)
            .map(|_| {
                let (url, shape) = (url.to_owned(), shape.clone());
                let (stop, tally) = (stop.clone(), tally.clone());
                tokio::spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        one_session(&url, &shape, &stop, &tally).await;
                    }
                })
            })
            .collect();
        Self { stop, tally, clients }
    }

    /// What happened so far.
    pub fn tally(&self) -> Tally {
        locked(&self.tally).clone()
    }

    /// Lets every session end in order, and tells what happened in all.
    pub async fn stop(mut self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        for client in std::mem::take(&mut self.clients) {
            let _ = client.await; // a panicked client has shown itself on stderr
        }
        self.tally()
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        for client in &self.clients {
            client.abort();
        }
    }
}

async fn one_session(url: &str, shape: &Shape, stop: &AtomicBool, tally: &Mutex<Tally>) {
    let mut client = Client::new(url);
    let opened = client.initialize().await;
    locked(tally).record(&opened);
    if let Reply::Failed(_) = opened {
        // Without a pause a hub that is down would be asked as fast as it refuses.
        tokio::time::sleep(Duration::from_millis(100)).await;
        return;
    }
    count_session(tally, &client);
    for _ in 0..shape.rounds {
        for (tool, arguments) in &shape.calls {
            let (revision, session) =
                (client.revision().to_owned(), client.session().map(str::to_owned));
            let reply = client.call(tool, arguments).await;
            locked(tally).record(&reply);
            if client.session() != session.as_deref() {
                count_session(tally, &client);
            } else if client.revision() != revision {
                locked(tally).moved += 1;
            }
            tokio::time::sleep(shape.pace).await;
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    let ended = client.end().await;
    locked(tally).record(&ended);
}

fn count_session(tally: &Mutex<Tally>, client: &Client) {
    *locked(tally).sessions.entry(client.revision().to_owned()).or_default() += 1;
}

/// Opens and ends `n` sessions, `concurrency` at a time, each with one call of `tool`.
pub async fn spread(url: &str, n: usize, concurrency: usize, tool: &str) -> Tally {
    let tally = Mutex::new(Tally::default());
    stream::iter(0..n)
        .for_each_concurrent(concurrency, |_| async {
            let mut client = Client::new(url);
            let opened = client.initialize().await;
            locked(&tally).record(&opened);
            if let Reply::Failed(_) = opened {
                return;
            }
            count_session(&tally, &client);
            let called = client.call(tool, &json!({"message": "hello"})).await;
            let ended = client.end().await;
            let mut tally = locked(&tally);
            tally.record(&called);
            tally.record(&ended);
        })
        .await;
    tally.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn locked(tally: &Mutex<Tally>) -> std::sync::MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
