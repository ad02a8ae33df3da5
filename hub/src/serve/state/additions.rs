//! The unlisted tools that prompts and calls have put on a list.

use std::sync::{Mutex, MutexGuard, PoisonError};

use mcphub_hub_catalog::tool_list;
use tokio::sync::watch;

/// What was added to the list of a session, or of all sessions of a view; tells of every change.
#[derive(Debug)]
pub struct Additions {
    now: Mutex<tool_list::Additions>,
    changes: watch::Sender<u64>,
}

impl Default for Additions {
    fn default() -> Self {
        Self { now: Mutex::default(), changes: watch::Sender::new(0) }
    }
}

impl Additions {
    /// What there is now.
    pub fn now(&self) -> tool_list::Additions {
        self.lock().clone()
    }

    /// Adds what a prompt chose, best first.
    pub fn add_for_prompt(&self, names: &[&str]) {
        self.lock().add_for_prompt(names.iter().copied());
        self.changed();
    }

    /// Adds a tool that was called though it was not in the list.
    pub fn add(&self, name: &str) {
        self.lock().add(std::iter::once(name));
        self.changed();
    }

    /// Notes that a tool was called: it stays while others go.
    pub fn used(&self, name: &str) {
        self.lock().mark_used(name);
    }

    /// Changes when something was added.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn changed(&self) {
        self.changes.send_modify(|number| *number += 1);
    }

    fn lock(&self) -> MutexGuard<'_, tool_list::Additions> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
