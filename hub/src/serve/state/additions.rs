//! The unlisted tools that prompts and calls have added to a list.

use std::sync::{Mutex, MutexGuard, PoisonError};

use mcphub_hub_catalog::tool_list;
use tokio::sync::watch;

/// The additions to the list of a session, or of all sessions of a view.
#[derive(Debug)]
pub struct Additions {
    current: Mutex<tool_list::Additions>,
    changes: watch::Sender<u64>,
}

impl Default for Additions {
    fn default() -> Self {
        Self { current: Mutex::default(), changes: watch::Sender::new(0) }
    }
}

impl Additions {
    pub fn current(&self) -> tool_list::Additions {
        self.lock().clone()
    }

    /// Adds the tools that a prompt chose, best first.
    pub fn add_for_prompt(&self, names: &[&str]) {
        self.lock().add_for_prompt(names.iter().copied());
        self.notify();
    }

    /// Adds a tool that was called although it was not in the list.
    pub fn add(&self, name: &str) {
        self.lock().add(std::iter::once(name));
        self.notify();
    }

    /// Marks a tool as used, so that it stays when others are removed.
    pub fn touch(&self, name: &str) {
        self.lock().mark_used(name);
    }

    /// Changes whenever something is added.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn notify(&self) {
        self.changes.send_modify(|number| *number += 1);
    }

    fn lock(&self) -> MutexGuard<'_, tool_list::Additions> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
