//! The sessions that are open to one server, and who shares them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;

use super::error::Error;
use super::link::Link;

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

/// A session that is open or being opened.
#[derive(Debug, Default)]
pub(super) struct PooledSession {
    /// Set when the session is open. Concurrent callers wait for one handshake.
    pub(super) link: OnceCell<Link>,
}

/// The sessions of one server.
#[derive(Debug)]
pub(super) struct Pool {
    sessions: Mutex<HashMap<SessionKey, Arc<PooledSession>>>,
    max: u32,
}

impl Pool {
    pub(super) fn new(max: u32) -> Self {
        Self { sessions: Mutex::default(), max }
    }

    /// The session with this key. It is new if there is none and fewer than `max` exist.
    pub(super) fn session(&self, key: &SessionKey) -> Result<Arc<PooledSession>, Error> {
        let mut sessions = self.lock();
        if let Some(session) = sessions.get(key) {
            return Ok(Arc::clone(session));
        }
        if sessions.len() >= self.max as usize {
            return Err(Error::TooManySessions(self.max));
        }
        Ok(Arc::clone(sessions.entry(key.clone()).or_default()))
    }

    /// Removes this session. A later one with the same key stays.
    pub(super) fn remove(&self, key: &SessionKey, session: &Arc<PooledSession>) {
        let mut sessions = self.lock();
        if sessions.get(key).is_some_and(|known| Arc::ptr_eq(known, session)) {
            sessions.remove(key);
        }
    }

    /// Removes the session with this key.
    pub(super) fn take(&self, key: &SessionKey) -> Option<Arc<PooledSession>> {
        self.lock().remove(key)
    }

    /// Removes all sessions.
    pub(super) fn take_all(&self) -> Vec<Arc<PooledSession>> {
        self.lock().drain().map(|(_, session)| session).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionKey, Arc<PooledSession>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A session beyond the number of processes of a stdio server would fail anyway, after a wait.
    #[test]
    fn the_limit_holds_and_a_removed_session_makes_room() {
        let pool = Pool::new(1);
        let first = pool.session(&SessionKey::Pod).unwrap();
        assert!(Arc::ptr_eq(&first, &pool.session(&SessionKey::Pod).unwrap()));
        let other = SessionKey::Session([1; 16]);
        assert!(matches!(pool.session(&other), Err(Error::TooManySessions(1))));
        pool.remove(&SessionKey::Pod, &first);
        let second = pool.session(&other).unwrap();
        pool.remove(&other, &first);
        assert!(
            Arc::ptr_eq(&second, &pool.session(&other).unwrap()),
            "only the removed session is gone"
        );
    }
}
