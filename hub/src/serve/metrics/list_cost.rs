//! What lists cost their readers in tokens, and what filtering saves them.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use mcphub_hub_catalog::list_cache::CallerLists;
use mcphub_hub_catalog::tool_list::{ListScope, ToolList};
use mcphub_hub_catalog::visibility::{Visibility, VisibleTools};
use prometheus::{IntCounter, IntGauge, Registry};

use super::{opts, register};

/// What lists cost.
pub struct ListCost {
    /// The tokens of the list of a client without a session.
    tokens: IntGauge,
    saved: IntCounter,
    hidden_calls: IntCounter,
    pending: Mutex<Pending>,
}

#[derive(Default)]
struct Pending {
    /// The catalog whose tokens have been counted.
    counted: Weak<Visibility>,
    /// How many lists of a newer catalog have been sent since.
    lists: u64,
}

impl ListCost {
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let tokens = "Tokens of the list of a client without a session, by o200k_base x 1.2";
        let saved = "Tokens by which lists were shorter than a list of every tool";
        let hidden = "Calls by name of tools that are not in the caller's list";
        let counter = |name: &str, help: &str| IntCounter::with_opts(opts(name, help));
        Ok(Self {
            tokens: register(registry, IntGauge::with_opts(opts("list_tokens", tokens))?)?,
            saved: register(registry, counter("tokens_saved_total", saved)?)?,
            hidden_calls: register(registry, counter("hidden_calls_total", hidden)?)?,
            pending: Mutex::default(),
        })
    }

    /// Counts a list that a client got.
    pub fn count_list(&self, visible: &VisibleTools, tool_list: &ToolList) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if std::ptr::eq(pending.counted.as_ptr(), Arc::as_ptr(visible.visibility())) {
            self.saved.inc_by(saved_tokens(visible.visibility(), tool_list));
        } else {
            pending.lists += 1;
        }
    }

    /// Counts a call of a tool that exists but is not in the caller's list.
    pub fn count_call(&self, visible: &VisibleTools, tool_list: &ToolList, name: &str) {
        let hidden = match visible.find(name) {
            Some(position) => !tool_list.lists(position),
            None => visible.visibility().catalog.place(name).is_some(),
        };
        if hidden {
            self.hidden_calls.inc();
        }
    }

    /// Counts the tokens of a new catalog, and with them the lists that were sent meanwhile. Ten
    /// thousand new tools take a second.
    pub fn count_tokens(&self, lists: &CallerLists) {
        let visibility = lists.visible.visibility();
        let tool_list = lists.tool_list(ListScope::Stateless);
        let saved = saved_tokens(visibility, &tool_list);
        self.tokens.set(tool_list.tokens().into());
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.counted = Arc::downgrade(visibility);
        self.saved.inc_by(saved * std::mem::take(&mut pending.lists));
    }
}

fn saved_tokens(visibility: &Visibility, tool_list: &ToolList) -> u64 {
    visibility.unfiltered_tokens().saturating_sub(tool_list.tokens().into())
}
