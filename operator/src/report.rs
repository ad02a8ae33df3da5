//! Tells what came of a plan: the McpHub's status, and Events.

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
use mcphub_operator_plan::plan::Event;
use serde_json::json;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::FIELD_MANAGER;
use crate::stores::Stores;
use crate::words;

/// The same words about the same hub are sent once in so long.
const QUIET: Duration = Duration::from_mins(10);

/// The status could not be written.
#[derive(Debug, thiserror::Error)]
#[error("the status cannot be written")]
pub struct Error(#[source] pub kube::Error);

/// What reporting needs.
pub struct Reporter {
    client: Client,
    instance: String,
    sent: Mutex<HashMap<(String, String, String), Instant>>,
}

impl Reporter {
    /// `instance`: this replica, as Events name it.
    pub fn new(client: Client, instance: String) -> Self {
        Self { client, instance, sent: Mutex::default() }
    }

    /// Writes the status if it is not what the hub has.
    pub async fn status(
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
            // With the uid: a hub that was deleted and made anew has not come as far as this one.
            "metadata": {"name": hub.name_any(), "uid": hub.uid()},
            "status": status,
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let answer = hubs.patch_status(&hub.name_any(), &params, &Patch::Apply(body)).await;
        match answer {
            Ok(answer) => stores.wrote_status(answer),
            Err(kube::Error::Api(status)) if status.code == 404 => {} // deleted meanwhile: nobody is to be told
            Err(error) => return Err(Error(error)),
        }
        Ok(())
    }

    /// Sends events about the hub. One that can't be sent is logged: it is no reason to do the work again.
    pub async fn events(&self, hub: &McpHub, events: &[Event]) {
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
                    error = words::of(&error),
                    "an Event could not be sent"
                );
            }
        }
    }

    fn is_new(&self, hub: &McpHub, event: &Event) -> bool {
        let now = Instant::now();
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.retain(|_, at| now < *at + QUIET);
        let key = (hub.uid().unwrap_or_default(), event.reason.clone(), event.message.clone());
        sent.insert(key.clone(), now).is_none_or(|at| {
            sent.insert(key, at); // the quiet is counted from when it was really sent
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
            note: Some(bounded(&event.message)),
            action: Some("Reconcile".into()),
            event_time: Some(MicroTime(now)),
            reporting_controller: Some(format!("mcphub.dev/{FIELD_MANAGER}")),
            reporting_instance: Some(self.instance.clone()),
            regarding: Some(ObjectReference { resource_version: None, ..hub.object_ref(&()) }),
            ..KubeEvent::default()
        }
    }
}

/// The API server refuses longer notes than 1 kB.
fn bounded(message: &str) -> String {
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
        let cut = bounded(&"ä".repeat(600));
        assert_eq!(cut.len(), 1023);
        assert!(cut.ends_with("ä…"));
        assert_eq!(bounded("short"), "short");
    }
}
