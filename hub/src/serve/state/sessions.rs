//! The sessions of this pod.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use mcphub_hub_catalog::principal::Principal;
use mcphub_hub_wire::config;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::additions::Additions;

/// A session that a client opened with `initialize`.
#[derive(Debug)]
pub struct Session {
    /// The sealed id that the client has.
    pub id: String,
    /// Unique among all sessions of all pods.
    pub unique: [u8; 16],
    /// The negotiated protocol version.
    pub version: &'static str,
    /// Who opened the session. Nobody else may use it.
    pub principal: Arc<Principal>,
    /// The view that the session was opened on. It may be used on that path only.
    pub view: Option<String>,
    /// The hub opened the session itself. What it does must not show in the lists of others.
    pub internal: bool,
    /// What prompts and calls added to its list.
    pub additions: Arc<Additions>,
    /// Cancelled when the session ends.
    pub ended: CancellationToken,
    start: Instant,
    /// The last use, in milliseconds since `start`.
    last_use_ms: AtomicU64,
    lists: Mutex<ListDigests>,
    /// The calls in flight. A client that was cut off may call again with the same id while its
    /// first call goes on.
    calls: Mutex<HashMap<u64, RunningCall>>,
    next_call: AtomicU64,
    /// The number of the newest stream. Older streams end, or the client would get each message
    /// twice.
    streams: watch::Sender<u64>,
}

#[derive(Debug)]
struct RunningCall {
    /// The request id as JSON text.
    id: String,
    cancelled: CancellationToken,
}

/// Digests of the lists that the client knows of.
#[derive(Debug, Default)]
struct ListDigests {
    /// The list that the client received last.
    received: Option<u64>,
    /// The newer list that it was notified of.
    notified: Option<u64>,
}

/// The sessions of this pod, by id.
#[derive(Debug, Default)]
pub struct Sessions(DashMap<String, Arc<Session>>);

/// Lets a client cancel a call. The call is forgotten when the handle is dropped.
#[derive(Debug)]
pub struct CancelHandle {
    session: Arc<Session>,
    number: u64,
    cancelled: CancellationToken,
}

impl CancelHandle {
    /// Cancelled when the client cancels the call.
    pub fn token(&self) -> CancellationToken {
        self.cancelled.clone()
    }
}

