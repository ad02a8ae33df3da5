//! Prints what happens to a hub, as its status reports it.

use futures::TryStreamExt as _;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use mcphub_crds::McpHub;
use mcphub_crds::status::Phase;
use tokio::task::JoinHandle;

use super::console::Console;

/// Prints a line whenever phase, step or weight of the hub changes. Ends when dropped.
pub(super) struct StatusPrinter(JoinHandle<()>);

impl StatusPrinter {
    /// Follows `name` in `namespace`.
    pub(super) fn start(client: Client, namespace: &str, name: &str, console: Console) -> Self {
        let hubs: Api<McpHub> = Api::namespaced(client, namespace);
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        Self(tokio::spawn(async move {
            let mut printed = String::new();
            let mut changes =
                std::pin::pin!(watcher(hubs, config).default_backoff().applied_objects());
            loop {
                // After an error the watcher reconnects by itself.
                let hub = match changes.try_next().await {
                    Ok(Some(hub)) => hub,
                    Ok(None) => return,
                    Err(_) => continue,
                };
                let line = describe(&hub);
                if line != printed {
                    console.line(&line);
                    printed = line;
                }
            }
        }))
    }
}

impl Drop for StatusPrinter {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn describe(hub: &McpHub) -> String {
    let Some(status) = &hub.status else { return "McpHub: no status yet".into() };
    let phase = status.phase.map_or("?", Phase::as_str);
    let stable = status.stable.as_ref().map(|stable| format!("stable {}", stable.revision));
    let canary = status.canary.as_ref().map(|canary| {
        let hold = canary.holding.as_ref();
        let hold = hold.map(|hold| format!(", on hold: {:?}", hold.reason)).unwrap_or_default();
        format!("canary {} step {} at {} %{hold}", canary.revision, canary.step, canary.weight)
    });
    let breached = status.rules.iter().filter(|rule| rule.breached_since.is_some());
    let breached = breached.map(|rule| format!("{} breached", rule.name));
    let parts: Vec<String> = stable.into_iter().chain(canary).chain(breached).collect();
    format!("McpHub {phase}  {}", parts.join(", "))
}
