//! `cluster up|down|list|images`: a local Kubernetes by hand.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use mcphub_tests::cluster::{Cluster, Image, Options, Run, image_archives};
use mcphub_tests::install::{self, Settings};

/// A local Kubernetes for tests and for trying things out.
#[derive(Debug, Parser)]
#[command(name = "cluster")]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Start a cluster and keep it running until Ctrl-C, or until `cluster down` with --keep.
    Up {
        /// Leave the cluster running.
        #[arg(long)]
        keep: bool,
        /// Scrape interval of Prometheus, in seconds.
        #[arg(long, default_value_t = 1)]
        scrape: u64,
        /// Load the images of hub, operator and MCP servers, and print how to install the operator.
        #[arg(long)]
        images: bool,
    },
    /// End the clusters that were left running, and remove what killed ones left.
    Down,
    /// List the clusters that are running.
    List,
    /// Build the images that are not in the cache, and print the paths of all of them.
    Images,
}

const IMAGES: [Image; 4] = [Image::Hub, Image::Operator, Image::ServersNode, Image::ServersPython];

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse().verb).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not Debug, which adds a backtrace of this program that helps nobody.
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
            for run in Run::all().iter().filter(|run| run.is_kept()) {
                run.stop().await?;
                writeln!(out, "run {} ended", run.index)?;
            }
            Ok(Run::sweep_dead().await?)
        }
        Verb::List => {
            for run in Run::all() {
                let prometheus = run.prometheus.as_deref().unwrap_or("-");
                let (index, kubeconfig) = (run.index, run.kubeconfig);
                writeln!(out, "run {index}  KUBECONFIG={kubeconfig}  prometheus={prometheus}")?;
            }
            Ok(())
        }
        Verb::Images => {
            for archive in image_archives(&IMAGES).await? {
                writeln!(out, "{}", archive.display())?;
            }
            Ok(())
        }
    }
}

async fn up(keep: bool, scrape: u64, images: bool) -> Result<()> {
    if std::env::var_os("KUBECONFIG").is_some_and(|path| !path.is_empty()) {
        bail!("KUBECONFIG is set, so that cluster would be used; unset it to start a local one");
    }
    let scrape = Duration::from_secs(scrape);
    let options = Options {
        prometheus: Some(scrape),
        images: if images { IMAGES.to_vec() } else { Vec::new() },
        keep,
        ..Options::default()
    };
    let cluster = Cluster::start(options).await?;
    let out = &mut std::io::stdout();
    writeln!(out, "export KUBECONFIG={}", cluster.kubeconfig().display())?;
    writeln!(out, "export PATH={}:$PATH", cluster.path())?;
    writeln!(out, "# Prometheus: {}", cluster.prometheus_url()?)?;
    if images {
        out.write_all(how_to_install(&cluster, scrape)?.as_bytes())?;
    }
    if !keep {
        tokio::signal::ctrl_c().await?;
    }
    Ok(())
}

/// Writes a values file for this cluster, and returns commands to paste.
fn how_to_install(cluster: &Cluster, scrape: Duration) -> Result<String> {
    let settings = Settings { prometheus_scrape: scrape, ..Settings::default() };
    let values = install::values(cluster, &settings)?;
    let mut text = String::new();
    let file = cluster.work_folder().unwrap_or_else(std::env::temp_dir).join("values.yaml");
    std::fs::write(&file, &values)?;
    text += "\n# Install the operator of this checkout (run these in the root of the checkout):\n";
    text += &install::commands(&file).join("\n");
    text += "\n\n# What that values file sets:\n";
    text.extend(values.lines().map(|line| format!("#   {line}\n")));
    text += "\n# Images with MCP servers, for `container.image` of a hub:\n";
    for image in [Image::ServersNode, Image::ServersPython] {
        text += &["#   ", &cluster.image(image)?, "  ", &image.programs().join(" "), "\n"].concat();
    }
    Ok(text)
}
