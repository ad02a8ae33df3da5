//! What was learned: here, and by other pods.

use std::sync::{Arc, PoisonError, RwLock};

use mcphub_hub_select::embedded::{Digest, Memory, Vector};

/// What was learned.
#[derive(Default)]
pub(super) struct Learning(RwLock<State>);

#[derive(Default)]
struct State {
    /// All of it.
    all: Arc<Memory>,
    /// What only this pod knows.
    news: Memory,
}

impl Learning {
    /// All that is known now.
    pub(super) fn all(&self) -> Arc<Memory> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner).all)
    }

    /// Learns that this prompt led to this tool.
    pub(super) fn remember(&self, tool: Digest, prompt: &Vector) {
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(&mut state.all).remember(tool, prompt);
        state.news.remember(tool, prompt);
    }

    /// Takes what all pods have shared in place of what was known of it; the own news stay.
    pub(super) fn share(&self, shared: Memory) {
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut all = shared;
        all.merge(&state.news);
        state.all = Arc::new(all);
    }

    /// Whether this pod knows something that others do not.
    pub(super) fn has_news(&self) -> bool {
        !self.0.read().unwrap_or_else(PoisonError::into_inner).news.is_empty()
    }

    /// The news, to be shared.
    pub(super) fn take_news(&self) -> Memory {
        std::mem::take(&mut self.0.write().unwrap_or_else(PoisonError::into_inner).news)
    }

    /// News that could not be shared.
    pub(super) fn give_back(&self, news: &Memory) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).news.merge(news);
    }
}
