//! `cluster up|down|list`: the project's own Kubernetes on this machine, by hand.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use mcphub_tests::cluster::{Cluster, Image, Options, Run};

/// The project's own Kubernetes on this machine.
#[derive(Debug, Parser)]
#[command(name = "cluster")]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Starts a cluster and keeps it up until Ctrl-C, or for good with --keep.
    Up {
        /// Leave it running; `cluster down` ends it.
        #[arg(long)]
        keep: bool,
        /// Seconds between two scrapes of Prometheus.
        #[arg(long, default_value_t = 1)]
        scrape: u64,
        /// Load the images of hub, operator and MCP servers (builds what is missing).
        #[arg(long)]
        images: bool,
    },
    /// Ends the clusters that were left running, and removes what killed ones left.
    Down,
    /// Lists the clusters that are up.
    List,
    /// Builds all images and prints where they lie.
    Images,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse().verb).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not Debug: it adds a backtrace of the harness, which nobody asked for.
            eprintln!("cluster: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(verb: Verb) -> Result<()> {
    let out = &mut std::io::stdout();
    match verb {
        Verb::Up { keep, scrape, images } => up(keep, scrape, images).await,
        Verb::Down => {
            let runs = Run::all();
            for run in &runs {
                run.stop().await?;
                writeln!(out, "run {} ended", run.index)?;
            }
            Ok(Run::sweep_dead().await?)
        }
        Verb::List => {
            for run in Run::all() {
                writeln!(
                    out,
                    "run {}  KUBECONFIG={}  prometheus={}",
                    run.index,
                    run.kubeconfig,
                    run.prometheus.as_deref().unwrap_or("-")
                )?;
            }
            Ok(())
        }
        Verb::Images => {
            for image in ALL {
                writeln!(out, "{}", mcphub_tests::cluster::image_archive(image).await?.display())?;
            }
            Ok(())
        }
    }
}

const ALL: [Image; 4] = [Image::Hub, Image::Operator, Image::ServersNode, Image::ServersPython];

async fn up(keep: bool, scrape: u64, images: bool) -> Result<()> {
    if std::env::var_os("KUBECONFIG").is_some_and(|path| !path.is_empty()) {
        bail!("KUBECONFIG is set, so that cluster would be used; unset it to start one here");
    }
    let images = if images { ALL.to_vec() } else { Vec::new() };
    let options = Options {
        prometheus: Some(Duration::from_secs(scrape)),
        images,
        keep,
        ..Options::default()
    };
    let cluster = Cluster::start(options).await?;
    let out = &mut std::io::stdout();
    writeln!(out, "export KUBECONFIG={}", cluster.kubeconfig().display())?;
    writeln!(out, "export PATH={}:$PATH", cluster.path())?;
    writeln!(out, "# Prometheus: {}", cluster.prometheus_url()?)?;
    if !keep {
        tokio::signal::ctrl_c().await?;
    }
    Ok(())
}
