//! The `mcphub-operator` program.

use std::error::Error;
use std::process::ExitCode;

use clap::Parser as _;
use mcphub_operator::args::Args;
use mcphub_operator::{error_chain, run, telemetry};
use tracing::error;

fn main() -> ExitCode {
    match start(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(error = error_chain::join(error.as_ref()), "the operator cannot run");
            ExitCode::FAILURE
        }
    }
}

fn start(args: Args) -> Result<(), Box<dyn Error>> {
    telemetry::init(&args.log)?;
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        return Err("failed to install the TLS provider: another one is already installed".into());
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run::run(args))?;
    Ok(())
}
