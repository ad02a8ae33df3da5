//! Plans of whole hubs, against a cluster in memory.
//!
//! The rollout engine has tests of its own, in `src/rollout/tests`: they tell stories that take hours.
#![allow(clippy::expect_used, clippy::panic, reason = "a test")]

mod accept;
mod check;
mod cluster;
mod drift;
mod objects;
mod plans;
mod pod_facts;
mod revision_content;
mod status;
