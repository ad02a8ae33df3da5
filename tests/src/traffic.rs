//! MCP clients of one hub, and how each of their requests ended.
//!
//! [`client`] is one client with one session of the stateful protocol, [`stateless`] asks without a
//! session. [`Traffic`] is many clients in the background. [`spread`] opens sessions to see which
//! revision they reach.

pub mod client;
pub mod stateless;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use serde_json::json;

use client::{Client, Reply, connection_pool};

/// Failures that are kept in words.
const KEPT_FAILURES: usize = 20;

/// How the requests ended so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests sent. What a client sends to open a lost session again is part of the request that
    /// needed it.
    pub sent: u64,
    /// Connection error, HTTP error, or no success after one new initialize.
    pub failed: u64,
    /// Requests that succeeded or failed only after a new initialize, because the server had lost
    /// the session.
    pub reinitialized: u64,
    /// Answers that an MCP server made and that say `isError`: the revision's doing, not the hub's.
    pub tool_errors: u64,
    /// Sessions that were opened, by the revision that took them.
    pub sessions: BTreeMap<String, u64>,
    /// Sessions that another revision answered without a new initialize. Must stay 0.
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
            reinitialized: self.reinitialized - earlier.reinitialized,
            tool_errors: self.tool_errors - earlier.tool_errors,
            moved: self.moved - earlier.moved,
            failures: self.failures.iter().skip(earlier.failures.len()).cloned().collect(),
            sessions,
        }
    }

    /// One line for people: how many requests, and what went wrong with them.
    pub fn summary(&self) -> String {
        format!(
            "{} requests, {} failed, {} needed a new initialize, {} tool errors, {} sessions moved",
            self.sent, self.failed, self.reinitialized, self.tool_errors, self.moved
        )
    }

    fn record(&mut self, reply: &Reply) {
        self.sent += 1;
        match reply {
            Reply::Ok => {}
            Reply::ToolError => self.tool_errors += 1,
            Reply::Failed(why) => {
                self.failed += 1;
                if self.failures.len() < KEPT_FAILURES {
                    self.failures.push(why.clone());
                }
            }
        }
    }
}

/// How background traffic behaves.
#[derive(Debug, Clone)]
pub struct LoadProfile {
    /// Clients at a time; each opens a session, uses it, ends it, and starts over.
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
    pub fn start(url: &str, profile: &LoadProfile) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let tally = Arc::new(Mutex::new(Tally::default()));
        let pool = connection_pool();
        let clients = (0..profile.clients)
            .map(|_| {
                let (pool, url, profile) = (pool.clone(), url.to_owned(), profile.clone());
                let (stop, tally) = (stop.clone(), tally.clone());
                tokio::spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        let session = Session::new(Client::with_pool(pool.clone(), &url), &tally);
                        session.run(&profile, &stop).await;
                    }
                })
            })
            .collect();
        Self { stop, tally, clients }
    }

    /// What happened so far.
    pub fn tally(&self) -> Tally {
        lock(&self.tally).clone()
    }

    /// Lets every session end in order, and returns what happened in all.
    pub async fn stop(mut self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        for client in std::mem::take(&mut self.clients) {
            let _ = client.await; // a client that panicked has written so to stderr
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

/// One session, whose requests are counted.
struct Session<'t> {
    client: Client,
    tally: &'t Mutex<Tally>,
}

impl<'t> Session<'t> {
    fn new(client: Client, tally: &'t Mutex<Tally>) -> Self {
        Self { client, tally }
    }

    async fn run(mut self, profile: &LoadProfile, stop: &AtomicBool) {
        if let Reply::Failed(_) = self.open().await {
            // Without a pause, a hub that is down would be asked as fast as it refuses.
            tokio::time::sleep(Duration::from_millis(100)).await;
            return;
        }
        for _ in 0..profile.rounds {
            for (tool, arguments) in &profile.calls {
                self.call(tool, arguments).await;
                tokio::time::sleep(profile.pace).await;
                if self.client.session().is_none() {
                    return; // it could not be opened again; the next session is another try
                }
            }
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
        self.end().await;
    }

    async fn open(&mut self) -> Reply {
        let before = self.client.reinitializations();
        let reply = self.client.initialize().await;
        let mut tally = self.record(&reply, before);
        if reply == Reply::Ok {
            count_session(&mut tally, &self.client);
        }
        reply
    }

    async fn call(&mut self, tool: &str, arguments: &serde_json::Value) {
        let before = self.client.reinitializations();
        let session = self.client.session().map(str::to_owned);
        let revision = self.client.revision().to_owned();
        let reply = self.client.call(tool, arguments).await;
        let mut tally = self.record(&reply, before);
        if self.client.session() == session.as_deref() {
            tally.moved += u64::from(self.client.revision() != revision);
        } else if self.client.session().is_some() {
            count_session(&mut tally, &self.client);
        }
    }

    async fn end(mut self) {
        let before = self.client.reinitializations();
        let reply = self.client.end().await;
        drop(self.record(&reply, before));
    }

    fn record(&self, reply: &Reply, reinitializations_before: u64) -> MutexGuard<'t, Tally> {
        let mut tally = lock(self.tally);
        tally.record(reply);
        if self.client.reinitializations() > reinitializations_before {
            tally.reinitialized += 1;
        }
        tally
    }
}

fn count_session(tally: &mut Tally, client: &Client) {
    *tally.sessions.entry(client.revision().to_owned()).or_default() += 1;
}

/// Opens and ends `n` sessions, `concurrency` at a time, each with one call of `tool`.
pub async fn spread(url: &str, n: usize, concurrency: usize, tool: &str) -> Tally {
    let tally = Mutex::new(Tally::default());
    let pool = connection_pool();
    stream::iter(0..n)
        .for_each_concurrent(concurrency, |_| async {
            let mut session = Session::new(Client::with_pool(pool.clone(), url), &tally);
            if session.open().await != Reply::Ok {
                return;
            }
            session.call(tool, &json!({"message": "hello"})).await;
            if session.client.session().is_some() {
                session.end().await;
            }
        })
        .await;
    tally.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}
