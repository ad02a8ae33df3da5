//! Reports the result of a plan: writes the McpHub's status and sends Events.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event as KubeEvent;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt};
use mcphub_crds::{McpHub, McpHubStatus};
use mcphub_operator_plan::api::Event;
use mcphub_operator_plan::next::Next;
use mcphub_operator_plan::plan::Plan;
use serde_json::json;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::metrics::Metrics;
use crate::stores::{HubName, Stores};
use crate::{FIELD_MANAGER, error_chain};

/// When an Event that could not be sent is tried again.
const SEND_AGAIN: Duration = Duration::from_secs(10);
/// An event that no state stores is sent at most once in this period.
const REPEAT_INTERVAL: Duration = Duration::from_mins(10);

#[derive(Debug, thiserror::Error)]
#[error("failed to write the status")]
pub(crate) struct Error(#[source] pub(crate) kube::Error);

pub(crate) struct Reporter {
    client: Client,
    instance: String,
    metrics: Arc<Metrics>,
    /// When an event without an outbox was sent last, by hub, reason and message.
    last_sent: Mutex<HashMap<(String, String, String), Instant>>,
    /// Names of the events that were sent and that may still be in the outbox of the hub.
    sent: Mutex<HashMap<HubName, BTreeSet<String>>>,
}

impl Reporter {
    /// `instance` is this replica's name in Events.
    pub(crate) fn new(client: Client, instance: String, metrics: Arc<Metrics>) -> Self {
        Self { client, instance, metrics, last_sent: Mutex::default(), sent: Mutex::default() }
    }

    /// Names of the events that were sent and that may still be in the outbox of the hub.
    pub(crate) fn sent(&self, hub: &HubName) -> BTreeSet<String> {
        self.lock_sent().get(hub).cloned().unwrap_or_default()
    }

    /// Forgets a deleted hub.
    pub(crate) fn forget(&self, hub: &HubName) {
        self.lock_sent().remove(hub);
    }

    fn lock_sent(&self) -> MutexGuard<'_, HashMap<HubName, BTreeSet<String>>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Sends the events of a plan whose state is written. Returns when to reconcile again because
    /// of them: the next write of the state drops those that were sent.
    pub(crate) async fn report(&self, name: &HubName, hub: &McpHub, plan: &Plan) -> Next {
        for event in &plan.events {
            info!(reason = event.reason, warning = event.warning, message = event.message, "event");
        }
        self.metrics.record_dropped_events(plan.dropped_events);
        let Some(outbox) = &plan.outbox else {
            self.send_events(hub, &plan.events).await;
            return Next::Idle;
        };
        let mut sent = self.sent(name);
        let names: Vec<_> = outbox
            .iter()
            .map(|pending| pending.name(&name.name, &hub.uid().unwrap_or_default()))
            .collect();
        sent.retain(|name| names.contains(name));
        let mut next = Next::Idle;
        for (pending, name) in outbox.iter().zip(names) {
            if sent.contains(&name) {
                continue;
            }
            let event = self.event(hub, name.clone(), pending.at, &pending.event());
            match self.create(hub, &event).await {
                Ok(()) => {
                    sent.insert(name);
                    next = Next::Now;
                }
                Err(error) => {
                    warn!(error = error_chain::join(&error), "failed to send an Event, it waits");
                    next = next.or_sooner(Next::In(SEND_AGAIN));
                    break;
                }
            }
        }
        self.lock_sent().insert(name.clone(), sent);
        next
    }

    /// Sends events that no state stores. A failure is only logged, because it is no reason to
    /// reconcile again.
    pub(crate) async fn send_events(&self, hub: &McpHub, events: &[Event]) {
        for event in events {
            if !self.is_new(hub, event) {
                continue;
            }
            let now = Timestamp::now();
            let name = format!("{}.{:x}", hub.name_any(), now.as_nanosecond());
            if let Err(error) = self.create(hub, &self.event(hub, name, now, event)).await {
                warn!(
                    reason = event.reason,
                    error = error_chain::join(&error),
                    "failed to send an Event"
                );
            }
        }
    }

    /// Creates an Event. One that exists was sent before, and one that the API server refuses (400,
    /// 403, 404, 422) will never be accepted.
    async fn create(&self, hub: &McpHub, event: &KubeEvent) -> Result<(), kube::Error> {
        let namespace = hub.namespace().unwrap_or_default();
        let events = Api::<KubeEvent>::namespaced(self.client.clone(), &namespace);
        match events.create(&PostParams::default(), event).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 404 | 422) => {
                let (reason, message) = (&event.reason, &status.message);
                warn!(reason, message, "the API server refuses an Event");
                Ok(())
            }
            Err(error) => Err(error),
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

    fn event(&self, hub: &McpHub, name: String, at: Timestamp, event: &Event) -> KubeEvent {
        KubeEvent {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: hub.namespace(),
                ..ObjectMeta::default()
            },
            type_: Some(if event.warning { "Warning" } else { "Normal" }.into()),
            reason: Some(event.reason.clone()),
            note: Some(event.note()),
            action: Some("Reconcile".into()),
            event_time: Some(MicroTime(at)),
            reporting_controller: Some(format!("mcphub.dev/{FIELD_MANAGER}")),
            reporting_instance: Some(self.instance.clone()),
            regarding: Some(ObjectReference { resource_version: None, ..hub.object_ref(&()) }),
            ..KubeEvent::default()
        }
    }
}
