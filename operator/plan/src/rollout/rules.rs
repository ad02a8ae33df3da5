//! From query results to verdicts.
//!
//! | file | what it does |
//! |---|---|
//! | [`query_plan`] | which queries are due, their time windows and their keys |
//! | [`presets`] | the PromQL of every metric |
//! | [`series`] | a query result as one series of numbers |
//! | [`trigger`] | whether a breach is open and has lasted for its `for` |
//! | [`gate`] | whether a gate is met |
//! | [`bake`] | how much time was observed at a step |
//! | [`evaluation`] | puts these together |
//! | [`judgment`] | the result, which is part of the engine's state |

pub(super) mod bake;
pub(super) mod evaluation;
mod gate;
pub(super) mod judgment;
pub mod presets;
pub(super) mod query_plan;
mod series;
mod trigger;
