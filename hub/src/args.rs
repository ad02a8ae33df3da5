//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use mcphub_hub_wire::dataplane::Revision;

/// Many MCP servers behind one endpoint.
#[derive(Debug, Parser)]
#[command(name = "mcp-hub", version, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// One role each.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the hub: every configured MCP server behind /mcp.
    Serve(Serve),
    /// Split traffic between the revisions of a hub, sticky per session.
    Route(Route),
    /// Run a stdio MCP server behind a Streamable HTTP endpoint.
    Bridge(Bridge),
    /// Say what is wrong in a config file, and what to write instead.
    Check(Check),
    /// Say which rule hides or shows a tool.
    Why(Why),
    /// Measure how well the embedded selector finds the tools that questions need.
    Eval(Eval),
    /// Ask this pod to finish: wait until its sessions are gone (preStop hook).
    Drain(Drain),
    /// Copy this binary to a file (init container of a bridged server).
    InstallBridge(InstallBridge),
}

/// `mcp-hub serve`.
#[derive(Debug, Clone, Args)]
pub struct Serve {
    /// Config: compiled by the operator, or JSON with `mcpServers` (or `servers`) when run standalone.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Folder with dataplane.json.
    #[arg(long, value_name = "DIR")]
    pub runtime: Option<PathBuf>,
    /// Folder with keys.json. Without it a random key is made, and sessions end with the process.
    #[arg(long, value_name = "DIR")]
    pub keys: Option<PathBuf>,
    /// Name of the McpHub. Without it the hub runs standalone: the config is read again when it changes.
    #[arg(long)]
    pub hub: Option<String>,
    /// Namespace of the McpHub.
    #[arg(long, env = "POD_NAMESPACE")]
    pub namespace: Option<String>,
    /// Revision that this pod belongs to.
    #[arg(long)]
    pub revision: Option<Revision>,
    /// Name of this pod.
    #[arg(long, env = "POD_NAME")]
    pub pod: Option<String>,
    /// Address of /mcp and REST [default: 0.0.0.0:7000 with --hub, else 127.0.0.1:7000].
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Address of metrics, health detail and self-check [default: 0.0.0.0:7001 with --hub, else 127.0.0.1:7001].
    #[arg(long, value_name = "ADDRESS")]
    pub admin_listen: Option<SocketAddr>,
}

/// `mcp-hub route`.
#[derive(Debug, Clone, Args)]
pub struct Route {
    /// Name of the McpHub.
    #[arg(long)]
    pub hub: String,
    /// Namespace of the McpHub.
    #[arg(long, env = "POD_NAMESPACE")]
    pub namespace: String,
    /// Folder with dataplane.json.
    #[arg(long, value_name = "DIR")]
    pub runtime: PathBuf,
    /// Folder with keys.json.
    #[arg(long, value_name = "DIR")]
    pub keys: PathBuf,
    /// Address that clients reach.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:7000")]
    pub listen: SocketAddr,
    /// Address of metrics, health detail and generation.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:7001")]
    pub admin_listen: SocketAddr,
}

/// `mcp-hub bridge`.
#[derive(Debug, Clone, Args)]
pub struct Bridge {
    /// Address of the Streamable HTTP endpoint.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Most child processes at a time.
    #[arg(long, default_value_t = 20)]
    pub max_processes: u32,
    /// A child without a request for so long is stopped, and started again by the next call.
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = duration)]
    pub idle_timeout: Duration,
    /// Longest wait for the child's answer.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub call_timeout: Duration,
    /// The server's command and its arguments.
    #[arg(required = true, last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// `mcp-hub check`.
#[derive(Debug, Clone, Args)]
pub struct Check {
    /// The file: JSON with `mcpServers` (or `servers`), or a compiled config.
    pub file: PathBuf,
    /// Also ask the servers for their tools, and name those that big vendors refuse.
    #[arg(long)]
    pub connect: bool,
    /// The same of tools by server, as {"server": {"tools": […]}}, instead of asking the servers.
    #[arg(long, value_name = "FILE", conflicts_with = "connect")]
    pub catalog: Option<PathBuf>,
}

