//! The key ring, from the mounted key Secret.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use mcphub_hub_wire::keys::KeyRing;
use mcphub_hub_wire::paths;
use tokio::sync::watch;

use crate::mounted_files;

/// Reads the key ring in `dir`, and again whenever it changes. If a new ring is invalid, the last
/// one stays.
pub(crate) fn follow(dir: &Path) -> anyhow::Result<watch::Receiver<Arc<KeyRing>>> {
    let file = dir.join(paths::KEYS_FILE);
    let content =
        std::fs::read(&file).with_context(|| format!("failed to read {}", file.display()))?;
    let ring = parse(&content).with_context(|| format!("{}: not a key ring", file.display()))?;
    let (sender, receiver) = watch::channel(Arc::new(ring));
    tokio::spawn(async move {
        let unused = sender.clone();
        let following =
            mounted_files::follow(file, Some(content), move |content| match parse(content) {
                Ok(ring) => {
                    tracing::info!(serial = ring.current().serial(), "key ring reloaded");
                    sender.send_replace(Arc::new(ring));
                }
                Err(error) => {
                    tracing::error!(%error, "new key ring is invalid, the last one stays");
                }
            });
        tokio::select! {
            () = following => {}
            () = unused.closed() => {}
        }
    });
    Ok(receiver)
}

fn parse(content: &[u8]) -> anyhow::Result<KeyRing> {
    // The parser's own message could quote key material.
    serde_json::from_slice(content)
        .map_err(|error| anyhow::anyhow!("invalid JSON in line {}", error.line()))
}

#[cfg(test)]
mod tests {
    use mcphub_hub_wire::keys::MasterKey;

    use super::*;

    fn write(dir: &Path, ring: &KeyRing) {
        std::fs::write(dir.join("new"), serde_json::to_vec(ring).unwrap()).unwrap();
        std::fs::rename(dir.join("new"), dir.join(paths::KEYS_FILE)).unwrap();
    }

    #[tokio::test]
    async fn a_rotated_key_is_used_and_an_invalid_file_keeps_the_last_one() {
        let dir = tempfile::tempdir().unwrap();
        let master = MasterKey::new([1; 32]);
        write(dir.path(), &master.ring("uid", 1));
        let mut ring = follow(dir.path()).unwrap();
        assert_eq!(ring.borrow_and_update().current().serial(), 1);
        std::fs::write(dir.path().join(paths::KEYS_FILE), "[").unwrap();
        write(dir.path(), &master.ring("uid", 2));
        ring.changed().await.unwrap();
        assert_eq!(**ring.borrow(), master.ring("uid", 2));
    }

    #[tokio::test]
    async fn an_invalid_key_ring_at_start_fails_without_showing_its_content() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(paths::KEYS_FILE), r#"[{"serial":1,"key":"c2VjcmV0"}]"#)
            .unwrap();
        let error = format!("{:#}", follow(dir.path()).unwrap_err());
        assert!(error.contains("keys.json") && !error.contains("c2VjcmV0"), "{error}");
    }
}
