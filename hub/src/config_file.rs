//! Finds and reads the config files of `serve` and of the subcommands that check them.

mod places;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use mcphub_hub_catalog::config::{self, ConfigErrors, Loaded, SourceFile};

/// The config files of a process.
#[derive(Debug, Clone)]
pub(crate) struct ConfigFiles {
    pub(crate) paths: Vec<PathBuf>,
    /// People wrote them, and not the operator.
    standalone: bool,
}

struct Document {
    name: String,
    folder: String,
    text: String,
}

impl Document {
    fn source(&self) -> SourceFile<'_> {
        SourceFile { name: &self.name, folder: &self.folder, text: &self.text }
    }
}

impl ConfigFiles {
    /// These files, or if there are none, the first one where people keep them.
    pub(crate) fn locate(paths: &[PathBuf], standalone: bool) -> anyhow::Result<Self> {
        if !paths.is_empty() {
            return Ok(Self { paths: paths.to_vec(), standalone });
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
        Ok(Self { paths: vec![found], standalone })
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
        config::load(&files, &environment)
    }
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
    Ok(Document { name: path.display().to_string(), folder, text })
}

/// Whether a file of a client has servers. Its other problems are for [`ConfigFiles::read`].
fn has_servers(path: &Path) -> bool {
    read(path).is_ok_and(|document| config::has_servers(&document.source()))
}
