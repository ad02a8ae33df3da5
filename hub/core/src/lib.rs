//! The pure part of the hub: same input, same output. No clock, no chance, no IO.
//!
//! The way of a request through it: [`message`] reads the envelope, [`era`] says which protocol it speaks,
//! [`sight`] has what the caller may know of the [`catalogue`], [`exposure`] what of that is in its list, [`rewrite`]
//! edits what goes up and comes back, [`outcome`] says how it counts.
//!
//! * [`names`], [`pattern`], [`object`]: what those are made of. Payloads are never parsed and rebuilt: edits
//!   are spliced into the text at the places that [`object`] finds.
//! * [`category`], [`access`]: what tools are filtered by. [`tokens`]: what a list costs. [`meta`]: the hub's own
//!   tools. [`instructions`]: what a client's model is told at the beginning.
//! * [`why`]: which rule hid or showed a tool.
//! * [`mcp_headers`]: what the modern protocol mirrors from bodies into headers.
//! * [`sse`]: event streams. [`flags`]: feature flags in force.
//! * [`config`]: standalone config files, and what is wrong in any config.
//! * [`llm`]: what a language model is asked, and what of its answer counts.
//! * [`session_id`], [`routing`]: which pod a session belongs to, and where a request goes.

pub mod access;
pub mod arguments;
pub mod catalogue;
pub mod category;
pub mod config;
pub mod era;
pub mod exposure;
pub mod flags;
pub mod hierarchy;
pub mod instructions;
pub mod llm;
pub mod mcp_headers;
pub mod message;
pub mod meta;
pub mod names;
pub mod object;
pub mod outcome;
pub mod pattern;
pub mod rewrite;
pub mod routing;
pub mod session_id;
pub mod sight;
pub mod sse;
pub mod tokens;
pub mod vendor;
pub mod why;
