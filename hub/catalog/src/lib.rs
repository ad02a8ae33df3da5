//! The tools of all servers, and what each caller sees of them. Pure: the same input gives the same
//! output, without a clock, randomness or I/O.
//!
//! [`catalog`] holds every tool that exists, [`visibility`] decides what one principal may see, and
//! [`tool_list`] what of that is in the caller's list. [`list_cache`] computes each list once.
//!
//! * [`names`], [`pattern`]: exposed names, and the patterns that match them.
//! * [`builtin_category`], [`category`], [`access`]: what tools are filtered by. [`principal`]: who
//!   calls.
//! * [`tokens`]: what a list costs. [`list_pages`]: a list as JSON.
//! * [`meta_tools`]: the hub's own tools. [`grouping`]: many tools as one entry. [`instructions`]:
//!   the text that a client's model gets first.
//! * [`arguments`]: validation and correction of a call's arguments.
//! * [`explain`]: which rule hides or shows a tool. [`client_limits`]: what model vendors refuse.
//! * [`flags`]: the feature flags in force. [`config`]: config files, and the errors in them.

pub mod access;
pub mod arguments;
mod builtin_category;
pub mod catalog;
pub mod category;
pub mod client_limits;
pub mod config;
pub mod explain;
#[cfg(test)]
mod fixtures;
pub mod flags;
pub mod grouping;
pub mod instructions;
pub mod list_cache;
mod list_pages;
pub mod meta_tools;
pub mod names;
mod pattern;
pub mod principal;
pub mod tokens;
pub mod tool_list;
pub mod visibility;
