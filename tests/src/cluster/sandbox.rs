//! The namespaces, the addresses and the work folder of one run.
//!
//! A run lives in process, network and mount namespaces of its own, held by `sandbox.sh`. When their first process ends,
//! the kernel ends every other process in them and takes mounts and interfaces away; the script then removes the control
//! groups and the work folder. So a run leaves nothing behind however its owner ends, `kill -9` included.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::{command, machine};

const SCRIPT: &str = include_str!("sandbox.sh");

/// Work folders of all runs on this machine; sockets lie in them, so the path must stay short (108 bytes is the limit).
pub(crate) const RUNS: &str = "/var/tmp/mcphub";

/// More runs at once than a machine can carry.
pub(crate) const MAX_RUNS: u8 = 32;

/// The address block of a run: `10.213.<8 * index>.0/21`, with the link, the pods and the services in it.
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
    /// Makes the namespaces of a new run under the first free index, and removes what dead runs left.
    pub(crate) async fn start() -> Result<Self> {
        sweep_dead().await?;
        let routes = host_routes().await?;
        for index in 0..MAX_RUNS {
            if routes.iter().any(|route| overlaps(route, Addresses::new(index))) {
                continue;
            }
            if let Some(sandbox) = Self::hold(index)? {
                sandbox.link().await.context(machine::UNFIT)?;
                return Ok(sandbox);
            }
        }
        bail!(
            "no free run left: {MAX_RUNS} are alive, or their address ranges (10.213.0.0/16) are routed elsewhere; \
             see `cluster list`"
        )
    }

    /// A run that somebody else started and that is alive.
    pub(crate) fn attached(index: u8, first: u32) -> Self {
        Self { index, first, holder: None }
    }

    /// Lets the run outlive this process; `cluster down` ends it.
    pub(crate) fn keep(&mut self) -> Result<()> {
        if let Some(mut holder) = self.holder.take() {
            holder.stdin.take().context("the sandbox script has no stdin")?.write_all(b"keep\n")?;
        }
        Ok(())
    }

    fn hold(index: u8) -> Result<Option<Self>> {
        // A session of its own: Ctrl-C ends the owner, and the script must outlive it to clean up.
        let mut holder = Command::new("setsid")
            .args(["sh", "-c", SCRIPT, "mcphub-sandbox", "hold", RUNS, &index.to_string()])
            .env("PATH", machine::path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context(machine::UNFIT)?;
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
                bail!("{}: {}", machine::UNFIT, line.trim_start_matches("failed ").trim())
            }
        }
    }

    /// Joins the run's network to the host's, without a rule in the host's iptables.
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
        // Without it kube-proxy goes on trying for ever, and nothing says why Services do not work.
        let mut iptables = tokio::process::Command::from(self.enter("iptables"));
        command::output(iptables.args(["--table", "nat", "--list-rules"])).await.map(drop)
    }

    /// A command that runs a program inside the run, in a session of its own so that Ctrl-C does not end it half way.
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
    /// The first process of the run's process namespace, as the host counts.
    pub(crate) fn first(&self) -> u32 {
        self.first
    }
    pub(crate) fn addresses(&self) -> Addresses {
        Addresses::new(self.index)
    }
    /// The work folder: everything of the run lies in it and goes with it.
    pub(crate) fn dir(&self) -> PathBuf {
        work_folder(self.index)
    }
    /// The control group below which kubelet puts its own, in every hierarchy.
    pub(crate) fn cgroup(&self) -> String {
        format!("/mcphub-{}", self.index)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if let Some(mut holder) = self.holder.take() {
            drop(holder.stdin.take());
            // The script ends when the last trace is gone, so who stops a run and looks finds nothing.
            let _ = holder.wait();
        }
    }
}

/// The work folder of a run.
pub(crate) fn work_folder(index: u8) -> PathBuf {
    Path::new(RUNS).join(index.to_string())
}

/// Is the run with this index alive?
pub(crate) fn alive(index: u8) -> bool {
    let Ok(lock) = std::fs::File::open(Path::new(RUNS).join(format!("{index}.lock"))) else {
        return false;
    };
    matches!(lock.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock))
}

/// Removes what dead runs left: those that were ended together with the script that cleans up after them.
pub(crate) async fn sweep_dead() -> Result<()> {
    for index in 0..MAX_RUNS {
        if work_folder(index).exists() && !alive(index) {
            sweep(index).await?;
        }
    }
    Ok(())
}

/// Removes what the run with this index left; a live one is left alone.
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
    serde_json::from_str(&json).context("`ip -json route` said something unexpected")
}

/// Does a route of somebody else reach into the block of this run?
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
    fn a_route_of_somebody_else_into_the_block_rules_the_index_out() {
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
