//! The small subcommands: [`check`], [`explain`] (`mcp-hub why`), [`eval`], [`drain`],
//! [`install_bridge`] and [`sample_server`]. [`tool_listing`] gets the tools that `check` and `why`
//! look at, and [`server_table`] is the table that `check` prints.

pub mod check;
pub mod drain;
pub mod eval;
pub mod explain;
pub mod install_bridge;
pub mod sample_server;
mod server_table;
mod tool_listing;
