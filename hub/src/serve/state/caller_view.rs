//! What one caller sees at one moment: the same snapshot for all that an answer is made of.

use std::sync::Arc;

use mcphub_hub_catalog::principal::Principal;
use mcphub_hub_catalog::tool_list::{ListScope, ToolList};
use mcphub_hub_catalog::visibility::VisibleTools;

use crate::serve::state::additions::Additions;
use crate::serve::state::hub::Hub;
use crate::serve::state::sessions::Session;
use crate::serve::state::snapshot::Live;

/// What one caller sees.
#[derive(Clone)]
pub struct Seen {
    /// What is in force.
    pub live: Arc<Live>,
    /// What the caller may know of.
    pub visible: Arc<VisibleTools>,
    /// What of it is in the list.
    pub tool_list: Arc<ToolList>,
}

impl Seen {
    /// What a caller on this path sees, with the additions of its session. `None`: the view is gone.
    pub fn of(
        hub: &Hub,
        live: Arc<Live>,
        view: Option<&str>,
        session: Option<&Session>,
    ) -> Option<Self> {
        let lists = live.lists.caller(view, &Principal::anonymous())?;
        let tool_list = match session {
            None => lists.tool_list(ListScope::Stateless),
            Some(session) => lists.tool_list(ListScope::Session(&hub.additions(session).now())),
        };
        let visible = Arc::clone(&lists.visible);
        Some(Self { live, visible, tool_list })
    }
}

impl Hub {
    /// What was added to the list of a session: its own, or that of all sessions of its view.
    pub fn additions(&self, session: &Session) -> Arc<Additions> {
        if session.internal || self.live().config.filtering.prompt_based.session_isolation {
            return Arc::clone(&session.additions);
        }
        Arc::clone(&self.shared_additions.entry(session.view.clone()).or_default())
    }

    /// Whether a session is to be told that its list is another one now; it counts as told from then on.
    pub fn tells(&self, session: &Session) -> bool {
        session.has_listed()
            && Seen::of(self, self.live(), session.view.as_deref(), Some(session))
                .is_some_and(|seen| session.tells(seen.tool_list.digest))
    }
}
