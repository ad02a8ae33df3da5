//! What is done about one hub.

use crate::api::{Delete, Event, ObjectWrite, Prepared};
use crate::next::Next;
use crate::status::StatusDraft;

/// Everything that is done about one hub, in this order: writes, deletes, events, status. A plan
/// leaves no choice to its execution, and planning again after applying it changes nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Writes, in order. An error ends the reconcile, so that nothing depends on a write that did
    /// not happen. An object that does not differ from the live one
    /// ([`crate::api::drift::differs`]) needs no write.
    pub objects: Vec<ObjectWrite<Prepared>>,
    /// Deletes, after the writes.
    pub deletes: Vec<Delete>,
    /// Events, after the deletes.
    pub events: Vec<Event>,
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
