//! The whole system on a real cluster: helm, API server, pods, real MCP servers, Prometheus.
//!
//! All scenarios share one cluster and one installed operator, and each has a namespace of its own:
//! see [`system_scenario`]. What can be shown without pods is tested without them, in `api` and in
//! the crates themselves.

#![allow(clippy::large_futures, reason = "a scenario is one future, and each test has only one")]
#![allow(clippy::panic, reason = "a scenario fails by a panic")]

mod system_deletion;
mod system_drift;
mod system_first_deployment;
mod system_hands_on;
mod system_hub;
mod system_leader;
mod system_real_servers;
mod system_samples;
mod system_scenario;
mod system_selection;
mod system_survival;
mod system_uninstall;
