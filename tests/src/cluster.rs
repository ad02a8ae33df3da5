//! A real Kubernetes for tests and the demo.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use std::time::Duration;
//! use mcphub_tests::cluster::{Cluster, Image, Options};
//!
//! let cluster = Cluster::start(Options {
//!     prometheus: Some(Duration::from_secs(1)),
//!     images: vec![Image::Hub, Image::Operator, Image::ServersNode],
//!     ..Options::default()
//! })
//! .await?;
//! let client = cluster.client().await?;                           // kube::Client with all rights
//! cluster.kubectl(["create", "namespace", "mcphub-test-a"]).await?;
//! cluster.helm(["install", "mcphub", "charts/mcphub-operator", "--set", &format!("image={}", cluster.image(Image::Operator)?)]).await?;
//! # Ok(()) }
//! ```
//!
//! * Without `KUBECONFIG` the cluster is the project's own: etcd, API server, controllers, kubelet, containerd, kube-proxy,
//!   `CoreDNS` and Prometheus as processes of this machine, in namespaces of the run. It ends with the value, and with the process
//!   however that ends; nothing of it stays on the machine. The host reaches pods and Services by address; pods reach the
//!   host at [`Cluster::host_address`].
//! * With `KUBECONFIG` of a cluster that `cluster up --keep` left running, that one is used, in full.
//! * With any other `KUBECONFIG` that cluster is used, see [`given`]: only namespaces of ours are touched, and `IMAGES`
//!   says where images are pushed.
//!
//! [`ControlPlane::start`] is the API alone, without a node, ready in seconds.

mod certificates;
mod command;
mod component;
mod control_plane;
mod dns;
pub mod given;
mod images;
mod machine;
mod node;
mod own;
mod prometheus;
mod sandbox;
mod tools;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use kube::Client;
use tokio::process::Command;
use tokio::sync::OnceCell;

pub(crate) use command::output;
pub use component::Part;
pub use control_plane::ControlPlane;
pub use images::Image;
pub(crate) use images::short_hex;
pub use own::Run;
pub(crate) use tools::cache_dir;

/// What a test wants of its cluster.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many nodes; only 1 works today.
    pub nodes: u8,
    /// Run Prometheus, scraping that often.
    pub prometheus: Option<Duration>,
    /// Images to build (or take from the cache) and load.
    pub images: Vec<Image>,
    /// Leave it running after this process has ended; `cluster down` ends it.
    pub keep: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { nodes: 1, prometheus: None, images: Vec::new(), keep: false }
    }
}

/// A running cluster: one of the project's own, or the one that `KUBECONFIG` names.
#[derive(Debug)]
pub struct Cluster(Kind);

#[derive(Debug)]
enum Kind {
    Own(Box<own::Own>),
    Given(Box<given::Given>),
}

impl Cluster {
    /// Starts a cluster, or takes the one that `KUBECONFIG` names. Ready means: node Ready, DNS answers, images are loaded.
    pub async fn start(options: Options) -> Result<Self> {
        if options.nodes != 1 {
            bail!("nodes: {} is not supported yet; only 1", options.nodes);
        }
        crypto();
        match std::env::var("KUBECONFIG") {
            Ok(path) if !path.is_empty() => match own::Own::attach(&path, &options).await? {
                Some(own) => Ok(Self(Kind::Own(Box::new(own)))),
                None => {
                    Self::given(&path, &std::env::var("IMAGES").unwrap_or_default(), &options).await
                }
            },
            _ => Ok(Self(Kind::Own(Box::new(own::Own::start(&options).await?)))),
        }
    }

    /// Uses a cluster that was there, which pulls images from `images`; what `KUBECONFIG` and `IMAGES` do.
    pub async fn given(kubeconfig: &str, images: &str, options: &Options) -> Result<Self> {
        crypto();
        Ok(Self(Kind::Given(Box::new(given::Given::start(kubeconfig, images, options).await?))))
    }

