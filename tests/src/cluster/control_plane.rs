//! etcd, the API server, and the controllers beside it.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::process::Command;

use super::certificates::Authority;
use super::component::{Component, Part, wait_for};
use super::sandbox::Sandbox;
use super::tools::{self, Tools};
use super::{command, machine};
use crate::progress;
use crate::wait::PATIENCE;

/// API server and etcd without a node, ready in seconds, for tests that need no pods.
///
/// There are no controllers: nothing is garbage collected, Deployments create no pods, and
/// namespaces stay Terminating.
#[derive(Debug)]
pub struct ControlPlane {
    // Declared before the sandbox, so that the processes are dropped before their namespaces.
    pub(crate) components: Mutex<Vec<Component>>,
    pub(crate) sandbox: Sandbox,
    pub(crate) tools: Tools,
    pub(crate) kubeconfig: String,
}

impl ControlPlane {
    /// Starts etcd and the API server in namespaces of their own. They end with this value, or with
    /// the process.
    pub async fn start() -> Result<Self> {
        let started = Instant::now();
        let (mut plane, _) = Self::launch().await?;
        plane.wait().await?;
        progress::print(&format!(
            "API server without a node ready in {:.1} s",
            started.elapsed().as_secs_f32()
        ));
        Ok(plane)
    }

    /// Starts the processes without waiting for them.
    pub(crate) async fn launch() -> Result<(Self, Authority)> {
        machine::check()?;
        let tools = Tools::ready().await?;
        let sandbox = Sandbox::start().await?;
        let dir = sandbox.dir();
        let authority = Authority::create(&dir.join("certificates"), sandbox.addresses())?;
        let kubeconfig =
            authority.kubeconfig(&dir.join("kubeconfig"), "admin", Some("system:masters"))?;
        let components =
            Mutex::new(vec![etcd(&sandbox, &tools)?, api_server(&sandbox, &tools, &authority)?]);
        Ok((Self { components, sandbox, tools, kubeconfig }, authority))
    }

    /// All processes, for the owner of the only reference.
    pub(crate) fn components(&mut self) -> Result<&mut Vec<Component>> {
        self.components
            .get_mut()
            .ok()
            .context("a thread panicked while it held the list of processes")
    }

    /// Kills a process of the cluster as `kill -9` does.
    pub fn kill(&self, part: Part) -> Result<()> {
        self.with(part, Component::kill)
    }

    /// Kills a process of the cluster and starts it again.
    pub fn restart(&self, part: Part) -> Result<()> {
        self.with(part, Component::restart)
    }

    fn with(&self, part: Part, act: impl FnOnce(&mut Component) -> Result<()>) -> Result<()> {
        let mut components = self.components.lock().unwrap_or_else(PoisonError::into_inner);
        let found = components.iter_mut().find(|component| component.part == part);
        act(found.with_context(|| format!("{part} was not started by this process"))?)
    }

    /// Waits until the API server says it is ready.
    pub(crate) async fn wait(&mut self) -> Result<()> {
        let client = self.client().await?;
        let ready = async || is_ready(&client).await;
        wait_for("the API server", PATIENCE, self.components()?, Part::ApiServer, ready).await
    }

    /// A client with all rights.
    pub async fn client(&self) -> Result<Client> {
        client_of(&self.kubeconfig).await
    }

    /// The path of a kubeconfig with all rights.
    pub fn kubeconfig(&self) -> &Path {
        Path::new(&self.kubeconfig)
    }

    /// Runs kubectl and returns its stdout.
    pub async fn kubectl<I: IntoIterator<Item = S>, S: AsRef<std::ffi::OsStr>>(
        &self,
        args: I,
    ) -> Result<String> {
        super::kubectl(&self.tools, self.kubeconfig(), args).await
    }

    /// Runs helm, in the root of the checkout, and returns its stdout.
    pub async fn helm<I: IntoIterator<Item = S>, S: AsRef<std::ffi::OsStr>>(
        &self,
        args: I,
    ) -> Result<String> {
        let mut helm = Command::new(self.tools.helm());
        command::output(
            helm.env("KUBECONFIG", self.kubeconfig()).current_dir(tools::root_dir()).args(args),
        )
        .await
    }
}

