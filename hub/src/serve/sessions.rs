//! The legacy sessions of this pod.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use mcphub_wire::config;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// One legacy session.
#[derive(Debug)]
pub struct Session {
    /// Its id as the client has it.
    pub id: String,
    /// Unique among all.
    pub unique: [u8; 16],
    /// Negotiated version.
    pub version: &'static str,
    /// Cancelled when it ends.
    pub ended: CancellationToken,
    began: Instant,
    used_ms: AtomicU64,
    /// Digest of the list that the client last got.
    listed: Mutex<Option<u64>>,
    /// Calls under way by request id as written.
    calls: Mutex<HashMap<String, CancellationToken>>,
    /// Number of its newest stream; older ones end, or each message would come twice.
    streams: watch::Sender<u64>,
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
    pub fn new(id: String, unique: [u8; 16], version: &'static str, now: Instant) -> Arc<Self> {
        Arc::new(Self {
            id,
            unique,
            version,
            ended: CancellationToken::new(),
            began: now,
            used_ms: AtomicU64::new(0),
            listed: Mutex::default(),
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
        if self.streams.receiver_count() > 0 {
            return Duration::ZERO; // an open stream is use
        }
        now.saturating_duration_since(self.began + Duration::from_millis(self.used_ms.load(Ordering::Relaxed)))
    }

    /// Notes which list the client has.
    pub fn listed(&self, digest: u64) {
        *self.listed.lock().unwrap_or_else(PoisonError::into_inner) = Some(digest);
    }

    /// The list that the client has.
    pub fn has_listed(&self) -> Option<u64> {
        *self.listed.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.streams.send_modify(|number| *number += 1);
        self.streams.subscribe()
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

    /// The session of this id, which is used now.
    pub fn get(&self, id: &str, now: Instant) -> Option<Arc<Session>> {
        let session = Arc::clone(&*self.0.get(id)?);
        session.touch(now);
        Some(session)
    }

    /// Adds one. Gives those that had to go for it: the ones idle longest.
    pub fn add(&self, session: Arc<Session>, bounds: &config::Sessions, now: Instant) -> Vec<Arc<Session>> {
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
        let old: Vec<String> =
            self.0.iter().filter(|entry| entry.idle(now) > ttl).map(|entry| entry.id.clone()).collect();
        old.iter().filter_map(|id| self.end(id)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(id: &str, now: Instant) -> Arc<Session> {
        Session::new(id.into(), [0; 16], "2025-11-25", now)
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
        assert!(sessions.get("a", after(start, 5)).is_some());
        let gone = sessions.add(session("c", after(start, 6)), &bounds(2), after(start, 6));
        assert_eq!(gone.iter().map(|session| session.id.as_str()).collect::<Vec<_>>(), ["b"]);
        assert!(gone[0].ended.is_cancelled());
        assert_eq!(sessions.len(), 2);
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
