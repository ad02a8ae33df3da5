//! The whole system on a real cluster: helm, API server, pods, real MCP servers, Prometheus.
//!
//! One cluster and one installed operator for all of it, a namespace for each scenario; see [`scene`]. What can be seen
//! without pods is tested without them: in `operator_api`, and in the crates themselves.

#![allow(clippy::large_futures, reason = "a scenario is one future, and each test has but one")]
#![allow(clippy::panic, reason = "so a scenario fails")]

mod deletion;
mod drift;
mod first_deployment;
mod hands_on;
mod hub;
mod leader;
mod modern;
mod real_servers;
mod samples;
mod scene;
mod selection;
mod survival;
mod uninstall;
