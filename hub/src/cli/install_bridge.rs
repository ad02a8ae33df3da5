//! `mcp-hub install-bridge`: copies this binary into a volume, so that the container of a stdio
//! server can run it. The image has no shell and no cp.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Context as _;

use crate::args;

/// Copies the binary. If the file exists, it is complete, also after a crash.
pub async fn run(args: args::InstallBridge) -> anyhow::Result<()> {
    let dest = args.dest;
    tokio::task::spawn_blocking(move || install(Path::new("/proc/self/exe"), &dest)).await?
}

fn install(from: &Path, dest: &Path) -> anyhow::Result<()> {
    let folder =
        dest.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut part = dest.as_os_str().to_owned();
    part.push(".part");
    let write = || {
        fs::copy(from, &part)?;
        fs::set_permissions(&part, Permissions::from_mode(0o755))?;
        File::open(&part)?.sync_all()?;
        fs::rename(&part, dest)?;
        File::open(folder)?.sync_all()
    };
    write().with_context(|| format!("failed to install to {}", dest.display()))?;
    tracing::info!(dest = %dest.display(), "bridge installed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_is_executable_and_replaces_an_older_one() {
        let dir = tempfile::tempdir().unwrap();
        let (from, dest) = (dir.path().join("from"), dir.path().join("mcp-hub"));
        fs::write(&from, "new").unwrap();
        fs::write(&dest, "older and longer").unwrap();
        install(&from, &dest).unwrap();
        assert_eq!(fs::read_to_string(&dest).unwrap(), "new");
        assert_eq!(fs::metadata(&dest).unwrap().permissions().mode() & 0o777, 0o755);
        let left: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }

    #[test]
    fn a_missing_folder_is_named_in_the_error() {
        let error =
            install(Path::new("/proc/self/exe"), Path::new("/nowhere/mcp-hub")).unwrap_err();
        assert!(
            format!("{error:#}").starts_with("failed to install to /nowhere/mcp-hub: "),
            "{error:#}"
        );
    }
}
