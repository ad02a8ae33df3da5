//! The sessions that are open to one server, and who shares them.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::{BoxFuture, FutureExt as _, Shared};

use super::error::Error;
use super::session::UpstreamSession;

/// Who shares a session. Client capabilities are not part of it, because the hub declares none
/// upstream yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SessionKey {
    /// All callers of the pod.
    Pod,
    /// All requests of one principal.
    Principal([u8; 32]),
    /// One downstream session.
    Session([u8; 16]),
}

type Opened = Result<Arc<UpstreamSession>, Error>;

/// A session that is open or being opened.
///
/// A task opens it, so that a start goes on when its callers leave. If nobody holds the session
/// when it is open at last, it is deleted.
#[derive(Debug)]
pub(super) struct PooledSession {
    opened: Shared<BoxFuture<'static, Opened>>,
    failed: Arc<AtomicBool>,
}

impl PooledSession {
    fn start(open: impl Future<Output = Opened> + Send + 'static) -> Self {
        let failed = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&failed);
        let task = tokio::spawn(async move {
            let opened = open.await;
            flag.store(opened.is_err(), Ordering::Relaxed);
            opened
        });
        let opened = async move {
            task.await.unwrap_or_else(|error| {
                Err(Error::Unusable(format!("the task that opens its session failed: {error}")))
            })
        };
        Self { opened: opened.boxed().shared(), failed }
    }

    /// The session, when it is open. All callers wait for one handshake and get its result.
    pub(super) async fn opened(&self) -> Opened {
        self.opened.clone().await
    }
}

/// The sessions of one server. Nothing else opens sessions.
#[derive(Debug)]
pub(super) struct Pool {
    state: Mutex<PoolState>,
    max: u32,
}

#[derive(Debug, Default)]
struct PoolState {
    sessions: HashMap<SessionKey, Arc<PooledSession>>,
    closed: bool,
}

impl Pool {
    pub(super) fn new(max: u32) -> Self {
        Self { state: Mutex::default(), max }
    }

    /// The session with this key. It is opened if there is none and fewer than `max` exist.
    pub(super) fn session<F>(
        &self,
        key: &SessionKey,
        open: impl FnOnce() -> F,
    ) -> Result<Arc<PooledSession>, Error>
    where
        F: Future<Output = Opened> + Send + 'static,
    {
        let mut state = self.lock();
        if state.closed {
            return Err(Error::Unusable("it is not in the config any more".into()));
        }
        // Nobody may have waited for a failed one, and so nobody removed it.
        state.sessions.retain(|_, session| !session.failed.load(Ordering::Relaxed));
        if let Some(session) = state.sessions.get(key) {
            return Ok(Arc::clone(session));
        }
        if state.sessions.len() >= self.max as usize {
            return Err(Error::TooManySessions(self.max));
        }
        let session = Arc::new(PooledSession::start(open()));
        state.sessions.insert(key.clone(), Arc::clone(&session));
        Ok(session)
    }

    /// Removes this session. A later one with the same key stays.
    pub(super) fn remove(&self, key: &SessionKey, session: &Arc<PooledSession>) {
        let mut state = self.lock();
        if state.sessions.get(key).is_some_and(|known| Arc::ptr_eq(known, session)) {
            state.sessions.remove(key);
        }
    }

    /// Removes the session with this key.
    pub(super) fn remove_key(&self, key: &SessionKey) {
        self.lock().sessions.remove(key);
    }

    /// Removes all sessions, and opens no more.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.sessions.clear();
    }

    fn lock(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    // A session beyond the number of processes of a stdio server would fail anyway, after a wait.
    #[tokio::test]
    async fn the_limit_holds_and_a_removed_session_makes_room() {
        let pool = Pool::new(1);
        let first = pool.session(&SessionKey::Pod, pending).unwrap();
        assert!(Arc::ptr_eq(&first, &pool.session(&SessionKey::Pod, pending).unwrap()));
        let other = SessionKey::Session([1; 16]);
        assert!(matches!(pool.session(&other, pending), Err(Error::TooManySessions(1))));
        pool.remove(&SessionKey::Pod, &first);
        let second = pool.session(&other, pending).unwrap();
        pool.remove(&other, &first);
        assert!(
            Arc::ptr_eq(&second, &pool.session(&other, pending).unwrap()),
            "only the removed session is gone"
        );
    }

    #[tokio::test]
    async fn a_failed_session_takes_no_room_and_a_closed_pool_opens_none() {
        let pool = Pool::new(1);
        let failing = || ready(Err(Error::InputRequired));
        let failed = pool.session(&SessionKey::Pod, failing).unwrap();
        assert!(failed.opened().await.is_err());
        let other = SessionKey::Session([1; 16]);
        pool.session(&other, pending).unwrap();
        pool.close();
        assert!(matches!(pool.session(&other, pending), Err(Error::Unusable(_))));
    }
}
