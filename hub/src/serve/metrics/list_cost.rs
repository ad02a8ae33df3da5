//! What lists cost their readers, and what filtering saves them.
//!
//! Tokens are counted in the background: a list must not wait for the second that ten thousand new tools take.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use mcphub_hub_catalog::list_cache::CallerLists;
use mcphub_hub_catalog::tool_list::{ListScope, ToolList};
use mcphub_hub_catalog::visibility::{Visibility, VisibleTools};
use prometheus::{IntCounter, IntGauge, Opts, Registry};

use crate::serve::state::hub::Hub;

/// What lists cost.
pub struct ListCost {
    /// Of the list that a client without a session gets.
    tokens: IntGauge,
    saved: IntCounter,
    hidden_calls: IntCounter,
    counting: Mutex<Counting>,
}

#[derive(Default)]
struct Counting {
    /// What has been counted.
    counted: Weak<Visibility>,
    /// Lists that were answered before that.
    waiting: u64,
}

impl ListCost {
    /// All at 0.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let opts = |name: &str, help: &str| Opts::new(format!("mcp_hub_{name}"), help);
        let list = "Tokens of the list that a client without a session gets, by o200k_base x 1.2";
        let saved = "Tokens that lists had less than one of every tool would have";
        let hidden = "Calls by name of tools that are not in the caller's list";
        let this = Self {
            tokens: IntGauge::with_opts(opts("list_tokens", list))?,
            saved: IntCounter::with_opts(opts("tokens_saved_total", saved))?,
            hidden_calls: IntCounter::with_opts(opts("hidden_calls_total", hidden))?,
            counting: Mutex::default(),
        };
        registry.register(Box::new(this.tokens.clone()))?;
        registry.register(Box::new(this.saved.clone()))?;
        registry.register(Box::new(this.hidden_calls.clone()))?;
        Ok(this)
    }

    /// Counts a list that a client got.
    pub fn listed(&self, visible: &VisibleTools, tool_list: &ToolList) {
        let mut counting = self.counting.lock().unwrap_or_else(PoisonError::into_inner);
        if std::ptr::eq(counting.counted.as_ptr(), Arc::as_ptr(visible.visibility())) {
            self.saved.inc_by(saved(visible.visibility(), tool_list));
        } else {
            counting.waiting += 1;
        }
    }

    /// Counts a call by name of a tool that exists and is not in the caller's list: `listed` is what
    /// [`ToolList::lists`] says of it, `None` for one that the caller may not know of.
    pub fn called(&self, visible: &VisibleTools, tool_list: &ToolList, name: &str) {
        let hidden = match visible.find(name) {
            Some(position) => !tool_list.lists(position),
            None => visible.visibility().catalog.place(name).is_some(),
        };
        if hidden {
            self.hidden_calls.inc();
        }
    }

    fn count(&self, lists: &CallerLists) {
        let visibility = lists.visible.visibility();
        let tool_list = lists.tool_list(ListScope::Stateless);
        let saved = saved(visibility, &tool_list);
        self.tokens.set(tool_list.tokens().into());
        let mut counting = self.counting.lock().unwrap_or_else(PoisonError::into_inner);
        counting.counted = Arc::downgrade(visibility);
        self.saved.inc_by(saved * std::mem::take(&mut counting.waiting));
    }
}

fn saved(visibility: &Visibility, tool_list: &ToolList) -> u64 {
    visibility.unfiltered_tokens().saturating_sub(tool_list.tokens().into())
}

/// Counts what is in force, and every later state, on a thread of its own.
pub async fn keep(hub: Arc<Hub>) {
    let mut live = hub.subscribe();
    loop {
        let (lists, counter) = (live.borrow_and_update().lists.anonymous(), Arc::clone(&hub));
        if tokio::task::spawn_blocking(move || counter.metrics.list_cost.count(&lists))
            .await
            .is_err()
        {
            tracing::error!("counting tokens failed");
        }
        if live.changed().await.is_err() {
            return;
        }
    }
}
