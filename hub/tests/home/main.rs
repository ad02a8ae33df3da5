//! The hub as people run it at home: the real program, with stdio servers of its own, with the
//! files of MCP clients, and for clients that only run commands.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    reason = "tests"
)]

mod config_files;
mod legacy_sse;
mod processes;
mod stdio_clients;
mod stdio_server;
mod support;

/// Not a test: the stdio server that the tests run.
#[test]
#[ignore = "a stdio server for the other tests"]
fn stdio_server() {
    stdio_server::serve();
}
