//! Reads the config file of `serve` and of the subcommands that check it.

use std::path::Path;

use anyhow::Context as _;
use mcphub_hub_catalog::config::{self, ConfigErrors};
use mcphub_hub_wire::config::HubConfig;

/// Reads a config. The error lists everything that is wrong with it.
pub(crate) fn read(file: &Path, standalone: bool) -> anyhow::Result<HubConfig> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("failed to read {}", file.display()))?;
    parse(&text, standalone).map_err(|errors| {
        let count = errors.0.len();
        anyhow::anyhow!(
            "{}: {count} problem{}\n{errors}",
            file.display(),
            if count == 1 { "" } else { "s" }
        )
    })
}

/// Reads the text of a config: one that people wrote if `standalone`, otherwise one that the
/// operator compiled.
pub(crate) fn parse(text: &str, standalone: bool) -> Result<HubConfig, ConfigErrors> {
    // What the operator compiled must mean the same in every pod, whatever its environment.
    if standalone {
        config::parse(text, &|name| std::env::var(name).ok())
    } else {
        config::parse_compiled(text)
    }
}
