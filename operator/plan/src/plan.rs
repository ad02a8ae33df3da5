//! What is done about one hub.

use std::collections::BTreeSet;

use crate::api::{Delete, Event, ObjectName, ObjectWrite, Prepared};
use crate::next::Next;
use crate::rollout::outbox::PendingEvent;
use crate::status::StatusDraft;

/// Everything that is done about one hub, in this order: writes, deletes, events, status. A plan
/// leaves no choice to its execution, and planning again after applying it changes nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Writes, in order. One that fails stops only those that need it; see [`Unwritten`]. An object
    /// that does not differ from the live one ([`crate::api::drift::differs`]) needs no write.
    pub objects: Vec<ObjectWrite<Prepared>>,
    /// Deletes, after the writes.
    pub deletes: Vec<Delete>,
    /// Writes without which nothing is deleted and no event is sent.
    pub deletes_need: BTreeSet<ObjectName>,
    /// Events that this plan adds.
    pub events: Vec<Event>,
    /// The events to send when the writes that [`Self::deletes_need`] names are acknowledged: those
    /// that this plan adds, and earlier ones that may not have been sent. `None` if the plan writes
    /// no state that could store them. Then [`Self::events`] are sent.
    pub outbox: Option<Vec<PendingEvent>>,
    /// Number of events that were dropped unsent, because there are too many.
    pub dropped_events: usize,
    /// When to reconcile again.
    pub next: Next,
    /// Term of a newer leader that has written to the runtime ConfigMap. The plan is empty then,
    /// and this operator does not lead any more.
    pub superseded_by: Option<u64>,
    /// What the plan waits for. It is only logged.
    pub waits: Vec<String>,
    /// The status, as far as it can be known before the writes; see [`crate::status()`].
    pub status: StatusDraft,
}

/// Objects of a plan that were not written, and what must not be done because of that.
#[derive(Debug, Clone, Default)]
pub struct Unwritten(BTreeSet<ObjectName>);

impl Unwritten {
    /// Adds an object that was not written.
    pub fn add(&mut self, object: ObjectName) {
        self.0.insert(object);
    }

    /// Whether a write must be left out.
    pub fn blocks(&self, write: &ObjectWrite<Prepared>) -> bool {
        !self.0.is_disjoint(write.needs())
    }

    /// Whether nothing may be deleted.
    pub fn blocks_deletes(&self, plan: &Plan) -> bool {
        !self.0.is_disjoint(&plan.deletes_need)
    }
}
