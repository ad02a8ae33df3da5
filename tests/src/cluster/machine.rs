//! What a machine must have for a local cluster, and the message if it lacks something.

use anyhow::{Result, bail};

/// The start of that message. What is missing follows.
pub(crate) const CANNOT_RUN: &str =
    "this machine cannot run a local cluster; set KUBECONFIG to use another cluster";

/// `PATH`, with the folders where Debian installs iptables and the like. Not every user has them.
pub(crate) fn path() -> std::ffi::OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/usr/bin:/sbin:/bin");
    path
}

/// Checks for programs from Debian packages, and for kernel features as far as user space can see
/// them.
pub(crate) fn check() -> Result<()> {
    let mut missing = Vec::new();
    if !nix::unistd::geteuid().is_root() {
        missing.push("root".to_owned());
    }
    for program in [
        "containerd",
        "runc",
        "iptables",
        "conntrack",
        "ip",
        "nsenter",
        "unshare",
        "setpriv",
        "setsid",
        "flock",
        "buildah",
        "prometheus",
    ] {
        if !on_path(program) {
            missing.push(format!("the program {program}"));
        }
    }
    if !std::path::Path::new("/usr/lib/cni/ptp").exists() {
        missing.push("the package containernetworking-plugins".to_owned());
    }
    let filesystems = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    for (name, what) in [("overlay", "the overlay file system"), ("cgroup", "control groups")] {
        if !filesystems.split_whitespace().any(|word| word == name) {
            missing.push(format!("{what} in the kernel"));
        }
    }
    for (path, what) in [
        ("/proc/self/ns/net", "network namespaces"),
        ("/proc/self/ns/pid", "process namespaces"),
        ("/sys/fs/cgroup", "control groups under /sys/fs/cgroup"),
    ] {
        if !std::path::Path::new(path).exists() {
            missing.push(format!("{what} in the kernel"));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "{CANNOT_RUN}: {} is missing (tests/cluster/setup installs the programs on Debian)",
        missing.join(", ")
    )
}

fn on_path(program: &str) -> bool {
    std::env::split_paths(&path()).any(|dir| dir.join(program).exists())
}
