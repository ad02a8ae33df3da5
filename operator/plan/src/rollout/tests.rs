//! Stories of the rollout engine. [`simulation`] is the cluster of a story, and [`story`] is the
//! language of stories.

use jiff::Timestamp;

mod engine_json;
mod flags;
mod hands_on;
mod invariants;
mod life_of_a_change;
mod policies;
mod prometheus;
mod recall;
mod recorded;
mod reports;
mod simulation;
mod situations;
mod story;

/// Second 0 of every story.
pub(crate) const START: i64 = 1_800_000_000;

/// An instant, in seconds from the start of a story.
pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(START + second).unwrap()
}
