//! Events that wait until they are sent. They are stored with the state that they report, so an
//! operator that is killed between the two loses none of them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::api::Event;

/// Maximum number of events. The oldest ones are dropped, because the ConfigMap that stores them
/// has a maximum size.
const MOST: usize = 32;

/// The events that may not have been sent yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Outbox {
    /// Serial of the newest event, also if that event has been sent.
    serial: u64,
    /// Oldest first.
    events: Vec<PendingEvent>,
}

/// An event that may not have been sent yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingEvent {
    /// Counts from 1.
    pub serial: u64,
    /// When it happened.
    pub at: Timestamp,
    #[serde(default)]
    pub warning: bool,
    pub reason: String,
    #[serde(default)]
    pub message: String,
}

impl Outbox {
    /// The events, oldest first.
    pub fn events(&self) -> &[PendingEvent] {
        &self.events
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn has(&self, event: &Event) -> bool {
        self.events.iter().any(|pending| pending.is(event))
    }

    /// Drops events that have been sent.
    pub(crate) fn retain(&mut self, keep: impl FnMut(&PendingEvent) -> bool) {
        self.events.retain(keep);
    }

    /// Adds an event. Returns the number of events that were dropped to make room for it.
    pub(crate) fn push(&mut self, at: Timestamp, event: &Event) -> usize {
        self.serial = self.serial.saturating_add(1);
        self.events.push(PendingEvent {
            serial: self.serial,
            at,
            warning: event.warning,
            reason: event.reason.clone(),
            message: event.note(),
        });
        let surplus = self.events.len().saturating_sub(MOST);
        self.events.drain(..surplus).count()
    }
}

impl PendingEvent {
    /// The name of the Kubernetes Event. It is the same whenever the event is sent, so that the API
    /// server refuses to store it twice. A lost state starts to count again, so the time and the
    /// words are part of the name.
    pub fn name(&self, hub: &str, uid: &str) -> String {
        let Self { serial, at, reason, message, .. } = self;
        let text = format!("{uid}/{serial}/{at}/{reason}/{message}");
        let digest = Sha256::digest(text.as_bytes());
        let id = digest.iter().take(8).fold(0, |id: u64, byte| (id << 8) | u64::from(*byte));
        format!("{hub}.{id:016x}")
    }

    /// What it says.
    pub fn event(&self) -> Event {
        let Self { warning, reason, message, .. } = self.clone();
        Event { warning, reason, message }
    }

    /// Whether it says the same.
    pub(crate) fn is(&self, event: &Event) -> bool {
        self.reason == event.reason && self.message == event.note()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::tests::at;

    fn event(message: String) -> Event {
        Event { warning: true, reason: "RolledBack".into(), message }
    }

    #[test]
    fn a_full_outbox_drops_its_oldest_events_and_says_how_many() {
        let mut outbox = Outbox::default();
        let dropped: usize = (0..40).map(|n| outbox.push(at(n), &event(n.to_string()))).sum();
        assert_eq!((dropped, outbox.events().len()), (8, MOST));
        assert_eq!(outbox.events()[0].message, "8");
    }

    #[test]
    fn the_same_event_at_another_time_has_another_name() {
        let (mut one, mut after_a_loss) = (Outbox::default(), Outbox::default());
        one.push(at(0), &event("errors".into()));
        after_a_loss.push(at(1), &event("errors".into()));
        let name = |outbox: &Outbox| outbox.events()[0].name("team", "uid");
        assert_ne!(name(&one), name(&after_a_loss));
        assert_eq!(name(&one), name(&one.clone()));
    }

    #[test]
    fn a_serial_is_not_used_again_after_its_event_was_sent() {
        let mut outbox = Outbox::default();
        outbox.push(at(0), &event("one".into()));
        outbox.retain(|_| false);
        outbox.push(at(0), &event("two".into()));
        assert_eq!(outbox.events()[0].serial, 2);
    }
}
