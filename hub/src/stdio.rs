//! Runs a stdio MCP server as child processes, one per session, behind a Streamable HTTP handler.
//!
//! Messages pass unchanged. A request goes through `http -> sessions -> session -> process`.
//! `launcher` bounds the starts of a `program`, `restarts` delays them, `sessions` stops idle
//! processes, and `reaper` waits for every process that ends. `guard` ends processes whose hub was
//! killed.

mod call;
mod error;
pub mod guard;
mod http;
mod idle_responses;
mod launcher;
mod line_reader;
mod messages;
mod metrics;
mod process;
mod program;
mod reaper;
mod restarts;
mod session;
mod sessions;

pub(crate) use self::http::{StdioServer, router};
pub(crate) use self::process::{MAX_MESSAGE_BYTES, MAX_QUEUED, Process, ProcessEvent};
pub(crate) use self::program::{ChildProgram, Program};
pub(crate) use self::reaper::{Orphans, Reaper};
