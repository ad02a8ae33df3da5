//! A cluster of the project's own, on this machine.

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client};
use serde::{Deserialize, Serialize};

use super::component::{Part, wait_for};
use super::control_plane::{self, ControlPlane};
use super::images::{self, Image};
use super::sandbox::{self, Sandbox};
use super::tools::Tools;
use super::{Options, command, dns, node, prometheus, say};

/// A cluster that this process started, or one that was left running and is used again.
#[derive(Debug)]
pub(crate) struct Own {
    pub(crate) plane: ControlPlane,
    prometheus: bool,
}

/// A run that is alive, as it describes itself in its work folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// Which of the machine's runs it is.
    pub index: u8,
    /// The first process of its process namespace.
    first: u32,
    /// The kubeconfig with all rights.
    pub kubeconfig: String,
    /// Folders with kubectl and helm.
    pub path: String,
    /// Where Prometheus answers, if it runs.
    pub prometheus: Option<String>,
}

impl Run {
    /// Every run on this machine that is alive and up.
    pub fn all() -> Vec<Self> {
        (0..sandbox::MAX_RUNS)
            .filter(|index| sandbox::alive(*index))
            .filter_map(Self::read)
            .collect()
    }

    fn read(index: u8) -> Option<Self> {
        let text = std::fs::read(sandbox::work_folder(index).join("run.json")).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Ends the run and waits until nothing of it is left.
    pub async fn stop(&self) -> Result<()> {
        let first = nix::unistd::Pid::from_raw(i32::try_from(self.first)?);
        nix::sys::signal::kill(first, nix::sys::signal::Signal::SIGKILL)
            .context("the run could not be ended")?;
        let started = Instant::now();
        // The script that holds the run lets go of the lock when it has cleaned up; one whose owner lives waits for that owner.
        while sandbox::alive(self.index) && sandbox::work_folder(self.index).exists() {
            if started.elapsed() > Duration::from_secs(30) {
                bail!("run {} is ended, but its owner still holds what is left of it", self.index);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Removes what runs left that were killed together with what cleans up after them.
    pub async fn sweep_dead() -> Result<()> {
        sandbox::sweep_dead().await
    }
}

impl Own {
    /// Brings a cluster up.
    pub(crate) async fn start(options: &Options) -> Result<Self> {
        super::machine::check()?;
        let mut wanted = vec![Image::Pause, Image::CoreDns];
        wanted.extend(&options.images);
        for image in &wanted {
            images::build(*image).await?;
        }
        let started = Instant::now();
        let mut own = Self::assemble(&wanted, options.prometheus).await?;
        own.describe()?;
        if options.keep {
            own.plane.sandbox.keep()?;
        }
        say(&format!(
            "ready in {:.1} s, {}",
            started.elapsed().as_secs_f32(),
            own.plane.kubeconfig
        ));
        Ok(own)
    }

    async fn assemble(wanted: &[Image], scrape: Option<Duration>) -> Result<Self> {
        let (mut plane, authority) = ControlPlane::launch().await?;
        let containerd = node::containerd(&plane.sandbox)?;
        plane.components()?.push(containerd);
        plane.wait().await?;
        let mut more =
            Vec::from(control_plane::controllers(&plane.sandbox, &plane.tools, &authority)?);
        more.extend(node::start(&plane.sandbox, &plane.tools, &authority)?);
        if let Some(interval) = scrape {
            more.extend(prometheus::start(
                &plane.sandbox,
                &plane.tools,
                &plane.kubeconfig,
                interval,
            )?);
        }
        plane.components()?.extend(more);
        for image in wanted {
            images::import(&plane.sandbox, &images::build(*image).await?).await?;
        }
        wait_for_node(&mut plane).await?;
        Ok(Self { plane, prometheus: scrape.is_some() })
    }

    /// The run behind this kubeconfig, if it is one of ours that is alive.
    pub(crate) async fn attach(kubeconfig: &str, options: &Options) -> Result<Option<Self>> {
        let Ok(wanted) = std::fs::canonicalize(kubeconfig) else { return Ok(None) };
        let Some(run) = Run::all().into_iter().find(|run| Path::new(&run.kubeconfig) == wanted)
        else {
            return Ok(None);
        };
        if options.prometheus.is_some() && run.prometheus.is_none() {
            bail!(
                "run {} has no Prometheus, which this needs; start one with `cluster up --keep`",
                run.index
            );
        }
        let plane = ControlPlane {
            components: Mutex::default(),
            sandbox: Sandbox::attached(run.index, run.first),
            tools: Tools::ready().await?,
            kubeconfig: run.kubeconfig,
        };
        let own = Self { plane, prometheus: run.prometheus.is_some() };
        for image in &options.images {
            own.load(*image).await?;
        }
        Ok(Some(own))
    }

    /// Builds an image if need be and imports it.
    pub(crate) async fn load(&self, image: Image) -> Result<String> {
        let built = images::build(image).await?;
        images::import(&self.plane.sandbox, &built).await?;
        Ok(built.name)
    }

    pub(crate) fn prometheus_url(&self) -> Result<String> {
        anyhow::ensure!(self.prometheus, "this cluster was started without Prometheus");
        Ok(prometheus_url(&self.plane.sandbox))
    }

    fn describe(&self) -> Result<()> {
        let run = Run::of(&self.plane, self.prometheus);
        std::fs::write(
            self.plane.sandbox.dir().join("run.json"),
            serde_json::to_vec_pretty(&run)?,
        )?;
        Ok(())
    }
}

impl Run {
    fn of(plane: &ControlPlane, prometheus: bool) -> Self {
        Self {
            index: plane.sandbox.index(),
            first: plane.sandbox.first(),
            kubeconfig: plane.kubeconfig.clone(),
            path: plane.tools.path(),
            prometheus: prometheus.then(|| prometheus_url(&plane.sandbox)),
        }
    }
}

fn prometheus_url(sandbox: &Sandbox) -> String {
    format!("http://{}:{}", sandbox.addresses().node(), prometheus::PORT)
}

async fn wait_for_node(plane: &mut ControlPlane) -> Result<()> {
    let manifest = dns::manifest(plane.sandbox.addresses(), &images::loaded_name(Image::CoreDns)?);
    let path = plane.sandbox.dir().join("coredns.json");
    std::fs::write(&path, manifest.to_string())?;
    plane.kubectl(["apply".as_ref(), "-f".as_ref(), path.as_os_str()]).await?;
    let client = plane.client().await?;
    let within = Duration::from_mins(1);
    let components = plane.components()?;
    wait_for("the node", within, components, Part::Kubelet, async || node_is_ready(&client).await)
        .await?;
    let ready =
        wait_for("DNS", within, components, Part::Kubelet, async || dns_is_ready(&client).await)
            .await;
    if let Err(error) = ready {
        let events =
            plane.kubectl(["-n", dns::NAMESPACE, "get", "pods,events"]).await.unwrap_or_default();
        bail!("{error:#}\n{}", command::last_lines(&events, 20));
    }
    Ok(())
}

async fn node_is_ready(client: &Client) -> bool {
    let Ok(node) = Api::<Node>::all(client.clone()).get(node::NAME).await else { return false };
    let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

async fn dns_is_ready(client: &Client) -> bool {
    let deployments = Api::<Deployment>::namespaced(client.clone(), dns::NAMESPACE);
    let Ok(deployment) = deployments.get("coredns").await else { return false };
    deployment.status.and_then(|status| status.ready_replicas) == Some(1)
}
