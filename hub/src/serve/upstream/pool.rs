//! The sessions that are open to one server, and who shares them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;

use super::error::Error;
use super::link::Link;

/// Who shares a session. The hub declares no client capabilities upstream yet, so they are not part of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// All of the pod.
    Pod,
    /// All requests of one principal.
    Principal([u8; 32]),
    /// One downstream session.
    Session([u8; 16]),
}

/// A session, open or being opened.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// Set once it is open; concurrent callers wait for one handshake.
    pub(super) link: OnceCell<Link>,
}

/// The sessions of one server.
#[derive(Debug)]
pub(super) struct Pool {
    sessions: Mutex<HashMap<Key, Arc<Session>>>,
    max: u32,
}

impl Pool {
    /// A pool of at most `max`.
    pub(super) fn of(max: u32) -> Self {
        Self { sessions: Mutex::default(), max }
    }

    /// The session of this key; a new one if there is none and room is left.
    pub(super) fn session(&self, key: &Key) -> Result<Arc<Session>, Error> {
        let mut sessions = self.lock();
        if let Some(session) = sessions.get(key) {
            return Ok(Arc::clone(session));
        }
        if sessions.len() >= self.max as usize {
            return Err(Error::TooManySessions(self.max));
        }
        Ok(Arc::clone(sessions.entry(key.clone()).or_default()))
    }

    /// Takes this very session out; a later one of the same key stays.
    pub(super) fn forget(&self, key: &Key, session: &Arc<Session>) {
        let mut sessions = self.lock();
        if sessions.get(key).is_some_and(|known| Arc::ptr_eq(known, session)) {
            sessions.remove(key);
        }
    }

    /// Takes the session of this key out.
    pub(super) fn take(&self, key: &Key) -> Option<Arc<Session>> {
        self.lock().remove(key)
    }

    /// Takes all out.
    pub(super) fn take_all(&self) -> Vec<Arc<Session>> {
        self.lock().drain().map(|(_, session)| session).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // More sessions than a stdio server may have processes would fail anyway, after a wait.
    #[test]
    fn the_bound_is_kept_and_room_comes_back() {
        let pool = Pool::of(1);
        let first = pool.session(&Key::Pod).unwrap();
        assert!(Arc::ptr_eq(&first, &pool.session(&Key::Pod).unwrap()));
        let other = Key::Session([1; 16]);
        assert!(matches!(pool.session(&other), Err(Error::TooManySessions(1))));
        pool.forget(&Key::Pod, &first);
        let second = pool.session(&other).unwrap();
        pool.forget(&other, &first);
        assert!(
            Arc::ptr_eq(&second, &pool.session(&other).unwrap()),
            "only this very session is forgotten"
        );
    }
}
