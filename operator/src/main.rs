//! The operator's program.

use std::error::Error;
use std::process::ExitCode;

use clap::Parser as _;
use mcphub_operator::args::Args;
use mcphub_operator::{run, telemetry, words};
use tracing::error;

fn main() -> ExitCode {
    match start(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(error = words::of(error.as_ref()), "the operator cannot run");
            ExitCode::FAILURE
        }
    }
}

fn start(args: Args) -> Result<(), Box<dyn Error>> {
    telemetry::start(&args.log)?;
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        return Err("another TLS provider is installed already".into());
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run::run(args))?;
    Ok(())
}
