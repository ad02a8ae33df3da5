//! The hub image: one static binary, one subcommand per role.
//!
//! * [`serve`]: the hub. Aggregates MCP servers behind `/mcp`.
//! * [`route`]: splits traffic between the revisions of a hub, sticky per session.
//! * [`bridge`]: gives a stdio MCP server a Streamable HTTP endpoint, inside that server's own container.
//! * [`cli::check`]: says what is wrong in a config file. [`cli::explain`]: which rule hides or shows a tool. [`cli::tool_listing`]: the tools
//!   that both may look at.
//! * [`cli::eval`]: how well the embedded selector finds the tools that questions need.
//! * [`cli::drain`], [`cli::install_bridge`]: what a shell would do, where the image has none.
//! * [`llm`]: the language model that selects or categorizes tools.
//! * [`dataplane`], [`keys`], [`admin`]: shared by `serve` and `route`: the live data plane state, the key ring, the
//!   admin port. [`selector`]: which tools fit a prompt, with what [`learned_state`] says. [`mounted_files`]: files that Kubernetes swaps under a running pod.

pub mod admin;
pub mod args;
pub mod bridge;
pub mod cli;
pub mod dataplane;
pub mod keys;
pub mod learned_state;
pub mod llm;
pub mod mounted_files;
pub mod route;
pub mod selector;
pub mod serve;
pub mod telemetry;
