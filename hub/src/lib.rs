//! The hub image: one static binary, one subcommand per role.
//!
//! * [`serve`]: the hub. Aggregates MCP servers behind `/mcp`.
//! * [`route`]: splits traffic between the revisions of a hub, sticky per session.
//! * [`bridge`]: gives a stdio MCP server a Streamable HTTP endpoint, inside that server's own container.
//! * [`check`]: says what is wrong in a config file. [`why`]: which rule hides or shows a tool. [`listing`]: the tools
//!   that both may look at.
//! * [`eval`]: how well the embedded selector finds the tools that questions need.
//! * [`drain`], [`install_bridge`]: what a shell would do, where the image has none.
//! * [`llm`]: the language model that selects or categorizes tools.
//! * [`runtime`], [`keys`], [`admin`]: shared by `serve` and `route`: the live data plane state, the key ring, the
//!   admin port. [`selector`]: which tools fit a prompt, with what [`learned`] says. [`mounted`]: files that Kubernetes swaps under a running pod.

pub mod admin;
pub mod args;
pub mod bridge;
pub mod check;
pub mod drain;
pub mod eval;
pub mod install_bridge;
pub mod keys;
pub mod learned;
pub mod listing;
pub mod llm;
pub mod mounted;
pub mod route;
pub mod runtime;
pub mod selector;
pub mod serve;
pub mod telemetry;
pub mod why;
