//! Kills the operator that leads.

use anyhow::{Context as _, Result};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use mcphub_tests::install;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::system_scenario::Scenario;

/// As in `/proc/PID/comm`.
const PROGRAM: &str = "mcphub-operator";

/// Kills the leading operator as `kill -9` does, so that it cannot release the Lease or finish a
/// write.
pub(crate) async fn kill_leader(scenario: &Scenario) -> Result<()> {
    let leases = Api::<Lease>::namespaced(scenario.client.clone(), install::NAMESPACE);
    let all = leases.list(&ListParams::default()).await?;
    let mut holders = all.items.into_iter().filter_map(|lease| lease.spec?.holder_identity);
    let holder = holders.find(|holder| !holder.is_empty()).context("no operator leads")?;
    // The holder is POD_RANDOM, because a restarted process is another candidate.
    let name = holder.rsplit_once('_').map_or(holder.as_str(), |(pod, _)| pod);
    if scenario.cluster.work_folder().is_none() {
        // The processes of an external cluster are out of reach.
        let delete =
            ["-n", install::NAMESPACE, "delete", "pod", name, "--grace-period=0", "--force"];
        return scenario.cluster.kubectl(delete).await.map(drop);
    }
    let pods = Api::<Pod>::namespaced(scenario.client.clone(), install::NAMESPACE);
    let uid = pods.get(name).await?.metadata.uid.context("the pod has no UID")?;
    let pid =
        process_of(&uid).with_context(|| format!("failed to find the process of pod {name}"))?;
    eprintln!("system: kill -9 {pid} ({holder})");
    Ok(kill(Pid::from_raw(pid), Signal::SIGKILL)?)
}

fn process_of(pod: &str) -> Option<i32> {
    let processes = std::fs::read_dir("/proc").ok()?;
    processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()).find(
        |pid| {
            let read = |file: &str| {
                std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default()
            };
            read("comm").trim() == PROGRAM && read("cgroup").contains(&format!("pod{pod}"))
        },
    )
}
