//! The subcommands that run once and exit: [`check`], [`explain`] (`mcp-hub why`), [`eval`],
//! [`drain`] and [`install_bridge`]. [`tool_listing`] gets the tools that `check` and `why` look
//! at.

pub mod check;
pub mod drain;
pub mod eval;
pub mod explain;
pub mod install_bridge;
mod tool_listing;
