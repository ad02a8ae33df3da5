//! The official MCP SDK for Python, in a virtual environment in the cache.

use std::path::{Path, PathBuf};

use anyhow::Result;
use sha2::{Digest as _, Sha256};
use tokio::process::Command;

use crate::cluster::{cache_dir, output as run, short_hex};
use crate::progress::{HowFar, while_running};

/// Runs `tests/demo/client.py` against `url` and returns what it printed.
pub(super) async fn client(url: &str) -> Result<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo");
    let python = environment().await?.join("bin/python");
    run(Command::new(python).arg(folder.join("client.py")).arg(url)).await
}

/// Installs the SDK if it is not in the cache. Returns the folder of the environment.
pub(super) async fn environment() -> Result<PathBuf> {
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/requirements.txt");
    let key = short_hex(&Sha256::digest(std::fs::read(&requirements)?));
    let folder = cache_dir().join(format!("python-client-{key}"));
    let done = folder.join(".done");
    if !done.exists() {
        let what = "installing the MCP SDK for Python";
        while_running(what, &HowFar::default(), install(&folder, &requirements)).await?;
        std::fs::write(done, "")?;
    }
    Ok(folder)
}

async fn install(folder: &Path, requirements: &Path) -> Result<()> {
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder)).await?;
    let mut pip = Command::new(folder.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--requirement"]);
    run(pip.arg(requirements)).await.map(drop)
}
