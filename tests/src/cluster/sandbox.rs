//! The namespaces, the addresses and the work folder of one run.
//!
//! A run lives in process, network and mount namespaces of its own, which `sandbox.sh` holds. When
//! their first process ends, the kernel ends every other process in them and removes mounts and
//! interfaces. The script then removes the control groups and the work folder. So a run leaves
//! nothing behind, however its owner ends, even by `kill -9`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::{command, machine};

const SCRIPT: &str = include_str!("sandbox.sh");

/// The work folders of all runs on this machine. They contain sockets, whose paths may not exceed
/// 108 bytes.
pub(crate) const RUNS: &str = "/var/tmp/mcphub";

/// More runs than a machine can carry at a time.
pub(crate) const MAX_RUNS: u8 = 32;
/// The file in the work folder of a run that outlives the process that started it.
pub(crate) const KEPT: &str = "kept";

/// The address block of a run, `10.213.<8 * index>.0/21`. It contains the link, the pods and the
/// services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Addresses(u8);

impl Addresses {
    /// The addresses of the run with this index, 0 to 31.
    pub(crate) fn new(index: u8) -> Self {
        Self(index % MAX_RUNS)
    }
    fn at(self, third: u8, fourth: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 213, self.0 * 8 + third, fourth)
    }
    pub(crate) fn block(self) -> String {
        format!("{}/21", self.at(0, 0))
    }
    /// The host's end of the link.
    pub(crate) fn host(self) -> Ipv4Addr {
        self.at(0, 1)
    }
    /// The run's end of the link: API server, node and Prometheus answer here.
    pub(crate) fn node(self) -> Ipv4Addr {
        self.at(0, 2)
    }
    pub(crate) fn pods(self) -> String {
        format!("{}/24", self.at(2, 0))
    }
    pub(crate) fn services(self) -> String {
        format!("{}/24", self.at(4, 0))
    }
    pub(crate) fn first_service(self) -> Ipv4Addr {
        self.at(4, 1)
    }
    pub(crate) fn dns(self) -> Ipv4Addr {
        self.at(4, 10)
    }
}

/// One run's namespaces and work folder. Dropping it ends the run, unless it is kept.
#[derive(Debug)]
pub(crate) struct Sandbox {
    index: u8,
    first: u32,
    holder: Option<Child>,
}

impl Sandbox {
    /// Creates the namespaces of a new run under the first free index, and removes what dead runs
    /// left.
    pub(crate) async fn start() -> Result<Self> {
        sweep_dead().await?;
        let routes = host_routes().await?;
        for index in 0..MAX_RUNS {
            if routes.iter().any(|route| overlaps(route, Addresses::new(index))) {
                continue;
            }
            if let Some(sandbox) = Self::hold(index)? {
                sandbox.link().await.context(machine::CANNOT_RUN)?;
                return Ok(sandbox);
            }
        }
        bail!(
            "no run is free: {MAX_RUNS} are alive, or their address ranges (10.213.0.0/16) are \
             routed elsewhere; see `cluster list`"
        )
    }

    /// A live run that another process started.
    pub(crate) fn attached(index: u8, first: u32) -> Self {
        Self { index, first, holder: None }
    }

    /// Lets the run outlive this process. `cluster down` ends it.
    pub(crate) fn keep(&mut self) -> Result<()> {
        if let Some(mut holder) = self.holder.take() {
            std::fs::write(work_folder(self.index).join(KEPT), "")?;
            holder.stdin.take().context("the sandbox script has no stdin")?.write_all(b"keep\n")?;
        }
        Ok(())
    }

