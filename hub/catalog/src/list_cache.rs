//! The lists of one snapshot. Each is computed once per principal and view, and again only when
//! config or catalog change.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::grouping::GroupCache;
use crate::principal::Principal;
use crate::tool_list::{ListScope, ToolList};
use crate::visibility::{Visibility, VisibleTools};

/// How many principals and views are cached; each costs a few bytes per tool. When the cache is
/// full, all are dropped.
const MAX_CALLERS: usize = 256;

/// The lists of one snapshot of config and catalog.
#[derive(Debug)]
pub struct ListCache {
    visibility: Arc<Visibility>,
    groups: Arc<GroupCache>,
    callers: Mutex<HashMap<CallerKey, Arc<CallerLists>>>,
}

/// The view, and the key of the principal.
type CallerKey = (Option<String>, String);

/// What one principal may see through one view, and its lists.
#[derive(Debug)]
pub struct CallerLists {
    pub visible: Arc<VisibleTools>,
    groups: Arc<GroupCache>,
    stateless: OnceLock<Arc<ToolList>>,
    /// The list of a session without additions.
    session: OnceLock<Arc<ToolList>>,
}

impl ListCache {
    /// A cache for this snapshot. The groups of `before` are reused if their tools have not
    /// changed.
    pub fn new(visibility: Arc<Visibility>, before: Option<&Self>) -> Self {
        let before = before.map(|before| &*before.groups);
        let groups = Arc::new(GroupCache::new(&visibility.catalog.entries, before));
        Self { visibility, groups, callers: Mutex::default() }
    }

    /// What the principal may see through a view. `None` if there is no such view.
    pub fn caller(&self, view: Option<&str>, principal: &Principal) -> Option<Arc<CallerLists>> {
        let key = (view.map(str::to_owned), principal.key());
        let callers = || self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lists) = callers().get(&key) {
            return Some(Arc::clone(lists));
        }
        // Built without the lock: it may take a millisecond, and callers with a cached list must
        // not wait for it.
        let lists = self.lists(self.visibility.visible_tools(view, principal)?);
        let mut callers = callers();
        if callers.len() >= MAX_CALLERS {
            callers.clear();
        }
        Some(Arc::clone(callers.entry(key).or_insert(Arc::new(lists))))
    }

    /// What the principal may see without a view.
    pub fn without_view(&self, principal: &Principal) -> Arc<CallerLists> {
        self.caller(None, principal)
            .unwrap_or_else(|| Arc::new(self.lists(self.visibility.whole(principal))))
    }

    /// Whether anybody can reach search. Only then are its models worth their memory.
    pub fn search_is_reachable(&self) -> bool {
        ToolList::new(&self.visibility.everything(), ListScope::Stateless, &self.groups).search
    }

    fn lists(&self, visible: VisibleTools) -> CallerLists {
        CallerLists {
            visible: Arc::new(visible),
            groups: Arc::clone(&self.groups),
            stateless: OnceLock::new(),
            session: OnceLock::new(),
        }
    }
}

impl CallerLists {
    /// The caller's list. It is cached unless it depends on a session's additions.
    pub fn tool_list(&self, scope: ListScope<'_>) -> Arc<ToolList> {
        let build = || Arc::new(ToolList::new(&self.visible, scope, &self.groups));
        match scope {
            ListScope::Session(additions) if !additions.is_empty() => build(),
            ListScope::Session(_) => Arc::clone(self.session.get_or_init(build)),
            ListScope::Stateless => Arc::clone(self.stateless.get_or_init(build)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures::{caller_lists, filtering, visibility};
    use crate::tool_list::Additions;

    #[test]
    fn a_list_that_does_not_depend_on_additions_is_computed_once() {
        let lists = caller_lists(&["a", "b"], &["get", "put"], |config| {
            filtering(config, json!({"mode": "PromptBased"}));
        });
        let stateless = || lists.tool_list(ListScope::Stateless);
        assert!(Arc::ptr_eq(&stateless(), &stateless()));
        let none = Additions::default();
        let session = || lists.tool_list(ListScope::Session(&none));
        assert!(Arc::ptr_eq(&session(), &session()));
    }

    #[test]
    fn lists_with_different_additions_have_different_digests() {
        let lists = caller_lists(&["a", "b"], &["get", "put"], |config| {
            filtering(config, json!({"mode": "PromptBased"}));
        });
        let digest = |name: &str| {
            let mut additions = Additions::default();
            additions.add_for_prompt([name].into_iter());
            lists.tool_list(ListScope::Session(&additions)).digest
        };
        assert_ne!(digest("a__get"), digest("a__put"));
        assert_eq!(digest("a__get"), digest("a__get"));
    }

    // Models in memory that nobody can reach cost every pod 60 MB.
    #[test]
    fn search_is_reachable_if_something_can_be_unlisted() {
        let reachable = |rules: serde_json::Value| {
            let visibility = visibility(&["a"], &["x", "y"], |config| filtering(config, rules));
            ListCache::new(visibility, None).search_is_reachable()
        };
        assert!(!reachable(json!({"mode": "None"})));
        assert!(!reachable(json!({"toolBudget": {"maxTools": 2, "maxTokens": 9000}})));
        assert!(reachable(json!({"toolBudget": {"maxTools": 1, "maxTokens": 9000}})));
        assert!(reachable(json!({"mode": "PromptBased"})));
        assert!(!reachable(json!({"mode": "PromptBased", "promptBased": {"metaTools": false}})));
        let denied = visibility(&["a"], &["x", "y"], |config| {
            filtering(config, json!({"toolBudget": {"maxTools": 1, "maxTokens": 9000}}));
            config.access =
                serde_json::from_value(json!([{"when": "caller.sub == 'ann'"}])).unwrap();
        });
        assert!(ListCache::new(denied, None).search_is_reachable(), "somebody may see it all");
    }
}
