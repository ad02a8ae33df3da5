//! Which tools prompts have led to, in this pod and in others.

use std::sync::{Arc, PoisonError, RwLock};

use mcphub_hub_select::embedded::{Digest, Memory, Vector};

/// What all pods have learned.
#[derive(Default)]
pub(super) struct Learning(RwLock<Memories>);

#[derive(Default)]
struct Memories {
    all: Arc<Memory>,
    /// What only this pod knows.
    news: Memory,
}

impl Learning {
    pub(super) fn all(&self) -> Arc<Memory> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner).all)
    }

    /// Remembers that this prompt led to this tool.
    pub(super) fn remember(&self, tool: Digest, prompt: &Vector) {
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(&mut state.all).remember(tool, prompt);
        state.news.remember(tool, prompt);
    }

    /// Replaces what all pods know. The news of this pod stay.
    pub(super) fn set_shared(&self, shared: Memory) {
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut all = shared;
        all.merge(&state.news);
        state.all = Arc::new(all);
    }

    /// Whether this pod knows something that others do not.
    pub(super) fn has_news(&self) -> bool {
        !self.0.read().unwrap_or_else(PoisonError::into_inner).news.is_empty()
    }

    /// Takes the news, to share them.
    pub(super) fn take_news(&self) -> Memory {
        std::mem::take(&mut self.0.write().unwrap_or_else(PoisonError::into_inner).news)
    }

    /// Puts back news that could not be shared.
    pub(super) fn restore_news(&self, news: &Memory) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).news.merge(news);
    }
}
