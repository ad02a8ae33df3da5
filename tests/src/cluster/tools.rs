//! The programs of the test cluster. They are built once from pinned Go modules and then taken from
//! the cache.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tokio::process::Command;
use tokio::sync::OnceCell;

use super::command;

/// Folders of the programs that `tests/cluster/tools/build` built.
#[derive(Debug, Clone)]
pub(crate) struct Tools {
    etcd: PathBuf,
    kubernetes: PathBuf,
    coredns: PathBuf,
    helm: PathBuf,
}

impl Tools {
    /// Builds what is missing, which takes minutes, and finds the rest in the cache, which takes
    /// milliseconds.
    pub(crate) async fn ready() -> Result<Self> {
        static READY: OnceCell<Tools> = OnceCell::const_new();
        READY.get_or_try_init(Self::build).await.cloned()
    }

    async fn build() -> Result<Self> {
        let names = ["etcd", "kubernetes", "coredns", "helm"];
        let lines =
            command::with_own_progress(Command::new(source_dir().join("tools/build")).args(names))
                .await?;
        let folder = |tool: &str| -> Result<PathBuf> {
            let line = lines.lines().find_map(|line| line.strip_prefix(tool)?.strip_prefix(' '));
            Ok(line.with_context(|| format!("tools/build printed no folder for {tool}"))?.into())
        };
        Ok(Self {
            etcd: folder("etcd")?,
            kubernetes: folder("kubernetes")?,
            coredns: folder("coredns")?,
            helm: folder("helm")?,
        })
    }

    pub(crate) fn etcd(&self) -> PathBuf {
        self.etcd.join("etcd")
    }
    pub(crate) fn kubernetes(&self, program: &str) -> PathBuf {
        self.kubernetes.join(program)
    }
    pub(crate) fn coredns(&self) -> PathBuf {
        self.coredns.join("coredns")
    }
    pub(crate) fn helm(&self) -> PathBuf {
        self.helm.join("helm")
    }
    /// The folders to put on `PATH` for kubectl and helm.
    pub(crate) fn path(&self) -> String {
        format!("{}:{}", self.kubernetes.display(), self.helm.display())
    }
}

/// `tests/cluster` of the checkout.
pub(crate) fn source_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster")
}

/// The root of the checkout.
pub(crate) fn root_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The folder for what outlives a run and a checkout: built programs and images.
pub(crate) fn cache_dir() -> PathBuf {
    let set =
        |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("MCPHUB_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|dir| dir.join("mcphub")))
        .or_else(|| set("HOME").map(|dir| dir.join(".cache/mcphub")))
        .unwrap_or_else(|| PathBuf::from("/var/cache/mcphub"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// Compiles the first of three packages at once, and needs a while for the others.
    const SLOW_GO: &str = r#"#!/bin/sh
case $1 in
  version) echo go version slow ;;
  list) echo "go: downloading example.com/a v1.0.0" >&2; printf 'a\nb\nc\n' ;;
  build)
    while [ "$1" != -o ]; do shift; done
    echo a >&2; sleep 3; echo b >&2; echo c >&2; touch "$2/server" ;;
esac
"#;

    #[tokio::test]
    async fn a_slow_build_of_a_tool_reports_how_many_packages_are_compiled() {
        let folder = tempfile::tempdir().unwrap();
        let go = folder.path().join("go");
        std::fs::write(&go, SLOW_GO).unwrap();
        std::fs::set_permissions(&go, std::fs::Permissions::from_mode(0o755)).unwrap();
        let build = async || {
            let mut build = Command::new(source_dir().join("tools/build"));
            build.arg("etcd").env("GO", &go).env("MCPHUB_CACHE", folder.path());
            let output = build.env("MCPHUB_PROGRESS_SECONDS", "1").output().await.unwrap();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            (text(&output.stdout), text(&output.stderr))
        };
        let (printed, progress) = build().await;
        assert!(progress.contains("  etcd: 1 of 3 packages compiled, "), "{progress}");
        let program = printed.trim().strip_prefix("etcd ").unwrap();
        assert!(Path::new(program).join("etcd").exists(), "{printed}");
        assert_eq!(build().await, (printed, String::new()), "the second time it is in the cache");
    }
}
