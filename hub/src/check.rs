//! `mcp-hub check`: what is wrong in a config file, and what to write instead.

use crate::args;
use crate::serve;

/// Reads the file as `serve` would.
#[allow(clippy::print_stdout)] // its answer is its output
pub fn run(args: &args::Check) -> anyhow::Result<()> {
    let config = serve::read(&args.file, true)?;
    let count = config.servers.len();
    println!("{}: good, {count} server{}", args.file.display(), if count == 1 { "" } else { "s" });
    Ok(())
}