pub(crate) async fn client_of(kubeconfig: &str) -> Result<Client> {
    super::crypto();
    let file = Kubeconfig::read_from(kubeconfig)
        .with_context(|| format!("failed to read the kubeconfig {kubeconfig}"))?;
    let mut config =
        kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    config.connect_timeout = Some(Duration::from_secs(5));
    Ok(Client::try_from(config)?)
}

async fn is_ready(client: &Client) -> bool {
    let Ok(request) = http::Request::get("/readyz").body(Vec::new()) else { return false };
    client.request_text(request).await.is_ok_and(|text| text == "ok")
}

fn etcd(sandbox: &Sandbox, tools: &Tools) -> Result<Component> {
    let args = [
        format!("--data-dir={}", sandbox.dir().join("etcd").display()),
        "--listen-client-urls=http://127.0.0.1:2379".into(),
        "--advertise-client-urls=http://127.0.0.1:2379".into(),
        "--listen-peer-urls=http://127.0.0.1:2380".into(),
        "--log-level=warn".into(),
        // The data is deleted with the run, so there is no point in waiting for the disk.
        "--unsafe-no-fsync".into(),
    ];
    Component::start(sandbox, Part::Etcd, tools.etcd(), args.into())
}

fn api_server(sandbox: &Sandbox, tools: &Tools, authority: &Authority) -> Result<Component> {
    let at = sandbox.addresses();
    let args = [
        format!("--advertise-address={}", at.node()),
        "--bind-address=0.0.0.0".into(),
        "--secure-port=6443".into(),
        "--etcd-servers=http://127.0.0.1:2379".into(),
        format!("--service-cluster-ip-range={}", at.services()),
        "--authorization-mode=Node,RBAC".into(),
        "--enable-admission-plugins=NodeRestriction".into(),
        "--allow-privileged=true".into(),
        format!("--client-ca-file={}", authority.file("ca.crt")),
        format!("--tls-cert-file={}", authority.file("apiserver.crt")),
        format!("--tls-private-key-file={}", authority.file("apiserver.key")),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        format!("--service-account-key-file={}", authority.file("accounts.pub")),
        format!("--service-account-signing-key-file={}", authority.file("accounts.key")),
        format!("--kubelet-client-certificate={}", authority.file("kubelet-client.crt")),
        format!("--kubelet-client-key={}", authority.file("kubelet-client.key")),
        // Otherwise `kubectl logs` looks up the name of the node in DNS.
        "--kubelet-preferred-address-types=InternalIP".into(),
        "--profiling=false".into(),
    ];
    Component::start(sandbox, Part::ApiServer, tools.kubernetes("kube-apiserver"), args.into())
}

/// The controllers and the scheduler, for clusters with nodes.
pub(crate) fn controllers(
    sandbox: &Sandbox,
    tools: &Tools,
    authority: &Authority,
) -> Result<[Component; 2]> {
    let dir = sandbox.dir().join("certificates");
    let manager = "system:kube-controller-manager";
    let manager_config =
        authority.kubeconfig(&dir.join("controller-manager.kubeconfig"), manager, None)?;
    let scheduler = "system:kube-scheduler";
    let scheduler_config =
        authority.kubeconfig(&dir.join("scheduler.kubeconfig"), scheduler, None)?;
    let fast =
        ["--leader-elect=false", "--kube-api-qps=200", "--kube-api-burst=400", "--profiling=false"]
            .map(String::from);
    let manager_args = [
        format!("--kubeconfig={manager_config}"),
        format!("--root-ca-file={}", authority.file("ca.crt")),
        format!("--service-account-private-key-file={}", authority.file("accounts.key")),
        "--use-service-account-credentials=true".into(),
        "--allocate-node-cidrs=false".into(),
        "--bind-address=127.0.0.1".into(),
    ];
    let scheduler_args =
        [format!("--kubeconfig={scheduler_config}"), "--bind-address=127.0.0.1".into()];
    let start = |part: Part, args: Vec<String>| {
        Component::start(sandbox, part, tools.kubernetes(part.name()), args)
    };
    Ok([
        start(Part::ControllerManager, [&manager_args[..], &fast].concat())?,
        start(Part::Scheduler, [&scheduler_args[..], &fast].concat())?,
    ])
}
