//! `serve` in front of real MCP servers, with real MCP clients and with raw HTTP.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "helpers of tests fail the test"
)]

mod arguments;
mod circuit_breaker;
mod cli;
mod client_limits;
mod edge;
mod filtering;
mod fixture;
mod flags;
mod lifecycle;
mod llm;
mod long_calls;
mod meta;
mod meta_table;
mod metric_names;
mod operator;
mod passthrough;
mod protocol;
#[allow(dead_code, reason = "the tests of llm need more of it")]
#[path = "../llm/provider.rs"]
mod provider;
mod scripted_server;
mod selection;
mod support;
mod upstreams;
mod views;
