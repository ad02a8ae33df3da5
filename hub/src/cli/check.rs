//! `mcp-hub check`: what is wrong in a config file, and what to write instead.

use mcphub_hub_catalog::client_limits;
use mcphub_hub_catalog::config::Loaded;
use mcphub_hub_wire::config::HubConfig;
use mcphub_hub_wire::paths::PORT;

use crate::args;
use crate::cli::server_table;
use crate::cli::tool_listing::{self, Connected};
use crate::config_file::ConfigFiles;
use crate::explanation::ToolListing;

/// Reads the files as `serve` would, and prints what it understands. If asked to, it also looks at
/// the tools. Tools that big vendors refuse are named, but they are not an error, because a hub
/// serves them.
#[allow(clippy::print_stdout)] // the result of the command
pub async fn run(args: &args::Check) -> anyhow::Result<()> {
    let files = ConfigFiles::locate(&args.files, true, PORT)?;
    let Loaded { config, warnings } = files.read()?;
    let count = config.servers.len();
    let connected =
        if args.connect { Some(tool_listing::from_servers(&files.paths).await?) } else { None };
    let plural = if count == 1 { "" } else { "s" };
    println!("{}: good, {count} server{plural}", files.names());
    print!("{}", server_table::table(&config));
    for warning in warnings {
        println!("warning: {warning}");
    }
    if let Some(Connected { listing, language_model }) = connected {
        check_tools(&files.names(), &config, &listing)?;
        language_model.map_err(|error| anyhow::anyhow!("{}: {error}", files.names()))?;
    } else if let Some(file) = &args.catalog {
        check_tools(&files.names(), &config, &tool_listing::from_file(&config, file)?)?;
    }
    Ok(())
}

#[allow(clippy::print_stdout)] // the result of the command
fn check_tools(files: &str, config: &HubConfig, listing: &ToolListing) -> anyhow::Result<()> {
    for tool in &listing.visibility.catalog.entries {
        let refused = client_limits::describe(tool.violations());
        if !refused.is_empty() {
            println!("servers.{}: {}: {refused}", tool.server_name, tool.exposed);
        }
    }
    for (server, list) in config.servers.iter().zip(&listing.lists) {
        for problem in list.iter().flat_map(|list| &list.problems) {
            println!("servers.{}: violates the MCP schema: {problem}", server.name);
        }
    }
    for warning in listing.visibility.warnings() {
        println!("{warning}");
    }
    let missing = listing.missing_servers(config);
    anyhow::ensure!(
        missing.is_empty(),
        "{files}: these servers did not list their tools: {}",
        missing.join(", ")
    );
    Ok(())
}
