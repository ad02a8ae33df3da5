//! Reports the result of a plan: writes the McpHub's status and sends Events.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event as KubeEvent;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt};
use mcphub_crds::{McpHub, McpHubStatus};
use mcphub_operator_plan::api::Event;
use serde_json::json;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::stores::Stores;
use crate::{FIELD_MANAGER, error_chain};

/// The same event about the same hub is sent at most once in this period.
const REPEAT_INTERVAL: Duration = Duration::from_mins(10);

#[derive(Debug, thiserror::Error)]
#[error("failed to write the status")]
pub(crate) struct Error(#[source] pub(crate) kube::Error);

pub(crate) struct Reporter {
    client: Client,
    instance: String,
    last_sent: Mutex<HashMap<(String, String, String), Instant>>,
}

impl Reporter {
    /// `instance` is this replica's name in Events.
    pub(crate) fn new(client: Client, instance: String) -> Self {
        Self { client, instance, last_sent: Mutex::default() }
    }

    /// Writes the status if it differs from the one that the hub has.
    pub(crate) async fn write_status(
        &self,
        stores: &Stores,
        hub: &McpHub,
        status: McpHubStatus,
    ) -> Result<(), Error> {
        if hub.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let hubs =
            Api::<McpHub>::namespaced(self.client.clone(), &hub.namespace().unwrap_or_default());
        let body = json!({
            "apiVersion": McpHub::api_version(&()),
            "kind": McpHub::kind(&()),
            // With the uid, because a hub that was deleted and recreated must not get the old one's
            // status.
            "metadata": {"name": hub.name_any(), "uid": hub.uid()},
            "status": status,
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let response = hubs.patch_status(&hub.name_any(), &params, &Patch::Apply(body)).await;
        match response {
            Ok(hub) => stores.acknowledge_status(hub),
            // The hub was deleted in the meantime.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(Error(error)),
        }
        Ok(())
    }

    /// Sends events about the hub. A failure is only logged, because it is no reason to reconcile
    /// again.
    pub(crate) async fn send_events(&self, hub: &McpHub, events: &[Event]) {
        for event in events {
            info!(reason = event.reason, warning = event.warning, message = event.message, "event");
            if !self.is_new(hub, event) {
                continue;
            }
            let events = Api::<KubeEvent>::namespaced(
                self.client.clone(),
                &hub.namespace().unwrap_or_default(),
            );
            if let Err(error) = events.create(&PostParams::default(), &self.event(hub, event)).await
            {
                warn!(
                    reason = event.reason,
                    error = error_chain::join(&error),
                    "failed to send an Event"
                );
            }
        }
    }

    fn is_new(&self, hub: &McpHub, event: &Event) -> bool {
        let now = Instant::now();
        let mut last_sent = self.last_sent.lock().unwrap_or_else(PoisonError::into_inner);
        last_sent.retain(|_, at| now < *at + REPEAT_INTERVAL);
        let key = (hub.uid().unwrap_or_default(), event.reason.clone(), event.message.clone());
        last_sent.insert(key.clone(), now).is_none_or(|at| {
            last_sent.insert(key, at); // the interval starts when the event was really sent
            false
        })
    }

    fn event(&self, hub: &McpHub, event: &Event) -> KubeEvent {
        let now = Timestamp::now();
        KubeEvent {
            metadata: ObjectMeta {
                name: Some(format!("{}.{:x}", hub.name_any(), now.as_nanosecond())),
                namespace: hub.namespace(),
                ..ObjectMeta::default()
            },
            type_: Some(if event.warning { "Warning" } else { "Normal" }.into()),
            reason: Some(event.reason.clone()),
            note: Some(truncate(&event.message)),
            action: Some("Reconcile".into()),
            event_time: Some(MicroTime(now)),
            reporting_controller: Some(format!("mcphub.dev/{FIELD_MANAGER}")),
            reporting_instance: Some(self.instance.clone()),
            regarding: Some(ObjectReference { resource_version: None, ..hub.object_ref(&()) }),
            ..KubeEvent::default()
        }
    }
}

/// Cuts the message to 1 kB, because the API server rejects longer notes.
fn truncate(message: &str) -> String {
    const LIMIT: usize = 1024;
    if message.len() <= LIMIT {
        return message.to_owned();
    }
    let cut = message.floor_char_boundary(LIMIT - '…'.len_utf8());
    format!("{}…", message.get(..cut).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_cut_at_a_character_within_the_api_servers_limit() {
        let cut = truncate(&"ä".repeat(600));
        assert_eq!(cut.len(), 1023);
        assert!(cut.ends_with("ä…"));
        assert_eq!(truncate("short"), "short");
    }
}
