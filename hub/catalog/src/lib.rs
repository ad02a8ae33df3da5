//! The tools of all servers, and what each caller sees of them. Pure: the same input gives the same output, without a
//! clock, randomness or I/O.
//!
//! [`catalog`] holds every tool that exists, [`visibility`] what one caller may know of it, and [`tool_list`] what of
//! that is in the caller's list.
//!
//! * [`names`], [`pattern`]: exposed names, and the patterns that match them.
//! * [`category`], [`access`]: what tools are filtered by. [`tokens`]: what a list costs.
//! * [`meta_tools`]: the hub's own tools. [`grouping`]: many tools as one. [`instructions`]: the text that a client's
//!   model gets at the start.
//! * [`arguments`]: validation and correction of a call's arguments.
//! * [`explain`]: which rule hides or shows a tool. [`client_limits`]: what common clients refuse.
//! * [`flags`]: feature flags in force. [`config`]: config files, and what is wrong in any config.

pub mod access;
pub mod arguments;
pub mod catalog;
pub mod category;
pub mod client_limits;
pub mod config;
pub mod explain;
pub mod flags;
pub mod grouping;
pub mod instructions;
pub mod meta_tools;
pub mod names;
pub mod pattern;
pub mod tokens;
pub mod tool_list;
pub mod visibility;
