//! The test cluster, the demo, and what the tests that need more than one crate have in common.

pub mod cluster;
pub mod demo;
pub mod install;
mod progress;
pub mod runtime_log;
pub mod traffic;
pub mod wait;