    fn hold(index: u8) -> Result<Option<Self>> {
        // In a session of its own: Ctrl-C ends the owner, and the script must outlive it to clean
        // up.
        let mut holder = Command::new("setsid")
            .args(["sh", "-c", SCRIPT, "mcphub-sandbox", "hold", RUNS, &index.to_string()])
            .env("PATH", machine::path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context(machine::CANNOT_RUN)?;
        let mut line = String::new();
        let stdout = holder.stdout.take().context("the sandbox script has no stdout")?;
        BufReader::new(stdout).read_line(&mut line)?;
        match line.trim().split_once(' ') {
            Some(("ready", first)) => {
                Ok(Some(Self { index, first: first.parse()?, holder: Some(holder) }))
            }
            None if line.trim() == "taken" => {
                holder.wait()?;
                Ok(None)
            }
            _ => {
                holder.wait()?;
                bail!("{}: {}", machine::CANNOT_RUN, line.trim_start_matches("failed ").trim())
            }
        }
    }

    /// Joins the network of the run to that of the host, without a rule in the iptables of the
    /// host.
    async fn link(&self) -> Result<()> {
        let at = self.addresses();
        let name = format!("mcphub{}", self.index);
        let (host, node) = (format!("{}/30", at.host()), format!("{}/30", at.node()));
        let first = self.first.to_string();
        ip(&["link", "add", &name, "type", "veth", "peer", "name", "eth0", "netns", &first])
            .await?;
        ip(&["address", "add", &host, "dev", &name]).await?;
        ip(&["link", "set", &name, "up"]).await?;
        for args in [
            &["address", "add", &node, "dev", "eth0"][..],
            &["link", "set", "eth0", "up"],
            &["route", "add", "default", "via", &at.host().to_string()],
        ] {
            command::output(tokio::process::Command::from(self.enter("ip")).args(args)).await?;
        }
        ip(&["route", "add", &at.block(), "via", &at.node().to_string()]).await?;
        // If iptables does not work, kube-proxy retries forever and nothing says why Services do
        // not work.
        let mut iptables = tokio::process::Command::from(self.enter("iptables"));
        command::output(iptables.args(["--table", "nat", "--list-rules"])).await.map(drop)
    }

    /// A command that runs a program inside the run, in a session of its own so that Ctrl-C does
    /// not end it halfway.
    pub(crate) fn enter(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("setsid");
        command.env("PATH", machine::path());
        command
            .args([
                "nsenter",
                "--target",
                &self.first.to_string(),
                "--net",
                "--mount",
                "--pid",
                "--",
            ])
            .arg(program);
        command
    }

    pub(crate) fn index(&self) -> u8 {
        self.index
    }
    /// The first process of the process namespace of the run, with its number on the host.
    pub(crate) fn first(&self) -> u32 {
        self.first
    }
    pub(crate) fn addresses(&self) -> Addresses {
        Addresses::new(self.index)
    }
    /// The work folder. It contains all files of the run and is deleted with it.
    pub(crate) fn dir(&self) -> PathBuf {
        work_folder(self.index)
    }
    /// The control group, in every hierarchy, below which kubelet puts its own.
    pub(crate) fn cgroup(&self) -> String {
        format!("/mcphub-{}", self.index)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if let Some(mut holder) = self.holder.take() {
            drop(holder.stdin.take());
            // The script ends when the last trace is gone, so nothing is left when this returns.
            let _ = holder.wait();
        }
    }
}

/// The work folder of a run.
pub(crate) fn work_folder(index: u8) -> PathBuf {
    Path::new(RUNS).join(index.to_string())
}

/// Whether the run with this index is alive.
pub(crate) fn alive(index: u8) -> bool {
    let Ok(lock) = std::fs::File::open(Path::new(RUNS).join(format!("{index}.lock"))) else {
        return false;
    };
    matches!(lock.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock))
}

/// Removes what dead runs left, those that were killed together with the script that cleans up
/// after them.
pub(crate) async fn sweep_dead() -> Result<()> {
    for index in 0..MAX_RUNS {
        if work_folder(index).exists() && !alive(index) {
            sweep(index).await?;
        }
    }
    Ok(())
}

/// Removes what the run with this index left. Does nothing if it is alive.
pub(crate) async fn sweep(index: u8) -> Result<()> {
    let args = ["-c", SCRIPT, "mcphub-sandbox", "sweep", RUNS, &index.to_string()];
    command::output(tokio::process::Command::new("sh").args(args)).await.map(drop)
}

async fn ip(args: &[&str]) -> Result<()> {
    command::output(tokio::process::Command::new("ip").args(args)).await.map(drop)
}

#[derive(Debug, Deserialize)]
struct Route {
    dst: String,
    #[serde(default)]
    dev: String,
}

async fn host_routes() -> Result<Vec<Route>> {
    let json =
        command::output(tokio::process::Command::new("ip").args(["-json", "-4", "route"])).await?;
    serde_json::from_str(&json).context("failed to parse the output of `ip -json route`")
}

/// Whether a route that is not of a run overlaps the address block of this one.
fn overlaps(route: &Route, at: Addresses) -> bool {
    let (network, bits) = route.dst.split_once('/').unwrap_or((&route.dst, "32"));
    let (Ok(network), Ok(bits)) = (network.parse::<Ipv4Addr>(), bits.parse::<u32>()) else {
        return false;
    };
    let shift = 32 - bits.min(21);
    let prefix = |address: Ipv4Addr| u32::from(address).checked_shr(shift).unwrap_or(0);
    prefix(network) == prefix(at.at(0, 0)) && !route.dev.starts_with("mcphub")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_side_by_side_have_disjoint_addresses() {
        let blocks: std::collections::BTreeSet<_> =
            (0..MAX_RUNS).map(|i| Addresses::new(i).block()).collect();
        assert_eq!(blocks.len(), usize::from(MAX_RUNS));
        assert_eq!(Addresses::new(31).dns().to_string(), "10.213.252.10");
    }

    #[test]
    fn an_index_whose_block_is_routed_elsewhere_is_not_used() {
        let foreign = |dst: &str| Route { dst: dst.into(), dev: "tun0".into() };
        assert!(overlaps(&foreign("10.213.0.0/24"), Addresses::new(0)));
        assert!(overlaps(&foreign("10.0.0.0/8"), Addresses::new(3)));
        assert!(!overlaps(&foreign("10.213.0.0/24"), Addresses::new(1)));
        assert!(!overlaps(&foreign("default"), Addresses::new(0)));
        assert!(!overlaps(
            &Route { dst: "10.213.0.0/21".into(), dev: "mcphub0".into() },
            Addresses::new(0)
        ));
    }
}
