//! Finds and reads the config files of `serve` and of the subcommands that check them.

mod places;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use mcphub_hub_catalog::config::{self, ConfigErrors, Loaded, SourceFile};
use mcphub_hub_wire::config::{Command, Server};
use url::Url;

/// The config files of a process.
#[derive(Debug, Clone)]
pub(crate) struct ConfigFiles {
    pub(crate) paths: Vec<PathBuf>,
    /// People wrote them, and not the operator.
    standalone: bool,
    /// The port of the hub itself; 0 if there is none.
    own_port: u16,
}

struct Document {
    name: String,
    folder: String,
    project: String,
    text: String,
}

impl Document {
    fn source(&self) -> SourceFile<'_> {
        let Self { name, folder, project, text } = self;
        SourceFile { name, folder, project, text }
    }
}

impl ConfigFiles {
    /// These files, or if there are none, the first one where people keep them.
    pub(crate) fn locate(
        paths: &[PathBuf],
        standalone: bool,
        own_port: u16,
    ) -> anyhow::Result<Self> {
        if !paths.is_empty() {
            return Ok(Self { paths: paths.to_vec(), standalone, own_port });
        }
        anyhow::ensure!(standalone, "--config is missing; with --hub, the operator sets it");
        let (found, others) = places::find(has_servers).with_context(|| {
            format!(
                "there is no --config, and no file with MCP servers in {}",
                places::all().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
            )
        })?;
        tracing::info!(file = %found.display(), "there is no --config, using this file");
        for other in others {
            tracing::info!(file = %other.display(), "not used; add it with --config");
        }
        Ok(Self { paths: vec![found], standalone, own_port })
    }

    /// The names of the files, for messages.
    pub(crate) fn names(&self) -> String {
        self.paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    }

    /// Reads the files. The error lists everything that is wrong with them.
    pub(crate) fn read(&self) -> anyhow::Result<Loaded> {
        let documents =
            self.paths.iter().map(|path| read(path)).collect::<anyhow::Result<Vec<_>>>()?;
        self.parse(&documents).map_err(|errors| {
            let mut message = self.names();
            let count = errors.0.len();
            let plural = if count == 1 { "" } else { "s" };
            write!(message, ": {count} problem{plural}\n{errors}").ok();
            anyhow::anyhow!(message)
        })
    }

    fn parse(&self, documents: &[Document]) -> Result<Loaded, ConfigErrors> {
        // What the operator compiled must mean the same in every pod, whatever its environment.
        if let ([document], false) = (documents, self.standalone) {
            let config = config::parse_compiled(&document.text)?;
            return Ok(Loaded { config, warnings: Vec::new() });
        }
        let files: Vec<SourceFile<'_>> = documents.iter().map(Document::source).collect();
        let mut loaded = config::load(&files, &environment)?;
        for server in &mut loaded.config.servers {
            if !server.disabled && is_own(server, self.own_port) {
                server.disabled = true;
                let warning = format!("{}: is this hub itself, so it is left out", server.name);
                loaded.warnings.push(warning);
            }
        }
        Ok(loaded)
    }
}

/// Whether a server is the hub on this port. A client that uses the hub has it in its own file, and
/// a hub that lists its own tools would list them again and again.
fn is_own(server: &Server, port: u16) -> bool {
    let own = |url: &str| {
        let Ok(url) = Url::parse(url) else { return false };
        let loopback = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        loopback && url.port_or_known_default() == Some(port) && url.path().starts_with("/mcp")
    };
    let connects = |command: &Command| {
        command.program.ends_with("mcp-hub")
            && command.args.first().is_some_and(|argument| argument == "connect")
            && command.args.iter().any(|argument| own(argument))
    };
    own(&server.url) || server.command.as_ref().is_some_and(connects)
}

/// Expands the placeholders of a text as in a config file.
pub(crate) fn expand(text: &str) -> Result<String, String> {
    config::expand(text, &environment)
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn read(path: &Path) -> anyhow::Result<Document> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("failed to read {}", path.display()))?;
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let folder = absolute.parent().unwrap_or(&absolute).display().to_string();
    let project = std::env::current_dir().unwrap_or_default().display().to_string();
    Ok(Document { name: path.display().to_string(), folder, project, text })
}

/// Whether a file of a client has servers. Its other problems are for [`ConfigFiles::read`].
fn has_servers(path: &Path) -> bool {
    read(path).is_ok_and(|document| config::has_servers(&document.source()))
}
