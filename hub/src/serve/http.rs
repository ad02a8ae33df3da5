//! The hub's port: everything that knows about HTTP.

pub mod edge;
pub mod explain;
pub mod filtering_stats;
pub mod mcp;
pub mod rest;
pub mod self_check;
pub mod stateless;
