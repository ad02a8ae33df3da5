//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use mcphub_hub_wire::dataplane::Revision;

/// Serves many MCP servers behind one endpoint.
#[derive(Debug, Parser)]
#[command(name = "mcp-hub", version, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve all configured MCP servers behind /mcp.
    Serve(Serve),
    /// Let a stdio client reach a hub or another server with Streamable HTTP.
    Connect(Connect),
    /// Split traffic between the revisions of a hub, sticky per session.
    Route(Route),
    /// Run a stdio MCP server behind a Streamable HTTP endpoint.
    Bridge(Bridge),
    /// Check a config file, and say what to write instead of what is wrong.
    Check(Check),
    /// Explain which rule hides or shows a tool.
    Why(Why),
    /// Measure how well the embedded selector finds tools for prompts.
    Eval(Eval),
    /// Drain this pod: wait until its sessions have ended (preStop hook).
    Drain(Drain),
    /// Copy this binary to a file (init container of a stdio server).
    InstallBridge(InstallBridge),
    /// A small stdio MCP server, to try a hub with.
    SampleServer,
    /// End the servers of a hub that was killed. Started by the hub.
    #[command(hide = true)]
    Guard,
}

/// `mcp-hub serve`.
#[derive(Debug, Clone, Args)]
pub struct Serve {
    /// Config file of an MCP client, or compiled by the operator. May be repeated: a server in a
    /// later file replaces one of the same name [default: the first file with servers where clients
    /// keep them].
    #[arg(long, value_name = "FILE")]
    pub config: Vec<PathBuf>,
    /// Serve one client on stdin and stdout, and no port unless there is --listen.
    #[arg(long, conflicts_with = "hub")]
    pub stdio: bool,
    /// Directory with dataplane.json.
    #[arg(long, value_name = "DIR")]
    pub runtime: Option<PathBuf>,
    /// Directory with keys.json. Without it, the key is random and sessions end with the process.
    #[arg(long, value_name = "DIR")]
    pub keys: Option<PathBuf>,
    /// Name of the McpHub. Without it, the hub is standalone and reloads the config when it
    /// changes.
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
    /// Address of /mcp and REST [default: 0.0.0.0:7000 with --hub, otherwise 127.0.0.1:7000].
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Address of metrics, health and self-check [default: 0.0.0.0:7001 with --hub, otherwise
    /// 127.0.0.1:7001].
    #[arg(long, value_name = "ADDRESS")]
    pub admin_listen: Option<SocketAddr>,
    /// Do not test the key of the language model at start. The test asks the provider one question.
    #[arg(long, conflicts_with = "hub")]
    pub skip_llm_check: bool,
}

/// `mcp-hub connect`.
#[derive(Debug, Clone, Args)]
pub struct Connect {
    /// Address of the server, such as <http://127.0.0.1:7000/mcp>.
    pub url: String,
    /// A header of every request, as `Name: value`. `${NAME}` is an environment variable. May be
    /// repeated.
    #[arg(long, short = 'H', value_name = "HEADER")]
    pub header: Vec<String>,
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
    /// Directory with dataplane.json.
    #[arg(long, value_name = "DIR")]
    pub runtime: PathBuf,
    /// Directory with keys.json.
    #[arg(long, value_name = "DIR")]
    pub keys: PathBuf,
    /// Address for clients.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:7000")]
    pub listen: SocketAddr,
    /// Address of metrics, health and generation.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:7001")]
    pub admin_listen: SocketAddr,
}

/// `mcp-hub bridge`.
#[derive(Debug, Clone, Args)]
pub struct Bridge {
    /// Address of the Streamable HTTP endpoint.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Maximum number of child processes.
    #[arg(long, default_value_t = 20)]
    pub max_processes: u32,
    /// Stop a child that got no request for this long. The next call starts it again.
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = duration)]
    pub idle_timeout: Duration,
    /// How long to wait for a response of the child.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub call_timeout: Duration,
    /// The server's command and its arguments.
    #[arg(required = true, last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// `mcp-hub check`.
