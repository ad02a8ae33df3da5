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
//! let image = format!("image={}", cluster.image(Image::Operator)?);
//! cluster.helm(["install", "mcphub", "charts/mcphub-operator", "--set", &image]).await?;
//! # Ok(()) }
//! ```
//!
//! * Without `KUBECONFIG` the cluster is local: etcd, API server, controllers, kubelet, containerd,
//!   kube-proxy, `CoreDNS` and Prometheus run as processes of this machine, in namespaces of their
//!   own. It ends when the value is dropped, and also when the process ends, however it ends. It
//!   leaves nothing on the machine. The host reaches pods and Services by address, and pods reach
//!   the host at [`Cluster::host_address`].
//! * With the `KUBECONFIG` of a local cluster that `cluster up --keep` left running, that cluster
//!   is used.
//! * With any other `KUBECONFIG`, that external cluster is used. Only namespaces of the tests are
//!   touched, and `IMAGES` says where images are pushed.
//!
//! [`ControlPlane::start`] is the API alone, without a node, ready in seconds.

mod certificates;
mod command;
mod component;
mod control_plane;
mod dns;
mod external;
mod images;
mod local;
mod machine;
mod node;
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
pub use local::Run;
pub(crate) use tools::cache_dir;

/// What a test needs from its cluster.
#[derive(Debug, Clone)]
pub struct Options {
    /// The number of nodes. Only 1 is supported.
    pub nodes: u8,
    /// Run Prometheus, with this scrape interval.
    pub prometheus: Option<Duration>,
    /// Images to load. Those that are not in the cache are built.
    pub images: Vec<Image>,
    /// Leave the cluster running after this process has ended. `cluster down` ends it.
    pub keep: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { nodes: 1, prometheus: None, images: Vec::new(), keep: false }
    }
}

/// A running cluster: a local one, or the one that `KUBECONFIG` names.
#[derive(Debug)]
pub struct Cluster(Kind);

#[derive(Debug)]
enum Kind {
    Local(Box<local::Local>),
    External(Box<external::External>),
}

impl Cluster {
    /// Starts a cluster, or uses the one that `KUBECONFIG` names. The node is then Ready, DNS
    /// answers, and images are loaded.
    pub async fn start(options: Options) -> Result<Self> {
        if options.nodes != 1 {
            bail!("nodes: {} is not supported yet; write 1", options.nodes);
        }
        crypto();
        let kubeconfig = std::env::var("KUBECONFIG").ok().filter(|path| !path.is_empty());
        let Some(path) = kubeconfig else {
            return Ok(Self(Kind::Local(Box::new(local::Local::start(&options).await?))));
        };
        if let Some(local) = local::Local::attach(&path, &options).await? {
            return Ok(Self(Kind::Local(Box::new(local))));
        }
        Self::external(&path, &std::env::var("IMAGES").unwrap_or_default(), &options).await
    }

    /// Uses an external cluster, which pulls images from `images`. `KUBECONFIG` and `IMAGES` do the
    /// same.
    pub async fn external(kubeconfig: &str, images: &str, options: &Options) -> Result<Self> {
        crypto();
        let external = external::External::start(kubeconfig, images, options).await?;
        Ok(Self(Kind::External(Box::new(external))))
    }

