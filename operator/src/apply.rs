//! Writes what a plan says, in its order. Nothing is decided here but whether a write would change anything.

mod drift_conflict;
mod secrets;

use std::time::Duration;

use kube::Client;
use mcphub_operator_plan::api::ObjectName;
use mcphub_operator_plan::api::drift;
use mcphub_operator_plan::api::{
    Acknowledged, Applied, Event, Object, ObjectWrite, Prepared, Rejection, WriteMode,
};
use mcphub_operator_plan::plan::Plan;
use tracing::{debug, info};

pub use self::drift_conflict::DriftConflicts;
use self::drift_conflict::Reaction;
pub use self::secrets::SecretsWritten;
use crate::metrics::Metrics;
use crate::object_api::{self, Verb};
use crate::stores::{HubName, Stores};

/// In every refusal by an admission policy or a webhook.
const DENIED: &str = "denied";

/// Why a plan was not carried out to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object is not what the plan was made from.
    #[error("{} {} is not as it was seen", .object.kind, .object.name)]
    Conflict {
        /// Which.
        object: ObjectName,
        /// The API server's words.
        #[source]
        source: kube::Error,
    },
    /// The same of the runtime ConfigMap, where it may mean that somebody else leads.
    #[error("the runtime ConfigMap is not as it was seen")]
    RuntimeConflict(#[source] kube::Error),
    /// Any other failure.
    #[error("{} {} cannot be written", .object.kind, .object.name)]
    Api {
        /// Which.
        object: ObjectName,
        /// The API server's words.
        #[source]
        source: kube::Error,
    },
}

/// What became of a plan.
#[derive(Debug)]
pub struct ApplyOutcome {
    /// For the status.
    pub acknowledged: Acknowledged,
    /// What is to be told: what happened on the way, and the plan's own events unless it was left half way.
    pub events: Vec<Event>,
    /// What was not written again because it was written just now may have changed unseen since: look again after
    /// so long.
    pub retry_secrets_after: Option<Duration>,
}

/// What writing needs.
pub struct Writer {
    /// The API server.
    pub client: Client,
    /// Secrets that need no write.
    pub secrets: SecretsWritten,
    /// Objects that somebody else writes too.
    pub conflicts: DriftConflicts,
}

impl Writer {
    /// Carries the plan out. Stops at the first failure: later objects may rest on it. A refusal (400, 403, 422) is no
    /// failure, it becomes part of the status.
    pub async fn apply(
        &self,
        stores: &Stores,
        hub: &HubName,
        plan: &Plan,
        metrics: &Metrics,
    ) -> Result<ApplyOutcome, Error> {
        let mut outcome = ApplyOutcome {
            acknowledged: Acknowledged::default(),
            events: Vec::new(),
            retry_secrets_after: None,
        };
        for write in &plan.objects {
            let error = match self.write(stores, hub, write, metrics, &mut outcome).await {
                Ok(applied) => {
                    outcome.acknowledged.objects.push(applied);
                    continue;
                }
                Err(error) => error,
            };
            let name = write.object.object_name();
            if let Some(message) = object_api::refusal(&error) {
                info!(kind = name.kind, name = name.name, message, "refused by the API server");
                outcome.acknowledged.rejections.push(Rejection { object: name, message });
                if write.is_essential() {
                    return Ok(outcome);
                }
                continue;
            }
            let error = failure(hub, name, error);
            self.learn(stores, hub, &write.object, &error).await;
            return Err(error);
        }
        self.deletes(stores, hub, plan, metrics).await?;
        outcome.events.extend_from_slice(&plan.events);
        Ok(outcome)
    }

    /// After a conflict the cache is told what is there. By itself it would find out late, or never: an object whose
    /// label was taken off is out of the watch's sight, but still in the way of its creation.
    async fn learn(&self, stores: &Stores, hub: &HubName, object: &Object, error: &Error) {
        if !matches!(error, Error::Conflict { .. } | Error::RuntimeConflict(_)) {
            return;
        }
        match object_api::send(&self.client, &hub.namespace, object, Verb::Read).await {
            Ok(there) => stores.acknowledge(&there),
            Err(kube::Error::Api(status)) if status.code == 404 => {
                stores.forget(&hub.namespace, &object.object_name())
            }
            Err(_) => {} // the next try will conflict again
        }
    }