/// `mcp-hub eval`.
#[derive(Debug, Clone, Args)]
pub struct Eval {
    /// Tools: JSON lines of `{id, server, name, description, inputSchema}`, plain or gz.
    #[arg(long, value_name = "FILE")]
    pub tools: PathBuf,
    /// Questions: JSON lines of `{id, text, gold}`, plain or gz; `gold` holds ids of tools, or lists of ids that serve
    /// equally.
    #[arg(long, value_name = "FILE")]
    pub queries: PathBuf,
    /// One JSON object instead of a table.
    #[arg(long)]
    pub json: bool,
    /// How much of the selector is used.
    #[arg(long, value_enum, default_value_t = Backend::Full)]
    pub backend: Backend,
    /// The first so many questions of each tool are remembered, the rest is scored.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub remember: usize,
    /// Folder of weights to measure in place of the binary's: `static.bin`, `encoder.onnx`, `ranker-static.json`,
    /// `ranker-full.json`, `floor.json`, those that are there.
    #[arg(long, value_name = "DIR", hide = true)]
    pub weights: Option<PathBuf>,
}

/// How much of the embedded selector is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// Words only.
    Lexical,
    /// Words and static vectors.
    Static,
    /// The transformer too.
    Full,
    /// The transformer alone, to compare with.
    #[value(hide = true)]
    Embedding,
}

/// `mcp-hub why`.
#[derive(Debug, Clone, Args)]
pub struct Why {
    /// Name of the tool, as clients see it or as its server calls it.
    pub tool: String,
    /// Config, as for serve.
    #[arg(long, value_name = "FILE", required_unless_present = "url")]
    pub config: Option<PathBuf>,
    /// Admin address of a hub that runs, instead of a config, such as <http://127.0.0.1:7001>. It answers in its own pod only.
    #[arg(long, value_name = "URL", conflicts_with_all = ["config", "catalog"])]
    pub url: Option<String>,
    /// The view that it is looked for in.
    #[arg(long)]
    pub view: Option<String>,
    /// Who looks, as JSON: `{"sub": "ann", "groups": ["dev"], "claims": {}, "keyName": ""}` [default: anonymous].
    #[arg(long = "as", value_name = "JSON")]
    pub caller: Option<String>,
    /// A prompt: what the embedded selector adds to a session's list for it.
    #[arg(long)]
    pub prompt: Option<String>,
    /// Tools by server, as {"server": {"tools": […]}}, instead of asking the servers.
    #[arg(long, value_name = "FILE")]
    pub catalog: Option<PathBuf>,
}

/// `mcp-hub drain`.
#[derive(Debug, Clone, Args)]
pub struct Drain {
    /// Admin address of the hub or router in this pod.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7001")]
    pub admin: String,
    /// Longest wait for its sessions to end.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    pub timeout: Duration,
}

/// `mcp-hub install-bridge`.
#[derive(Debug, Clone, Args)]
pub struct InstallBridge {
    /// Where to put the copy; folders above it must exist.
    #[arg(value_name = "DEST_FILE")]
    pub dest: PathBuf,
}

/// A duration as Kubernetes writes it: `500ms`, `30s`, `15m`, `1h`, or several of them in a row (`1h30m`).
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is not a duration; write 500ms, 30s, 15m, 1h or 1h30m");
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(u8::is_ascii_lowercase).count();
        let (unit, tail) = tail.split_at(letters);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(wrong()),
        };
        total += Duration::from_millis(number.checked_mul(millis).ok_or_else(wrong)?);
        rest = tail;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_are_read_as_kubernetes_writes_them() {
        assert_eq!(duration("1h30m"), Ok(Duration::from_mins(90)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        for wrong in ["", "5", "m", "5d", "-1s", "1.5h", "99999999999999999h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
