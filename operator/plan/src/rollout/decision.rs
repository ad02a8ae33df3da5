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
    /// For `engine.json`.
    pub state: EngineState,
    /// For `dataplane.json`.
    pub dataplane: Dataplane,
    /// Revisions whose Deployment, Service and config must exist, with replicas. All others may go.
    pub live: BTreeMap<Revision, u32>,
    /// What status says of it.
    pub report: Report,
    /// To be sent once the state is written.
    pub events: Vec<Event>,
    /// When the engine wants to be asked again.
    pub next: Next,
}
