//! The test cluster, the demo, and the tests that need more than one crate.

pub mod cluster;
pub mod demo;
pub mod install;
pub mod traffic;
pub mod written;
