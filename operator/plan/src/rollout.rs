//! The rollout engine: a pure state machine. One decision takes the stored state and what was
//! observed, and returns the next state.
//!
//! ```text
//!  nothing Promoted ─► first deployment: pods Ready ─► self-check ─► 100% ─┐
//!                         └─ deadline, 3 failed tries ─► Failed            │
//!  spec changes              (keeps trying)                                ▼
//!  Healthy ─► launch: pods Ready ─► self-check ─► steps 1 … n ─► 100% ─► guard ─► Healthy
//!                │ (weight 0)                       │ each: pods for it ─► weight ─► routers obey
//!                │                                  │   ─► bake (observed time) ─► gates ─► pause?
//!                │                                  ├─ Hold ends by itself, or by its timeout
//!                └─ withdrawal ◄────────────────────┴─ trigger, deadline, gateTimeout, abort,
//!                     │                                newer spec
//!                     └─► cut: stable 100 ─► failed (kept for `keepFor`)
//!                           ─► removed once routers obey
//!  guard ── trigger ─► flags back ─► (flagGrace) ─► previous 100
//! ```
//!
//! | module | what it owns |
//! |---|---|
//! | [`state`] | what is stored (`engine.json`) |
//! | `input`, `decision` | what the engine decides from, and what it decides |
//! | [`policy`] | `spec.rollout` with every default filled in, or what is wrong with it |
//! | [`intent`], `commands` | what a person asks for by annotation, and what it does |
//! | `probes`, `candidates` | what must be asked before a decision |
//! | [`rules`] | queries, and what their results mean |
//! | `advance` | one decision: the order of all transitions |
//! | `engine` | the state while it changes |
//! | `adopt` | a new state for a hub whose state is lost |
//! | `target`, `spec_change` | which revision must serve, and what a new spec starts and ends |
//! | `steps` | the steps of a canary, from its launch to 100% |
//! | [`outbox`] | Events that wait until they are sent |
//! | `rollback` | what counts against a revision, and how it loses its traffic and flags |
//! | `guard` | the time after 100% |
//! | `scale` | weights and replicas, which follow from the state |
//! | `flags` | values of flags in force, and those that stay rolled back |
//! | `schedule` | when to reconcile again |
//! | [`report`], `messages` | what the status shows; each transition words its own Event |
//! | `attempt`, `clock`, `text` | small types and functions that several of these need |
//!
//! [`advance()`] takes transitions until none is left, so the same input gives nothing new the
//! second time.

mod adopt;
mod advance;
mod attempt;
mod candidates;
mod clock;
mod commands;
mod decision;
mod engine;
mod flags;
mod guard;
mod input;
pub mod intent;
mod messages;
pub mod outbox;
pub mod policy;
mod probes;
mod rebuild;
pub mod report;
mod rollback;
pub mod rules;
mod scale;
mod schedule;
mod spec_change;
pub mod state;
mod steps;
mod suggestion;
mod target;
#[cfg(test)]
mod tests;
pub(crate) mod text;

pub use self::advance::advance;
pub use self::attempt::{AttemptRecord, AttemptResult};
pub use self::candidates::candidates;
pub use self::decision::Decision;
pub use self::input::{
    BrokenPod, EngineInput, RevisionFacts, RouterFacts, SelfCheckFact, ServerProblem,
};
pub use self::probes::{RolloutProbes, probes};
pub(crate) use self::scale::fast_rollbacks;
