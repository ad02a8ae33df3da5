//! The node: containerd, kubelet, kube-proxy, and the network of its pods.

use std::fs;
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::certificates::Authority;
use super::component::{Component, Part};
use super::sandbox::Sandbox;
use super::tools::Tools;

/// The node's name in the API.
pub(crate) const NAME: &str = "node-1";

/// Where Debian installs the programs of the pod network.
const CNI_PROGRAMS: &str = "/usr/lib/cni";

/// The name under which containerd looks for the image of pod sandboxes.
pub(crate) const PAUSE: &str = "registry.k8s.io/pause:3.6";

/// The path of containerd's socket. It is in the work folder, so that the host reaches it too.
pub(crate) fn socket(sandbox: &Sandbox) -> String {
    sandbox.dir().join("containerd/socket").to_string_lossy().into_owned()
}

/// Starts containerd. Pods need images in it before kubelet starts them.
pub(crate) fn containerd(sandbox: &Sandbox) -> Result<Component> {
    let dir = sandbox.dir();
    fs::create_dir_all(dir.join("containerd"))?;
    fs::create_dir_all(dir.join("cni"))?;
    fs::write(dir.join("cni/10-pods.conflist"), pod_network(sandbox).to_string())?;
    let config = dir.join("containerd/config.toml");
    fs::write(&config, containerd_config(sandbox))?;
    let args = vec![format!("--config={}", config.display())];
    Component::start(sandbox, Part::Containerd, "containerd".into(), args)
}

fn containerd_config(sandbox: &Sandbox) -> String {
    let dir = sandbox.dir();
    let dir = dir.display();
    let socket = socket(sandbox);
    let snapshotter = snapshotter(&sandbox.dir());
    format!(
        r#"version = 2
root = "{dir}/containerd/root"
state = "{dir}/containerd/state"
disabled_plugins = [
    "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
    "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs",
]
[grpc]
  address = "{socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{dir}/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  # A machine that may not lower OOM scores fails every sandbox without this, with the message
  # "can't get final child's PID from pipe".
  restrict_oom_score_adj = true
  disable_apparmor = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_PROGRAMS}"
    conf_dir = "{dir}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
"#
    )
}

/// The snapshotter is overlay, unless the work folder is itself on an overlay (in a container): the
/// kernel refuses one on the other.
fn snapshotter(dir: &Path) -> &'static str {
    const OVERLAY: nix::sys::statfs::FsType = nix::sys::statfs::FsType(0x794c_7630);
    match nix::sys::statfs::statfs(dir) {
        Ok(found) if found.filesystem_type() == OVERLAY => "native",
        _ => "overlayfs",
    }
}

/// Each pod has a routed veth of its own. With a bridge, answers between two pods of the node would
/// bypass the address translation of kube-proxy on kernels without `br_netfilter`.
fn pod_network(sandbox: &Sandbox) -> Value {
    json!({
        "cniVersion": "0.4.0", "name": "pods",
        "plugins": [{
            "type": "ptp",
            "ipMasq": false,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": sandbox.addresses().pods()}]],
                "routes": [{"dst": "0.0.0.0/0"}],
                "dataDir": sandbox.dir().join("cni/leases"),
            },
        }],
    })
}

/// Starts kubelet and kube-proxy.
pub(crate) fn start(
    sandbox: &Sandbox,
    tools: &Tools,
    authority: &Authority,
) -> Result<[Component; 2]> {
    Ok([kubelet(sandbox, tools, authority)?, kube_proxy(sandbox, tools, authority)?])
}

fn kubelet(sandbox: &Sandbox, tools: &Tools, authority: &Authority) -> Result<Component> {
    let dir = sandbox.dir().join("kubelet");
    fs::create_dir_all(&dir)?;
    // The name servers of the host cannot be reached from the network of the run.
    fs::write(dir.join("resolv.conf"), "")?;
    let config = dir.join("config.json");
    fs::write(&config, kubelet_config(sandbox, authority).to_string())?;
    let user = format!("system:node:{NAME}");
    let kubeconfig = authority.kubeconfig(&dir.join("kubeconfig"), &user, Some("system:nodes"))?;
    let args = [
        format!("--config={}", config.display()),
        format!("--kubeconfig={kubeconfig}"),
        format!("--root-dir={}", dir.join("root").display()),
        format!("--cert-dir={}", dir.join("certificates").display()),
        format!("--hostname-override={NAME}"),
        format!("--node-ip={}", sandbox.addresses().node()),
        "--node-labels=topology.kubernetes.io/zone=zone-1".into(),
    ];
    Component::start(sandbox, Part::Kubelet, tools.kubernetes("kubelet"), args.into())
}

fn kubelet_config(sandbox: &Sandbox, authority: &Authority) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": false}, "webhook": {"enabled": true},
            "x509": {"clientCAFile": authority.file("ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": format!("unix://{}", socket(sandbox)),
        "cgroupDriver": "cgroupfs", "cgroupRoot": sandbox.cgroup(), "failCgroupV1": false,
        "failSwapOn": false,
        // A nearly full disk on a developer's machine must not evict the pods under test, nor their
        // images.
        "evictionHard": {
            "memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%",
            "nodefs.inodesFree": "1%",
        },
        "imageGCHighThresholdPercent": 100, "imageGCLowThresholdPercent": 99,
        "clusterDNS": [sandbox.addresses().dns().to_string()], "clusterDomain": "cluster.local",
        "resolvConf": sandbox.dir().join("kubelet/resolv.conf"),
        // The default is a system folder, which all runs would share.
        "podLogsDir": sandbox.dir().join("pod-logs"),
        "volumePluginDir": sandbox.dir().join("kubelet/volume-plugins"),
        "kubeAPIQPS": 100, "kubeAPIBurst": 200, "eventRecordQPS": 0,
    })
}

fn kube_proxy(sandbox: &Sandbox, tools: &Tools, authority: &Authority) -> Result<Component> {
    let dir = sandbox.dir().join("kube-proxy");
    fs::create_dir_all(&dir)?;
    let kubeconfig = authority.kubeconfig(&dir.join("kubeconfig"), "system:kube-proxy", None)?;
    let config = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
        "mode": "iptables", "clusterCIDR": sandbox.addresses().pods(), "hostnameOverride": NAME,
        "clientConnection": {"kubeconfig": kubeconfig},
        // These sysctls cannot be written in a network namespace.
        "conntrack": {
            "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s",
        },
        "iptables": {"minSyncPeriod": "100ms"},
    });
    let path = dir.join("config.json");
    fs::write(&path, config.to_string())?;
    let args = vec![format!("--config={}", path.display())];
    Component::start(sandbox, Part::KubeProxy, tools.kubernetes("kube-proxy"), args)
}
