//! The legacy sessions of this pod.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use mcphub_hub_wire::config;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::serve::state::additions::Additions;

/// One legacy session.
#[derive(Debug)]
pub struct Session {
    /// Its id as the client has it.
    pub id: String,
    /// Unique among all.
    pub unique: [u8; 16],
    /// Negotiated version.
    pub version: &'static str,
    /// The view that it was opened on, which is the only path that it may be used on.
    pub view: Option<String>,
    /// Hash of who opened it; nobody else may use it.
    pub principal: [u8; 32],
    /// What prompts and calls added to its list.
    pub additions: Arc<Additions>,
    /// The hub's own: what it does must not show in the lists of others.
    pub internal: bool,
    /// Cancelled when it ends.
    pub ended: CancellationToken,
    began: Instant,
    used_ms: AtomicU64,
    lists: Mutex<Lists>,
    /// Calls under way by request id as written.
    calls: Mutex<HashMap<String, CancellationToken>>,
    /// Number of its newest stream; older ones end, or each message would come twice.
    streams: watch::Sender<u64>,
}

/// Digests of lists.
#[derive(Debug, Default)]
struct Lists {
    /// The one that the client last got.
    got: Option<u64>,
    /// The one that it was last told of.
    told: Option<u64>,
}

/// What a session is opened with.
#[derive(Debug)]
pub struct Opened {
    /// Its id as the client has it.
    pub id: String,
    /// Unique among all.
    pub unique: [u8; 16],
    /// Negotiated version.
    pub version: &'static str,
    /// The view that it is bound to.
    pub view: Option<String>,
    /// Hash of who opened it.
    pub principal: [u8; 32],
    /// By the hub itself.
    pub internal: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Sessions(DashMap<String, Arc<Session>>);

/// A call under way, by which it can be cancelled. Forgotten on drop.
#[derive(Debug)]
pub struct UnderWay {
    session: Arc<Session>,
    id: String,
    /// Cancelled when the client says so.
    pub cancelled: CancellationToken,
}

impl Session {
    /// A new one. `now` is its first use.
    pub fn new(opened: Opened, now: Instant) -> Arc<Self> {
        let Opened { id, unique, version, view, principal, internal } = opened;
        Arc::new(Self {
            id,
            unique,
            version,
            view,
            principal,
            additions: Arc::default(),
            internal,
            ended: CancellationToken::new(),
            began: now,
            used_ms: AtomicU64::new(0),
            lists: Mutex::default(),
            calls: Mutex::default(),
            streams: watch::Sender::new(0),
        })
    }