    /// The cluster that all tests of one process share. It has the options of the first caller, and
    /// ends with the process.
    pub async fn shared(options: Options) -> Result<&'static Self> {
        static SHARED: OnceCell<Cluster> = OnceCell::const_new();
        SHARED.get_or_try_init(|| Self::start(options)).await
    }

    /// The path of a kubeconfig with all rights that the tests have.
    pub fn kubeconfig(&self) -> &Path {
        match &self.0 {
            Kind::Local(local) => local.plane.kubeconfig(),
            Kind::External(external) => external.kubeconfig(),
        }
    }

    /// A new client.
    pub async fn client(&self) -> Result<Client> {
        control_plane::client_of(&self.kubeconfig().to_string_lossy()).await
    }

    /// Runs kubectl and returns its stdout.
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

    /// Creates the namespace `mcphub-test-<name>`. In an external cluster it is deleted when this
    /// process ends.
    pub async fn namespace(&self, name: &str) -> Result<String> {
        let name = format!("mcphub-test-{name}");
        let labels = match &self.0 {
            Kind::Local(_) => String::new(),
            Kind::External(external) => format!("mcphub.dev/test-run: \"{}\"", external.run()),
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

    /// The address of Prometheus for pods, such as the operator.
    pub fn prometheus_url(&self) -> Result<String> {
        match &self.0 {
            Kind::Local(local) => local.prometheus_url(),
            Kind::External(external) => external.prometheus_url(),
        }
    }

    /// The address of Prometheus for this process.
    pub fn prometheus_url_from_host(&self) -> Result<String> {
        match &self.0 {
            Kind::Local(local) => local.prometheus_url(),
            Kind::External(external) => external.prometheus_url_from_host(),
        }
    }

    /// The number that an instant query returns; `None` if it returns no series.
    pub async fn query(&self, expression: &str) -> Result<Option<f64>> {
        prometheus::query(&self.prometheus_url_from_host()?, expression).await
    }

    /// Loads an image, and builds it first if it is not in the cache. Returns its name.
    pub async fn load_image(&self, image: Image) -> Result<String> {
        match &self.0 {
            Kind::Local(local) => local.load(image).await,
            Kind::External(external) => external.push(image).await,
        }
    }

    /// The name of a loaded image, for a manifest.
    pub fn image(&self, image: Image) -> Result<String> {
        match &self.0 {
            Kind::Local(_) => images::loaded_name(image),
            Kind::External(external) => external.name(image),
        }
    }

    /// The address at which pods reach this process; `None` if the cluster runs elsewhere.
    pub fn host_address(&self) -> Option<std::net::Ipv4Addr> {
        match &self.0 {
            Kind::Local(local) => Some(local.plane.sandbox.addresses().host()),
            Kind::External(_) => None,
        }
    }

    /// Kills a process of the cluster as `kill -9` does.
    pub fn kill(&self, part: Part) -> Result<()> {
        self.local()?.plane.kill(part)
    }

    /// Kills a process of the cluster and starts it again.
    pub fn restart(&self, part: Part) -> Result<()> {
        self.local()?.plane.restart(part)
    }

    /// Folders with kubectl and helm, for `PATH`.
    pub fn path(&self) -> String {
        self.tools().path()
    }

    /// The folder with the files of the run, deleted when it ends; `None` for an external cluster.
    pub fn work_folder(&self) -> Option<PathBuf> {
        match &self.0 {
            Kind::Local(local) => Some(local.plane.sandbox.dir()),
            Kind::External(_) => None,
        }
    }

    /// Pods, events and ends of logs in a namespace, for the message of a failed test.
    pub async fn diagnostics(&self, namespace: &str) -> String {
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

    /// Lets a local cluster outlive this process. `cluster down` ends it.
    pub fn keep(&mut self) -> Result<()> {
        match &mut self.0 {
            Kind::Local(local) => local.plane.sandbox.keep(),
            Kind::External(_) => Ok(()),
        }
    }

    /// Ends the cluster and waits until it has left nothing behind, as a drop does.
    pub fn stop(self) {
        drop(self);
    }

    fn tools(&self) -> &tools::Tools {
        match &self.0 {
            Kind::Local(local) => &local.plane.tools,
            Kind::External(external) => external.tools(),
        }
    }

    fn local(&self) -> Result<&local::Local> {
        match &self.0 {
            Kind::Local(local) => Ok(local),
            Kind::External(_) => {
                bail!("cannot kill processes of an external cluster; unset KUBECONFIG")
            }
        }
    }
}

/// Builds what is not in the cache, and returns the archives, which `docker load` and `ctr images
/// import` read.
pub async fn image_archives(wanted: &[Image]) -> Result<Vec<PathBuf>> {
    let built = images::build_all(wanted).await?;
    Ok(built.into_iter().map(|image| image.archive).collect())
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

/// Installs the TLS implementation, which rustls wants once per process.
pub(crate) fn crypto() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
