//! The hub image: one static binary with one subcommand per role.
//!
//! * [`serve`]: the hub. It serves many MCP servers behind one `/mcp`.
//! * [`route`]: splits traffic between the revisions of a hub, sticky per session.
//! * [`bridge`]: runs a stdio MCP server behind a Streamable HTTP endpoint, inside that server's
//!   own container.
//! * [`connect`]: lets a stdio client reach a hub.
//! * [`cli`]: the subcommands that run once and exit.
//!
//! Shared by them: [`args`] (the command line), `admin` (the admin port), [`dataplane`] (the data
//! plane state in force), `stdio` (child processes that are MCP servers), `keys` (the key ring),
//! `mounted_files` (files that Kubernetes swaps under a running pod), `local_service` (HTTP
//! without a network), `circuit_breaker`, `config_file`, `host_header`, `explanation`
//! (why a tool is hidden or shown), `selector` (which tools fit a prompt), `learned_state` (what
//! pods learn together) and [`llm`] (the language model that selects and categorizes tools).

mod admin;
pub mod args;
pub mod bridge;
mod circuit_breaker;
pub mod cli;
mod config_file;
pub mod connect;
pub mod dataplane;
mod explanation;
mod host_header;
mod keys;
mod learned_state;
pub mod llm;
mod local_service;
mod mounted_files;
pub mod route;
mod selector;
pub mod serve;
pub mod stdio;
pub mod telemetry;
