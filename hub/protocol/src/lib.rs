//! The MCP protocol as text. Pure: the same input gives the same output, without a clock,
//! randomness or I/O.
//!
//! [`message`] reads the envelope of a request, [`version`] decides which protocol version it uses,
//! [`rewrite`] edits requests to servers and their responses, and [`outcome`] decides how the
//! request counts. Payloads are never parsed and rebuilt: edits are spliced into the text at the
//! places that [`json_splice`] finds.
//!
//! * [`mcp_headers`]: the headers that mirror parts of a body (2026-07-28).
//! * [`sse`]: event streams.

pub mod json_splice;
pub mod mcp_headers;
pub mod message;
pub mod outcome;
pub mod rewrite;
pub mod sse;
pub mod version;