impl Session {
    /// A new session, used at `now`.
    pub fn new(
        id: String,
        unique: [u8; 16],
        version: &'static str,
        principal: Arc<Principal>,
        view: Option<String>,
        internal: bool,
        now: Instant,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            unique,
            version,
            principal,
            view,
            internal,
            additions: Arc::default(),
            ended: CancellationToken::new(),
            start: now,
            last_use_ms: AtomicU64::new(0),
            lists: Mutex::default(),
            calls: Mutex::default(),
            next_call: AtomicU64::new(0),
            streams: watch::Sender::new(0),
        })
    }

    fn touch(&self, now: Instant) {
        let millis = now.saturating_duration_since(self.start).as_millis();
        self.last_use_ms.fetch_max(u64::try_from(millis).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How long the session has been idle. An open stream is use.
    fn idle_time(&self, now: Instant) -> Duration {
        if self.has_stream() {
            return Duration::ZERO;
        }
        let last_use = Duration::from_millis(self.last_use_ms.load(Ordering::Relaxed));
        now.saturating_duration_since(self.start + last_use)
    }

    /// Records which list the client received.
    pub fn record_list(&self, digest: u64) {
        *self.lists() = ListDigests { received: Some(digest), notified: None };
    }

    /// Whether the client has received a list.
    pub fn has_listed(&self) -> bool {
        self.lists().received.is_some()
    }

    /// Whether the client has to be notified that its list is this one now: it received another
    /// one, and was not notified of this one yet. It counts as notified from then on.
    pub fn take_list_change(&self, digest: u64) -> bool {
        let mut lists = self.lists();
        let changed = lists.received.is_some_and(|received| received != digest)
            && lists.notified != Some(digest);
        if changed {
            lists.notified = Some(digest);
        }
        changed
    }

    fn lists(&self) -> MutexGuard<'_, ListDigests> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a call, so that the client can cancel it.
    pub fn start_call(self: &Arc<Self>, id: &str) -> CancelHandle {
        let cancelled = CancellationToken::new();
        let number = self.next_call.fetch_add(1, Ordering::Relaxed);
        let call = RunningCall { id: id.to_owned(), cancelled: cancelled.clone() };
        self.calls().insert(number, call);
        CancelHandle { session: Arc::clone(self), number, cancelled }
    }

    /// Cancels the calls in flight with this request id.
    pub fn cancel(&self, id: &str) {
        for call in self.calls().values().filter(|call| call.id == id) {
            call.cancelled.cancel();
        }
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<u64, RunningCall>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a stream. The receiver changes when a newer stream is opened.
    pub fn open_stream(&self) -> watch::Receiver<u64> {
        // A notification on a stream that broke may never have arrived.
        self.lists().notified = None;
        self.streams.send_modify(|number| *number += 1);
        self.streams.subscribe()
    }

    pub fn has_stream(&self) -> bool {
        self.streams.receiver_count() > 0
    }
}

impl Drop for CancelHandle {
    fn drop(&mut self) {
        self.session.calls().remove(&self.number);
    }
}

impl Sessions {
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The session with this id, which counts as used. `None` on the path of another view, and for
    /// another principal.
    pub fn get(
        &self,
        id: &str,
        view: Option<&str>,
        principal: &Principal,
        now: Instant,
    ) -> Option<Arc<Session>> {
        let session = Arc::clone(&*self.0.get(id)?);
        let bound = session.view.as_deref() == view && *session.principal == *principal;
        bound.then(|| session.touch(now))?;
        Some(session)
    }

    /// Adds a session, and returns those that were evicted for it: the ones that have been idle
    /// longest.
    pub fn add(
        &self,
        session: Arc<Session>,
        limits: &config::Sessions,
        now: Instant,
    ) -> Vec<Arc<Session>> {
        let max = limits.max as usize;
        let mut evicted = Vec::new();
        if self.0.len() >= max {
            // Evict one percent at once, so that a flood of new sessions does not sort the whole
            // table for each of them.
            let mut all: Vec<(Duration, String)> =
                self.0.iter().map(|entry| (entry.idle_time(now), entry.id.clone())).collect();
            all.sort_unstable_by(|a, b| b.cmp(a));
            let excess = self.0.len() + 1 - max;
            let candidates = all.iter().take(excess.max(max / 100));
            evicted.extend(candidates.filter_map(|(_, id)| self.end(id)));
        }
        self.0.insert(session.id.clone(), session);
        evicted
    }

    /// Ends the session with this id.
    pub fn end(&self, id: &str) -> Option<Arc<Session>> {
        let (_, session) = self.0.remove(id)?;
        session.ended.cancel();
        Some(session)
    }

    /// Ends the sessions that have been idle for longer than `ttl`, and returns them.
    pub fn expire(&self, ttl: Duration, now: Instant) -> Vec<Arc<Session>> {
        let expired: Vec<String> = self
            .0
            .iter()
            .filter(|entry| entry.idle_time(now) > ttl)
            .map(|entry| entry.id.clone())
            .collect();
        expired.iter().filter_map(|id| self.end(id)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(sub: &str) -> Arc<Principal> {
        Arc::new(Principal { sub: sub.into(), ..Principal::default() })
    }

    fn session(id: &str, now: Instant) -> Arc<Session> {
        Session::new(id.into(), [0; 16], "2025-11-25", principal("ann"), None, false, now)
    }

    fn limits(max: u32) -> config::Sessions {
        config::Sessions { max, ..config::Sessions::default() }
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    // An unbounded table would let a loop around initialize fill a pod's memory.
    #[test]
    fn a_full_table_evicts_the_session_that_has_been_idle_longest() {
        let (start, sessions) = (Instant::now(), Sessions::default());
        sessions.add(session("a", start), &limits(2), start);
        sessions.add(session("b", start), &limits(2), start);
        assert!(sessions.get("a", None, &principal("ann"), after(start, 5)).is_some());
        let evicted = sessions.add(session("c", after(start, 6)), &limits(2), after(start, 6));
        assert_eq!(evicted.iter().map(|session| session.id.as_str()).collect::<Vec<_>>(), ["b"]);
        assert!(evicted[0].ended.is_cancelled());
        assert_eq!(sessions.count(), 2);
    }

    #[test]
    fn a_session_exists_only_for_its_own_view_and_principal() {
        let (start, sessions) = (Instant::now(), Sessions::default());
        sessions.add(session("a", start), &limits(9), start);
        assert!(sessions.get("a", None, &principal("ann"), start).is_some());
        assert!(sessions.get("a", Some("small"), &principal("ann"), start).is_none());
        assert!(sessions.get("a", None, &principal("bob"), start).is_none());
    }

    #[test]
    fn idle_sessions_expire_unless_they_have_a_stream() {
        let (start, sessions) = (Instant::now(), Sessions::default());
        let streaming = session("b", start);
        let _stream = streaming.open_stream();
        sessions.add(session("a", start), &limits(9), start);
        sessions.add(streaming, &limits(9), start);
        assert!(sessions.expire(Duration::from_secs(10), after(start, 10)).is_empty());
        let expired = sessions.expire(Duration::from_secs(10), after(start, 11));
        assert_eq!(expired.iter().map(|session| session.id.as_str()).collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn a_client_is_notified_of_a_changed_list_once_and_only_if_it_has_a_list() {
        let session = session("a", Instant::now());
        assert!(!session.take_list_change(1), "it has no list that could have changed");
        session.record_list(1);
        assert!(!session.take_list_change(1));
        assert!(session.take_list_change(2));
        assert!(!session.take_list_change(2), "notified already");
        let _stream = session.open_stream();
        assert!(session.take_list_change(2), "the stream with the notification may have broken");
        session.record_list(2);
        assert!(!session.take_list_change(2));
    }

    #[test]
    fn a_call_can_be_cancelled_only_while_it_is_in_flight() {
        let session = session("a", Instant::now());
        let call = session.start_call("7");
        session.cancel("8");
        assert!(!call.token().is_cancelled());
        session.cancel("7");
        assert!(call.token().is_cancelled());
        let again = session.start_call("7");
        drop(call);
        session.cancel("7");
        assert!(again.token().is_cancelled(), "the first call with its id has ended");
        drop(again);
        assert!(session.calls.lock().unwrap().is_empty());
    }
}
