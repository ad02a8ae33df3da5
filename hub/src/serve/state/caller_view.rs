//! What one caller sees at one moment. An answer is computed from one such view, so that it agrees
//! with itself.

use std::sync::Arc;

use mcphub_hub_catalog::principal::Principal;
use mcphub_hub_catalog::tool_list::{ListScope, ToolList};
use mcphub_hub_catalog::visibility::VisibleTools;

use super::hub::Hub;
use super::sessions::Session;
use super::snapshot::HubSnapshot;
use crate::serve::metrics::ToolMetrics;

/// What one caller sees at one moment.
#[derive(Clone)]
pub struct CallerView {
    pub snapshot: Arc<HubSnapshot>,
    /// The tools that the caller may know of.
    pub visible: Arc<VisibleTools>,
    /// Which of them are in the caller's list.
    pub tool_list: Arc<ToolList>,
}

impl CallerView {
    /// `None` if there is no such view (any more).
    pub fn new(
        hub: &Hub,
        snapshot: Arc<HubSnapshot>,
        principal: &Principal,
        view: Option<&str>,
        session: Option<&Session>,
    ) -> Option<Self> {
        let lists = snapshot.lists.caller(view, principal)?;
        let tool_list = match session {
            None => lists.tool_list(ListScope::Stateless),
            Some(session) => lists.tool_list(ListScope::Session(&hub.additions(session).current())),
        };
        Some(Self { snapshot, visible: Arc::clone(&lists.visible), tool_list })
    }

    /// The metrics of the tool at this position of the visible tools.
    pub fn metrics_of(&self, position: usize) -> Option<&ToolMetrics> {
        self.snapshot.tool_metrics.get(self.visible.place(position)?)?.as_ref()
    }
}

/// Whether the session has to be notified that its list has changed. True once per change: the
/// caller sends the notification.
pub fn take_list_change(hub: &Hub, session: &Session) -> bool {
    session.has_listed()
        && CallerView::new(
            hub,
            hub.snapshot(),
            &session.principal,
            session.view.as_deref(),
            Some(session),
        )
        .is_some_and(|view| session.take_list_change(view.tool_list.digest))
}
