//! `mcp-hub check`: what is wrong in a config file, and what to write instead.

use std::path::Path;

use mcphub_hub_catalog::client_limits;
use mcphub_hub_wire::config::HubConfig;

use crate::args;
use crate::cli::tool_listing::{self, Listed};
use crate::serve;

/// Reads the file as `serve` would. Where it is told to, also the tools: those that big vendors refuse are named, and are
/// no error, since a hub serves them.
#[allow(clippy::print_stdout)] // its answer is its output
pub async fn run(args: &args::Check) -> anyhow::Result<()> {
    let config = serve::read(&args.file, true)?;
    let count = config.servers.len();
    let good = format!(
        "{}: good, {count} server{}",
        args.file.display(),
        if count == 1 { "" } else { "s" }
    );
    let listed = match &args.catalog {
        Some(file) => Some(tool_listing::read(&config, file)?),
        None if args.connect => Some(tool_listing::asked(&args.file).await?),
        None => None,
    };
    println!("{good}");
    listed.map_or(Ok(()), |listed| tools(&args.file, &config, &listed))
}

#[allow(clippy::print_stdout)]
fn tools(file: &Path, config: &HubConfig, listed: &Listed) -> anyhow::Result<()> {
    for tool in &listed.visibility.catalog.entries {
        let refused = client_limits::describe(tool.violations());
        if !refused.is_empty() {
            println!("servers.{}: {}: {refused}", tool.server_name, tool.exposed);
        }
    }
    for warning in listed.visibility.warnings() {
        println!("{warning}");
    }
    let silent = listed.silent(config);
    anyhow::ensure!(
        silent.is_empty(),
        "{}: could not be asked for their tools: {}",
        file.display(),
        silent.join(", ")
    );
    Ok(())
}
