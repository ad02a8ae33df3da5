//! What the engine decided.

use std::collections::BTreeMap;

use mcphub_hub_wire::dataplane::{Dataplane, Revision};

use super::report::Report;
use super::state::EngineState;
use crate::api::Event;
use crate::next::Next;

/// What the engine decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The content of `engine.json`.
    pub state: EngineState,
    /// The content of `dataplane.json`.
    pub dataplane: Dataplane,
    /// Revisions whose objects must exist, with replicas. All others can be deleted.
    pub live: BTreeMap<Revision, u32>,
    /// What the status shows.
    pub report: Report,
    /// Events to send after the state is written.
    pub events: Vec<Event>,
    /// When the next decision is due.
    pub next: Next,
}