    /// Notes that it is used.
    pub fn touch(&self, now: Instant) {
        let millis = now.saturating_duration_since(self.began).as_millis();
        self.used_ms.fetch_max(u64::try_from(millis).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn idle(&self, now: Instant) -> Duration {
        if self.has_stream() {
            return Duration::ZERO; // an open stream is use
        }
        now.saturating_duration_since(
            self.began + Duration::from_millis(self.used_ms.load(Ordering::Relaxed)),
        )
    }

    /// Notes which list the client has.
    pub fn listed(&self, digest: u64) {
        *self.lists() = Lists { got: Some(digest), told: None };
    }

    /// Whether the client has had a list.
    pub fn has_listed(&self) -> bool {
        self.lists().got.is_some()
    }

    /// Whether the client is to be told that its list is this one now: it has another one, and does not know it yet.
    /// It counts as told from then on.
    pub fn tells(&self, digest: u64) -> bool {
        let mut lists = self.lists();
        let tells = lists.got.is_some_and(|got| got != digest) && lists.told != Some(digest);
        if tells {
            lists.told = Some(digest);
        }
        tells
    }

    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a call under way.
    pub fn begin(self: &Arc<Self>, id: &str) -> UnderWay {
        let cancelled = CancellationToken::new();
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.insert(id.to_owned(), cancelled.clone());
        UnderWay { session: Arc::clone(self), id: id.to_owned(), cancelled }
    }

    /// Cancels the call with this id, if it is under way.
    pub fn cancel(&self, id: &str) {
        if let Some(call) = self.calls.lock().unwrap_or_else(PoisonError::into_inner).get(id) {
            call.cancel();
        }
    }

    /// Opens a stream; the receiver changes when a newer one is opened.
    pub fn open_stream(&self) -> watch::Receiver<u64> {
        self.lists().told = None; // what went into a stream that broke may never have arrived
        self.streams.send_modify(|number| *number += 1);
        self.streams.subscribe()
    }

    /// Whether a stream is open.
    pub fn has_stream(&self) -> bool {
        self.streams.receiver_count() > 0
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.session.calls.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

impl Sessions {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The session of this id, which is used now. On the path of another view, or for somebody else, there is none.
    pub fn get(
        &self,
        id: &str,
        view: Option<&str>,
        principal: [u8; 32],
        now: Instant,
    ) -> Option<Arc<Session>> {
        let session = Arc::clone(&*self.0.get(id)?);
        let bound = session.view.as_deref() == view && session.principal == principal;
        bound.then(|| session.touch(now))?;
        Some(session)
    }

    /// Adds one. Gives those that had to go for it: the ones idle longest.
    pub fn add(
        &self,
        session: Arc<Session>,
        bounds: &config::Sessions,
        now: Instant,
    ) -> Vec<Arc<Session>> {
        let max = bounds.max as usize;
        let mut gone = Vec::new();
        if self.0.len() >= max {
            // A hundredth at once, so that a flood of new sessions does not sort the whole table for each.
            let mut all: Vec<(Duration, String)> =
                self.0.iter().map(|entry| (entry.idle(now), entry.id.clone())).collect();
            all.sort_unstable_by(|a, b| b.cmp(a));
            let excess = self.0.len() + 1 - max;
            gone.extend(all.iter().take(excess.max(max / 100)).filter_map(|(_, id)| self.end(id)));
        }
        self.0.insert(session.id.clone(), session);
        gone
    }

    /// Ends the session of this id.
    pub fn end(&self, id: &str) -> Option<Arc<Session>> {
        let (_, session) = self.0.remove(id)?;
        session.ended.cancel();
        Some(session)
    }

    /// Ends those that were idle for too long.
    pub fn expire(&self, ttl: Duration, now: Instant) -> Vec<Arc<Session>> {
        let old: Vec<String> = self
            .0
            .iter()
            .filter(|entry| entry.idle(now) > ttl)
            .map(|entry| entry.id.clone())
            .collect();
        old.iter().filter_map(|id| self.end(id)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(id: &str, now: Instant) -> Arc<Session> {
        let opened = Opened {
            id: id.into(),
            unique: [0; 16],
            version: "2025-11-25",
            view: None,
            principal: [0; 32],
            internal: false,
        };
        Session::new(opened, now)
    }

    fn bounds(max: u32) -> config::Sessions {
        config::Sessions { max, ..config::Sessions::default() }
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    // An unbounded table is a way to fill a pod's memory with a loop around initialize.
    #[test]
    fn a_full_table_loses_the_session_that_is_idle_longest() {
        let (start, sessions) = (Instant::now(), Sessions::default());
        sessions.add(session("a", start), &bounds(2), start);
        sessions.add(session("b", start), &bounds(2), start);
        assert!(sessions.get("a", None, [0; 32], after(start, 5)).is_some());
        let gone = sessions.add(session("c", after(start, 6)), &bounds(2), after(start, 6));
        assert_eq!(gone.iter().map(|session| session.id.as_str()).collect::<Vec<_>>(), ["b"]);
        assert!(gone[0].ended.is_cancelled());
        assert_eq!(sessions.len(), 2);
    }

    #[test]
    fn a_session_is_there_for_its_own_view_and_principal_only() {
        let (start, sessions) = (Instant::now(), Sessions::default());
        sessions.add(session("a", start), &bounds(9), start);
        assert!(sessions.get("a", None, [0; 32], start).is_some());
        assert!(sessions.get("a", Some("small"), [0; 32], start).is_none());
        assert!(sessions.get("a", None, [1; 32], start).is_none());
    }

    #[test]
    fn idle_sessions_expire_and_those_with_a_stream_do_not() {
        let (start, sessions) = (Instant::now(), Sessions::default());
        let streaming = session("b", start);
        let _stream = streaming.open_stream();
        sessions.add(session("a", start), &bounds(9), start);
        sessions.add(streaming, &bounds(9), start);
        assert!(sessions.expire(Duration::from_secs(10), after(start, 10)).is_empty());
        let gone = sessions.expire(Duration::from_secs(10), after(start, 11));
        assert_eq!(gone.iter().map(|session| session.id.as_str()).collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn a_client_is_told_of_another_list_once_and_only_if_it_had_one() {
        let session = session("a", Instant::now());
        assert!(!session.tells(1), "it has no list that could have changed");
        session.listed(1);
        assert!(!session.tells(1));
        assert!(session.tells(2));
        assert!(!session.tells(2), "told already");
        let _stream = session.open_stream();
        assert!(session.tells(2), "the stream that it was told in may have broken");
        session.listed(2);
        assert!(!session.tells(2));
    }

    #[test]
    fn a_call_can_be_cancelled_while_it_is_under_way_and_not_after() {
        let session = session("a", Instant::now());
        let call = session.begin("7");
        session.cancel("8");
        assert!(!call.cancelled.is_cancelled());
        session.cancel("7");
        assert!(call.cancelled.is_cancelled());
        drop(call);
        assert!(session.calls.lock().unwrap().is_empty());
    }
}
