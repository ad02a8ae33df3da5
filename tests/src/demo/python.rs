//! The official MCP SDK for Python, in an environment of its own that is kept in the cache.

use std::path::{Path, PathBuf};

use anyhow::Result;
use sha2::{Digest as _, Sha256};
use tokio::process::Command;

use crate::cluster::{cache_dir, output as run, short_hex};

/// Runs `tests/demo/client.py` against `url` and returns what it printed.
pub(super) async fn client(url: &str) -> Result<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo");
    let python = environment(&folder.join("requirements.txt")).await?.join("bin/python");
    run(Command::new(python).arg(folder.join("client.py")).arg(url)).await
}

async fn environment(requirements: &Path) -> Result<PathBuf> {
    let key = short_hex(&Sha256::digest(std::fs::read(requirements)?));
    let folder = cache_dir().join(format!("python-client-{key}"));
    let done = folder.join(".done");
    if !done.exists() {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder)).await?;
        let mut install = Command::new(folder.join("bin/pip"));
        run(install
            .args(["install", "--quiet", "--disable-pip-version-check", "--requirement"])
            .arg(requirements))
        .await?;
        std::fs::write(done, "")?;
    }
    Ok(folder)
}
