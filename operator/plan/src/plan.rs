//! What is done about one hub.

use crate::api::{Delete, Event, ObjectWrite, Prepared};
use crate::next::Next;
use crate::status::StatusDraft;

/// All that is to be done about one hub, in order: objects, deletes, events, status.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// To be applied one after the other; an error ends the reconcile there, so that nothing is done on the strength
    /// of a write that did not happen. Those that [`crate::drift::differs`] calls equal to what is there need no
    /// write.
    pub objects: Vec<ObjectWrite<Prepared>>,
    /// To be deleted after that, with their preconditions.
    pub deletes: Vec<Delete>,
    /// To be sent after that.
    pub events: Vec<Event>,
    /// When to look again.
    pub next: Next,
    /// Term of a newer leader, if one has written its term. Nothing is done then, and this operator leads no more.
    pub superseded_by: Option<u64>,
    /// What it waits for, for a person; logged, not acted on.
    pub waits: Vec<String>,
    /// What status is made of once the objects are acknowledged; see [`crate::status`].
    pub status: StatusDraft,
}
