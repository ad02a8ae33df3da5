//! `make demo`.

use clap::Parser;

/// Shows the whole system on a real cluster.
#[derive(Parser)]
struct Args {
    /// Leave the cluster running and print what to try next.
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<std::process::ExitCode> {
    let args = Args::parse();
    Ok(if mcphub_tests::demo::run(args.keep).await? { 0.into() } else { 1.into() })
}
