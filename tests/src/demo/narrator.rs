//! Tells what happens to a hub, as its status says it.

use futures::TryStreamExt as _;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use mcphub_crds::McpHub;
use tokio::task::JoinHandle;

use super::screen::Screen;

/// Prints a line whenever phase, step or weight of the hub changes; ends when dropped.
pub(super) struct Narrator(JoinHandle<()>);

impl Narrator {
    /// Follows `name` in `namespace`.
    pub(super) fn start(client: Client, namespace: &str, name: &str, screen: Screen) -> Self {
        let hubs: Api<McpHub> = Api::namespaced(client, namespace);
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        Self(tokio::spawn(async move {
            let mut told = String::new();
            let mut changes =
                std::pin::pin!(watcher(hubs, config).default_backoff().applied_objects());
            while let Ok(Some(hub)) = changes.try_next().await {
                let now = sentence(&hub);
                if now != told {
                    screen.line(&now);
                    told = now;
                }
            }
        }))
    }
}

impl Drop for Narrator {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn sentence(hub: &McpHub) -> String {
    let Some(status) = &hub.status else { return "McpHub: no status yet".into() };
    let phase = status.phase.map_or("?", mcphub_crds::status::Phase::as_str);
    let stable = status.stable.as_ref().map(|stable| format!("stable {}", stable.revision));
    let canary = status.canary.as_ref().map(|canary| {
        let waits = canary
            .holding
            .as_ref()
            .map(|holding| format!(", waits: {:?}", holding.reason))
            .unwrap_or_default();
        format!("canary {} step {} at {} %{waits}", canary.revision, canary.step, canary.weight)
    });
    let breached = status.rules.iter().filter(|rule| rule.breached_since.is_some());
    let breached = breached.map(|rule| format!("{} breached", rule.name));
    let parts: Vec<String> = stable.into_iter().chain(canary).chain(breached).collect();
    format!("McpHub {phase}  {}", parts.join(", "))
}
