//! What one caller sees at one moment: the same snapshot for all that an answer is made of.

use std::sync::Arc;

use mcphub_core::access::Caller;
use mcphub_core::exposure::{Asker, Exposure};
use mcphub_core::sight::Sight;

use super::additions::Additions;
use super::hub::Hub;
use super::live::Live;
use super::sessions::Session;

/// What one caller sees.
#[derive(Clone)]
pub struct Seen {
    /// What is in force.
    pub live: Arc<Live>,
    /// What the caller may know of.
    pub sight: Arc<Sight>,
    /// What of it is in the list.
    pub exposure: Arc<Exposure>,
}

impl Seen {
    /// What a caller on this path sees, with the additions of its session. `None`: the view is gone.
    pub fn of(
        hub: &Hub,
        live: Arc<Live>,
        view: Option<&str>,
        session: Option<&Session>,
    ) -> Option<Self> {
        let sight = live.sight(view, &Caller::anonymous())?;
        let exposure = match session {
            None => sight.exposure(Asker::Stateless),
            Some(session) => sight.exposure(Asker::Session(&hub.additions(session).now())),
        };
        Some(Self { live, sight, exposure })
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
                .is_some_and(|seen| session.tells(seen.exposure.digest))
    }
}
