//! The pure part of the operator: [`snapshot::Snapshot`] in, [`plan::Plan`] out. No IO, no clock, no chance.
//!
//! * [`snapshot`]: all that was seen of one hub, and what more has to be asked before planning ([`questions`]).
//! * [`plan`](mod@plan): what is to be written, deleted and told, in order; [`plan`](fn@plan) makes it.
//! * [`accept`]: from what the user wrote to what can be built, or what is wrong with it.
//! * [`revision`], [`compile`], [`record`]: hash, compiled config and ControllerRevision of a revision.
//! * [`children`]: the objects that a hub is made of, one file per kind.
//! * [`rollout`]: the engine: which revisions live, with which role, weight and flags, and why.
//! * [`facts`]: from pods and answers to what the engine is told.
//! * [`drift`]: what others changed in our objects.
//! * [`check`]: what a plan must never do, looked for by code of its own.

pub mod accept;
pub mod canonical;
pub mod check;
pub mod children;
pub mod compile;
pub mod drift;
mod inert;
mod input;
pub mod labels;
pub mod names;
mod orphans;
pub mod plan;
mod planner;
pub mod probes;
pub mod record;
pub mod revision;
pub mod rollout;
pub mod snapshot;
mod status;

pub use check::check;
pub use input::PlanInput;
pub use planner::plan;
pub use status::{StatusDraft, status};
