//! `mcp-hub check`: what is wrong in a config file, and what to write instead.

use std::path::Path;

use mcphub_hub_catalog::client_limits;
use mcphub_hub_wire::config::HubConfig;

use crate::cli::tool_listing;
use crate::explanation::ToolListing;
use crate::{args, config_file};

/// Reads the file as `serve` would. If asked to, it also looks at the tools. Tools that big vendors
/// refuse are named, but they are not an error, because a hub serves them.
#[allow(clippy::print_stdout)] // the result of the command
pub async fn run(args: &args::Check) -> anyhow::Result<()> {
    let config = config_file::read(&args.file, true)?;
    let count = config.servers.len();
    let listing = match &args.catalog {
        Some(file) => Some(tool_listing::from_file(&config, file)?),
        None if args.connect => Some(tool_listing::from_servers(&args.file).await?),
        None => None,
    };
    let plural = if count == 1 { "" } else { "s" };
    println!("{}: good, {count} server{plural}", args.file.display());
    listing.map_or(Ok(()), |listing| check_tools(&args.file, &config, &listing))
}

#[allow(clippy::print_stdout)] // the result of the command
fn check_tools(file: &Path, config: &HubConfig, listing: &ToolListing) -> anyhow::Result<()> {
    for tool in &listing.visibility.catalog.entries {
        let refused = client_limits::describe(tool.violations());
        if !refused.is_empty() {
            println!("servers.{}: {}: {refused}", tool.server_name, tool.exposed);
        }
    }
    for warning in listing.visibility.warnings() {
        println!("{warning}");
    }
    let missing = listing.missing_servers(config);
    anyhow::ensure!(
        missing.is_empty(),
        "{}: these servers did not list their tools: {}",
        file.display(),
        missing.join(", ")
    );
    Ok(())
}