    /// The cluster that all tests of one process share; it ends with the process. The first caller's options count.
    pub async fn shared(options: Options) -> Result<&'static Self> {
        static SHARED: OnceCell<Cluster> = OnceCell::const_new();
        SHARED.get_or_try_init(|| Self::start(options)).await
    }

    /// The kubeconfig file, with all rights that the harness has.
    pub fn kubeconfig(&self) -> &Path {
        match &self.0 {
            Kind::Own(own) => own.plane.kubeconfig(),
            Kind::Given(given) => given.kubeconfig(),
        }
    }

    /// A new client.
    pub async fn client(&self) -> Result<Client> {
        control_plane::client_of(&self.kubeconfig().to_string_lossy()).await
    }

    /// Runs kubectl and returns its stdout; the error holds what it said.
    pub async fn kubectl<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(
        &self,
        args: I,
    ) -> Result<String> {
        kubectl(self.tools(), self.kubeconfig(), args).await
    }

    /// Applies a manifest as `kubectl apply -f -` does.
    pub async fn apply(&self, manifest: &str) -> Result<String> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), manifest)?;
        self.kubectl([OsStr::new("apply"), OsStr::new("-f"), file.path().as_os_str()]).await
    }

    /// Makes a namespace `mcphub-test-<name>`; in a cluster that was there it goes when this process ends.
    pub async fn namespace(&self, name: &str) -> Result<String> {
        let name = format!("mcphub-test-{name}");
        let labels = match &self.0 {
            Kind::Own(_) => String::new(),
            Kind::Given(given) => format!("mcphub.dev/test-run: \"{}\"", given.run()),
        };
        self.apply(&format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}, labels: {{{labels}}}}}}}"
        ))
        .await?;
        Ok(name)
    }

    /// Runs helm, in the root of the checkout, and returns its stdout.
    pub async fn helm<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(
        &self,
        args: I,
    ) -> Result<String> {
        let mut helm = Command::new(self.tools().helm());
        command::output(
            helm.env("KUBECONFIG", self.kubeconfig()).current_dir(tools::root_dir()).args(args),
        )
        .await
    }

    /// Prometheus as pods reach it: what goes into a hub's `prometheus` address.
    pub fn prometheus_url(&self) -> Result<String> {
        match &self.0 {
            Kind::Own(own) => own.prometheus_url(),
            Kind::Given(given) => given.prometheus_url(),
        }
    }

    /// Prometheus as this process reaches it.
    pub fn prometheus_url_from_host(&self) -> Result<String> {
        match &self.0 {
            Kind::Own(own) => own.prometheus_url(),
            Kind::Given(given) => given.prometheus_url_from_host(),
        }
    }

    /// The number that an instant query gives; `None` when it gives nothing.
    pub async fn query(&self, expression: &str) -> Result<Option<f64>> {
        prometheus::query(&self.prometheus_url_from_host()?, expression).await
    }

    /// Builds an image if need be and makes the cluster know it. Returns its name.
    pub async fn load_image(&self, image: Image) -> Result<String> {
        match &self.0 {
            Kind::Own(own) => own.load(image).await,
            Kind::Given(given) => given.push(image).await,
        }
    }

    /// The name of an image that was loaded, for a manifest.
    pub fn image(&self, image: Image) -> Result<String> {
        match &self.0 {
            Kind::Own(_) => images::loaded_name(image),
            Kind::Given(given) => given.name(image),
        }
    }

    /// The address at which pods reach this process, when it is a process of the machine the cluster runs on.
    pub fn host_address(&self) -> Option<std::net::Ipv4Addr> {
        match &self.0 {
            Kind::Own(own) => Some(own.plane.sandbox.addresses().host()),
            Kind::Given(_) => None,
        }
    }

    /// Kills a process of the cluster as `kill -9` does.
    pub fn kill(&self, part: Part) -> Result<()> {
        self.own()?.plane.kill(part)
    }

    /// Kills a process of the cluster and starts it again.
    pub fn restart(&self, part: Part) -> Result<()> {
        self.own()?.plane.restart(part)
    }

    /// Folders with kubectl and helm, for `PATH`.
    pub fn path(&self) -> String {
        self.tools().path()
    }

    /// Files of the run, which end with it; `None` in a cluster that was there.
    pub fn work_folder(&self) -> Option<PathBuf> {
        match &self.0 {
            Kind::Own(own) => Some(own.plane.sandbox.dir()),
            Kind::Given(_) => None,
        }
    }

    /// Pods of a namespace that are not well: events and the last lines of their logs. For the message of a failed test.
    pub async fn complaints(&self, namespace: &str) -> String {
        let ask = async |args: &[&str]| {
            self.kubectl(args).await.unwrap_or_else(|error| format!("{error:#}"))
        };
        let mut text = ask(&["-n", namespace, "get", "pods", "-o", "wide"]).await;
        let events = ask(&["-n", namespace, "get", "events", "--sort-by=.lastTimestamp"]).await;
        text += &command::last_lines(&events, 20);
        let pods = ask(&["-n", namespace, "get", "pods", "-o", "name"]).await;
        for pod in pods.lines() {
            let logs =
                ask(&["-n", namespace, "logs", pod, "--all-containers", "--prefix", "--tail=15"])
                    .await;
            text.extend(["\n--- ", pod, "\n", &logs]);
        }
        text
    }

    /// Lets a cluster of our own outlive this process; `cluster down` ends it.
    pub fn keep(&mut self) -> Result<()> {
        match &mut self.0 {
            Kind::Own(own) => own.plane.sandbox.keep(),
            Kind::Given(_) => Ok(()),
        }
    }

    /// Ends the cluster and waits until nothing of it is left. Dropping it does the same.
    pub fn stop(self) {
        drop(self);
    }

    fn tools(&self) -> &tools::Tools {
        match &self.0 {
            Kind::Own(own) => &own.plane.tools,
            Kind::Given(given) => given.tools(),
        }
    }

    fn own(&self) -> Result<&own::Own> {
        match &self.0 {
            Kind::Own(own) => Ok(own),
            Kind::Given(_) => {
                bail!("processes of a cluster given by KUBECONFIG are not ours to kill")
            }
        }
    }
}

/// Builds an image, or finds it in the cache, and returns the archive that `docker load` and `ctr images import` read.
pub async fn image_archive(image: Image) -> Result<PathBuf> {
    Ok(images::build(image).await?.archive)
}

/// Runs kubectl against any of our kubeconfigs.
pub(crate) async fn kubectl<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(
    tools: &tools::Tools,
    kubeconfig: &Path,
    args: I,
) -> Result<String> {
    let mut kubectl = Command::new(tools.kubernetes("kubectl"));
    command::output(kubectl.env("KUBECONFIG", kubeconfig).args(args)).await
}

/// One line of progress.
pub(crate) fn say(line: &str) {
    eprintln!("cluster: {line}");
}

/// rustls wants to be told which cryptography to use, once a process.
pub(crate) fn crypto() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
