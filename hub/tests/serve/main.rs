//! `serve` in front of real MCP servers, asked by real MCP clients and by raw HTTP.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "helpers of tests fail the test"
)]

mod arguments;
mod cli;
mod edge;
mod filtering;
mod fixture;
mod flags;
mod life;
mod llm;
mod meta;
mod meta_table;
mod metric_names;
mod operator;
mod passing;
mod protocol;
#[allow(dead_code, reason = "the tests of llm need more of it")]
#[path = "../llm/provider.rs"]
mod provider;
mod scripted;
mod selection;
mod support;
mod upstreams;
mod vendors;
mod views;