#[derive(Debug, Clone, Args)]
pub struct Check {
    /// Config files of MCP clients, or a compiled config [default: as for serve].
    pub files: Vec<PathBuf>,
    /// Also list the tools of the servers, and name those that big vendors refuse.
    #[arg(long)]
    pub connect: bool,
    /// Like --connect, but with the tools in this file, as {"server": {"tools": […]}}.
    #[arg(long, value_name = "FILE", conflicts_with = "connect")]
    pub catalog: Option<PathBuf>,
}

/// `mcp-hub eval`.
#[derive(Debug, Clone, Args)]
pub struct Eval {
    /// Tools, as JSON lines of `{id, server, name, description, inputSchema}`, plain or gzipped.
    #[arg(long, value_name = "FILE")]
    pub tools: PathBuf,
    /// Questions, as JSON lines of `{id, text, gold}`, plain or gzipped. `gold` has ids of tools,
    /// or lists of ids of equivalent tools.
    #[arg(long, value_name = "FILE")]
    pub queries: PathBuf,
    /// Print a JSON object instead of a table.
    #[arg(long)]
    pub json: bool,
    /// Which parts of the selector to use.
    #[arg(long, value_enum, default_value_t = Backend::Full)]
    pub backend: Backend,
    /// Remember the first N questions of each tool, and score the others.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub remember: usize,
    /// Directory of weights that replace those of the binary: any of `static.bin`, `encoder.onnx`,
    /// `ranker-static.json`, `ranker-full.json` and `floor.json`.
    #[arg(long, value_name = "DIR", hide = true)]
    pub weights: Option<PathBuf>,
}

/// Which parts of the embedded selector to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// Words only.
    Lexical,
    /// Words and static vectors.
    Static,
    /// Words, static vectors and the transformer.
    Full,
    /// The transformer only, for comparison.
    #[value(hide = true)]
    Embedding,
}

/// `mcp-hub why`.
#[derive(Debug, Clone, Args)]
pub struct Why {
    /// Name of the tool: the exposed one, or that of its server.
    pub tool: String,
    /// Config file, as for serve.
    #[arg(long, value_name = "FILE", required_unless_present = "url")]
    pub config: Option<PathBuf>,
    /// Admin address of a running hub, such as <http://127.0.0.1:7001>, instead of a config. It
    /// answers only in its own pod.
    #[arg(long, value_name = "URL", conflicts_with_all = ["config", "catalog"])]
    pub url: Option<String>,
    /// The view to look in.
    #[arg(long)]
    pub view: Option<String>,
    /// The caller, as JSON: `{"sub": "ann", "groups": ["dev"], "claims": {}, "keyName": ""}`
    /// [default: anonymous].
    #[arg(long = "as", value_name = "JSON")]
    pub principal: Option<String>,
    /// Also explain which tools this prompt would add to the list of a session.
    #[arg(long)]
    pub prompt: Option<String>,
    /// Use the tools in this file, as {"server": {"tools": […]}}, instead of asking the servers.
    #[arg(long, value_name = "FILE")]
    pub catalog: Option<PathBuf>,
}

/// `mcp-hub drain`.
#[derive(Debug, Clone, Args)]
pub struct Drain {
    /// Admin address of the hub or router in this pod.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7001")]
    pub admin: String,
    /// How long to wait for the sessions to end.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    pub timeout: Duration,
}

/// `mcp-hub install-bridge`.
#[derive(Debug, Clone, Args)]
pub struct InstallBridge {
    /// Path of the copy. Its directory must exist.
    #[arg(value_name = "DEST_FILE")]
    pub dest: PathBuf,
}

/// Parses a duration as Kubernetes writes it: `500ms`, `30s`, `15m`, `1h`, or several in a row
/// (`1h30m`).
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong =
        || format!("\"{text}\" is not a duration; write for example 500ms, 30s, 15m, 1h or 1h30m");
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
    fn durations_are_parsed_as_kubernetes_writes_them() {
        assert_eq!(duration("1h30m"), Ok(Duration::from_mins(90)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        for wrong in ["", "5", "m", "5d", "-1s", "1.5h", "99999999999999999h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
