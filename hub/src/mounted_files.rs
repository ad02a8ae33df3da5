//! Files that Kubernetes mounts from ConfigMaps and Secrets, and swaps under a running pod.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// How often to look at file systems without notifications, and for folders that appear late.
const POLL: Duration = Duration::from_secs(5);

/// Calls `changed` with the content of `file` whenever it has changed, until the future is dropped.
/// `known` is the content that the caller has read already. A missing or unreadable file signals
/// nothing.
pub(crate) async fn follow(
    file: PathBuf,
    mut known: Option<Vec<u8>>,
    mut changed: impl FnMut(&[u8]),
) {
    let (change_sender, mut signals) = mpsc::channel(1);
    let dir = file.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    let mut watcher = watch(&dir, change_sender.clone());
    let mut poll = interval_at(Instant::now() + POLL, POLL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Read after the watch is in place: a change since the caller has read the file must not be
        // missed.
        if let Ok(content) = std::fs::read(&file)
            && known.as_ref() != Some(&content)
        {
            changed(&content);
            known = Some(content);
        }
        tokio::select! {
            _ = signals.recv() => {}
            _ = poll.tick() => {
                if watcher.is_none() {
                    watcher = watch(&dir, change_sender.clone());
                }
            }
        }
    }
}

/// Watches the folder and not the file: Kubernetes swaps the link `..data` beside it, and editors
/// rename files.
fn watch(dir: &Path, change_sender: mpsc::Sender<()>) -> Option<RecommendedWatcher> {
    let on_event = move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            // If the channel is full, the file is going to be read anyway.
            change_sender.try_send(()).ok();
        }
    };
    let watching = notify::recommended_watcher(on_event).and_then(|mut watcher| {
        watcher.watch(dir, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    watching
        .inspect_err(|error| {
            tracing::warn!(dir = %dir.display(), %error,
                "failed to watch, polling instead");
        })
        .ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    async fn next(contents: &mut mpsc::UnboundedReceiver<Vec<u8>>) -> String {
        let content = tokio::time::timeout(Duration::from_secs(2), contents.recv()).await;
        String::from_utf8(content.expect("faster than by polling").unwrap()).unwrap()
    }

    // This is how the kubelet updates a mounted ConfigMap. A watch on the file itself would not
    // notice it.
    #[tokio::test]
    async fn a_swapped_data_link_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for version in ["..1", "..2"] {
            std::fs::create_dir(path(version)).unwrap();
            std::fs::write(path(version).join("file"), version).unwrap();
        }
        symlink("..1", path("..data")).unwrap();
        symlink("..data/file", path("file")).unwrap();

        let (sender, mut contents) = mpsc::unbounded_channel();
        let following = tokio::spawn(follow(path("file"), None, move |content| {
            sender.send(content.to_vec()).unwrap();
        }));
        assert_eq!(next(&mut contents).await, "..1");
        symlink("..2", path("..data_tmp")).unwrap();
        std::fs::rename(path("..data_tmp"), path("..data")).unwrap();
        assert_eq!(next(&mut contents).await, "..2");
        following.abort();
    }
}
