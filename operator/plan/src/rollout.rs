//! The rollout engine: one step of a pure state machine over what was observed.
//!
//! ```text
//!  no Promoted revision ──► first deployment: pods Ready ─► self-check ─► 100 % ─────────────┐
//!                              └─ deadline, 3 failed tries ─► Failed (goes on trying)       │
//!  spec changes                                                                             ▼
//!  Healthy ──► launch (weight 0): pods Ready ─► self-check ─► step 1 … n ─► 100 % ─► guard ─► Healthy
//!                 │                                │  each: pods for it ─► weight ─► routers obey
//!                 │                                │        ─► bake (observed time) ─► gates ─► pause?
//!                 │                                ├─ Hold ends by itself, or by its timeout
//!                 └─ leave ◄───────────────────────┴─ trigger, deadline, gateTimeout, abort, newer spec
//!                      └─► cut: stable 100 ─► failed (kept for `keepFor`) ─► gone once routers obey
//!  guard ── trigger ─► flags back ─► (flagGrace) ─► previous 100
//! ```
//!
//! One file a matter:
//!
//! | file | owns |
//! |---|---|
//! | [`state`] | what is remembered (`engine.json`) |
//! | [`policy`] | `spec.rollout` with every default filled in; what of it is refused |
//! | [`intent`] | what a person asks for by annotation |
//! | [`presets`] | the PromQL of every metric |
//! | [`questions`] | what has to be asked before [`advance`], and when |
//! | [`verdict`], [`trigger`], [`gate`], [`bake`] | what the answers mean |
//! | [`adopt`] | a state for a hub whose state is lost |
//! | [`change`] | what a new spec or an intent starts and ends |
//! | [`launch`], [`step`], [`hold`] | the way of a canary up to 100 % |
//! | [`rollback`], [`guard`] | the way back, and the time after 100 % |
//! | [`scale`] | weights, flags and replicas that follow from the state |
//! | [`next`], [`report`] | when to look again, and what to say |
//!
//! [`advance`] takes transitions until none is left, so the same observation gives nothing new the second time.

mod adopt;
mod advance;
mod attempt;
mod candidates;
mod clock;
mod commands;
mod decision;
mod engine;
mod guard;
mod input;
pub mod intent;
mod messages;
pub mod policy;
mod probes;
pub mod report;
mod rollback;
pub mod rules;
mod scale;
mod schedule;
mod spec_change;
pub mod state;
mod steps;
mod target;
#[cfg(test)]
mod tests;
mod text;

pub use self::advance::advance;
pub use self::attempt::{AttemptRecord, AttemptResult};
pub use self::candidates::candidates;
pub use self::decision::Decision;
pub use self::input::{BrokenPod, EngineInput, RevisionFacts, RouterFacts, SelfCheckFact};
pub use self::probes::{RolloutProbes, probes};
