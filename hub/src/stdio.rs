//! Runs a stdio MCP server as child processes, one per session, behind a Streamable HTTP handler.
//!
//! Messages pass unchanged. A request goes through `http -> sessions -> session -> process`.
//! `launcher` bounds and starts processes, `sessions` stops idle ones, and `reaper` waits for every
//! process that ends.

mod call;
mod error;
mod http;
mod idle_responses;
mod launcher;
mod line_reader;
mod messages;
mod metrics;
mod process;
mod reaper;
mod session;
mod sessions;

pub(crate) use self::http::{StdioServer, router};
pub(crate) use self::reaper::Reaper;