    async fn write(
        &self,
        stores: &Stores,
        hub: &HubName,
        write: &ObjectWrite<Prepared>,
        metrics: &Metrics,
        outcome: &mut ApplyOutcome,
    ) -> Result<ObjectWrite<Applied>, kube::Error> {
        let (namespace, wanted) = (hub.namespace.as_str(), &write.object);
        let known = stores.cached(namespace, wanted);
        let trusted = self.secrets.trusted_for(namespace, wanted);
        let answer = match known {
            Some(known) if !drift::differs(&known, wanted) => known,
            None if trusted.is_some() => {
                outcome.retry_secrets_after = trusted;
                wanted.clone()
            }
            _ => {
                let verb = match write.mode() {
                    WriteMode::Apply => Verb::Apply,
                    WriteMode::Create => Verb::Create,
                };
                self.send(stores, namespace, wanted, verb, metrics).await?
            }
        };
        let answer = self
            .without_strays(stores, namespace, wanted, answer, metrics, &mut outcome.events)
            .await?;
        Ok(write.clone().applied(answer))
    }

    async fn send(
        &self,
        stores: &Stores,
        namespace: &str,
        wanted: &Object,
        verb: Verb,
        metrics: &Metrics,
    ) -> Result<Object, kube::Error> {
        let answer = object_api::send(&self.client, namespace, wanted, verb).await?;
        debug!(kind = wanted.kind(), name = wanted.name(), "written");
        metrics.record_write(wanted.kind());
        stores.acknowledge(&answer);
        if matches!(wanted, Object::Secret(_)) {
            self.secrets.wrote(namespace, wanted);
        }
        Ok(answer)
    }

    /// Takes entries out that others put into lists and maps of ours.
    async fn without_strays(
        &self,
        stores: &Stores,
        namespace: &str,
        wanted: &Object,
        answer: Object,
        metrics: &Metrics,
        events: &mut Vec<Event>,
    ) -> Result<Object, kube::Error> {
        let Some(patch) = drift::strays(&answer, wanted) else { return Ok(answer) };
        let object = wanted.object_name();
        match self.conflicts.found(namespace, &object) {
            Reaction::Leave => return Ok(answer),
            Reaction::Report => {
                let what = format!(
                    "something else keeps adding to {} {}, against the operator",
                    object.kind, object.name
                );
                events.push(contested(&what, "a sidecar injector, a policy engine"));
                return Ok(answer);
            }
            Reaction::Remove => {}
        }
        info!(kind = object.kind, name = object.name, "taking out what others added");
        match self.send(stores, namespace, wanted, Verb::Patch(patch), metrics).await {
            // The code of a test that failed in a patch, too.
            Err(kube::Error::Api(status))
                if status.code == 422 && status.message.contains(DENIED) =>
            {
                self.conflicts.refused(namespace, &object);
                let (kind, name, message) = (object.kind, &object.name, &status.message);
                let what =
                    format!("what was added to {kind} {name} may not be taken out: {message}");
                events.push(contested(&what, "the policy"));
                Ok(answer)
            }
            // It changed meanwhile, so the test in the patch failed; that change brings the next reconcile.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 422) => {
                self.conflicts.missed(namespace, &object);
                Ok(answer)
            }
            sent => sent,
        }
    }

    async fn deletes(
        &self,
        stores: &Stores,
        hub: &HubName,
        plan: &Plan,
        metrics: &Metrics,
    ) -> Result<(), Error> {
        for delete in &plan.deletes {
            match object_api::delete(&self.client, &hub.namespace, delete).await {
                Ok(()) => {
                    info!(kind = delete.object.kind, name = delete.object.name, "deleted");
                    metrics.record_write(delete.object.kind);
                }
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(failure(hub, delete.object.clone(), error)),
            }
            stores.forget(&hub.namespace, &delete.object);
        }
        Ok(())
    }
}

/// Entries of others stay in an object of ours for now.
fn contested(what: &str, who: &str) -> Event {
    Event {
        warning: true,
        reason: "DriftContested".into(),
        message: format!(
            "{what}; it is left for an hour; exclude objects of McpHubs from what does it ({who})"
        ),
    }
}

fn failure(hub: &HubName, object: ObjectName, source: kube::Error) -> Error {
    let conflict = matches!(&source, kube::Error::Api(status) if status.code == 409);
    match conflict {
        true if object.kind == "ConfigMap"
            && object.name == mcphub_operator_plan::api::names::runtime(&hub.name) =>
        {
            Error::RuntimeConflict(source)
        }
        true => Error::Conflict { object, source },
        false => Error::Api { object, source },
    }
}
