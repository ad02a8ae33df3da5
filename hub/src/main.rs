//! `mcp-hub`: see the library for what each subcommand does.

use std::process::ExitCode;

use clap::Parser as _;
use mcphub_hub::args::{Check, Cli, Command};
use mcphub_hub::cli::{check, drain, eval, explain, install_bridge, sample_server};
use mcphub_hub::{bridge, connect, route, serve, stdio, telemetry};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        // Small programs that need no threads.
        Command::Guard => {
            stdio::guard::run();
            ExitCode::SUCCESS
        }
        Command::SampleServer => exit_code(sample_server::run().map_err(Into::into)),
        command => run(command),
    }
}

#[tokio::main]
async fn run(command: Command) -> ExitCode {
    telemetry::start();
    let result = match command {
        Command::Serve(args) => serve::run(args).await,
        Command::Connect(args) => connect::run(args).await,
        Command::Route(args) => route::run(args).await,
        Command::Bridge(args) => bridge::run(args).await,
        Command::Check(args) => return check_config(&args).await,
        Command::Why(args) => explain::run(args).await,
        Command::Eval(args) => eval::run(&args),
        Command::Drain(args) => drain::run(args).await,
        Command::InstallBridge(args) => install_bridge::run(args).await,
        Command::Guard | Command::SampleServer => Ok(()),
    };
    exit_code(result)
}

fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Prints what is wrong to stderr, for people, editors and pipelines. A log line would be harder to
/// read.
#[allow(clippy::print_stderr)]
async fn check_config(args: &Check) -> ExitCode {
    match check::run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(problems) => {
            eprintln!("{problems:#}");
            ExitCode::FAILURE
        }
    }
}
