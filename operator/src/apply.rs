//! Applies a plan in its order. The only decision here is whether a write would change anything.

mod drift_conflict;
mod ownership;
mod secrets;

use std::collections::BTreeSet;
use std::time::Duration;

use kube::Client;
use mcphub_operator_plan::api::ObjectName;
use mcphub_operator_plan::api::drift;
use mcphub_operator_plan::api::{
    Acknowledged, Applied, Event, Failure, Object, ObjectWrite, Prepared, Rejection, WriteMode,
};
use mcphub_operator_plan::plan::{Plan, Unwritten};
use tracing::{debug, info, warn};

pub(crate) use self::drift_conflict::DriftConflicts;
use self::drift_conflict::Reaction;
pub(crate) use self::secrets::SecretsWritten;
use crate::error_chain;
use crate::metrics::Metrics;
use crate::object_api::{self, Verb};
use crate::stores::{HubName, Stores};

/// Part of every rejection by an admission policy or a webhook.
const DENIED: &str = "denied";

/// After this many requests without any answer, the API server counts as gone. The next attempt
/// sends the rest. Each of them waits for a timeout.
const MOST_SILENCES: usize = 3;

/// Why an object was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The object is not the one that the plan was made from.
    #[error("{} {} changed since it was read", .object.kind, .object.name)]
    Conflict {
        object: ObjectName,
        #[source]
        source: kube::Error,
    },
    /// The same for the runtime ConfigMap, where it may mean that another replica leads.
    #[error("the runtime ConfigMap changed since it was read")]
    RuntimeConflict(#[source] kube::Error),
    /// Any other failure.
    #[error("failed to write {} {}", .object.kind, .object.name)]
    Api {
        object: ObjectName,
        #[source]
        source: kube::Error,
    },
}

impl Error {
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. } | Self::RuntimeConflict(_))
    }

    pub(crate) fn source(&self) -> &kube::Error {
        match self {
            Self::Conflict { source, .. }
            | Self::RuntimeConflict(source)
            | Self::Api { source, .. } => source,
        }
    }

    fn is_silence(&self) -> bool {
        !matches!(self.source(), kube::Error::Api(_))
    }

    /// For the status. The address of the API server is nobody's business there.
    fn message(&self) -> String {
        match self.source() {
            kube::Error::Api(status) => status.message.clone(),
            _ => "the API server did not answer".into(),
        }
    }
}

/// The outcome of applying a plan.
#[derive(Debug, Default)]
pub(crate) struct ApplyOutcome {
    /// For the status.
    pub(crate) acknowledged: Acknowledged,
    /// The state that the events of the plan report is written.
    pub(crate) state_written: bool,
    /// Events of the writes.
    pub(crate) events: Vec<Event>,
    /// Every failure, in the order of the writes.
    pub(crate) errors: Vec<Error>,
    /// Reconcile again after this time, because a Secret that was written a moment ago was not
    /// written again, and somebody may have changed it since.
    pub(crate) retry_secrets_after: Option<Duration>,
}

impl ApplyOutcome {
    /// The failure that decides when to try again: one that is not only a conflict, if there is
    /// one. The others are logged.
    pub(crate) fn into_error(self) -> Option<Error> {
        let (conflicts, others): (Vec<_>, Vec<_>) =
            self.errors.into_iter().partition(Error::is_conflict);
        let mut errors = others.into_iter().chain(conflicts);
        let first = errors.next();
        for error in errors {
            warn!(error = error_chain::join(&error), "one more object was not written");
        }
        first
    }

    fn fail(&mut self, verb: &'static str, object: ObjectName, error: Error) {
        let message = error.message();
        self.acknowledged.failures.push(Failure { verb, object, message });
        self.errors.push(error);
    }

    fn is_over(&self) -> bool {
        let silences = self.errors.iter().filter(|error| error.is_silence()).count();
        // Another replica may lead now.
        let conflict = |error: &Error| matches!(error, Error::RuntimeConflict(_));
        silences >= MOST_SILENCES || self.errors.iter().any(conflict)
    }
}

/// Writes the objects of hubs.
pub(crate) struct Writer {
    /// The API server.
    pub(crate) client: Client,
    /// Secrets that need no write now.
    pub(crate) secrets: SecretsWritten,
    /// Objects that somebody else keeps changing.
    pub(crate) conflicts: DriftConflicts,
}

impl Writer {
    /// Applies the plan. A write that fails stops only those that need it. A rejection by the API
    /// server (400, 403, 422) is not an error: the status reports it.
    pub(crate) async fn apply(
        &self,
        stores: &Stores,
        hub: &HubName,
        plan: &Plan,
        metrics: &Metrics,
    ) -> ApplyOutcome {
        let mut outcome = ApplyOutcome::default();
        self.apply_all(stores, hub, plan, metrics, &mut outcome).await;
        let objects = outcome.acknowledged.objects.iter();
        let written: BTreeSet<_> = objects.map(|write| write.object.object_name()).collect();
        outcome.state_written = plan.deletes_need.is_subset(&written);
        outcome
    }

    async fn apply_all(
        &self,
        stores: &Stores,
        hub: &HubName,
        plan: &Plan,
        metrics: &Metrics,
        outcome: &mut ApplyOutcome,
    ) {
        let mut unwritten = Unwritten::default();
        for write in &plan.objects {
            let name = write.object.object_name();
            if unwritten.blocks(write) {
                unwritten.add(name);
                continue;
            }
            let error = match self.write(stores, hub, write, metrics, outcome).await {
                Ok(applied) => {
                    outcome.acknowledged.objects.push(applied);
                    continue;
                }
                Err(error) => error,
            };
            unwritten.add(name.clone());
            if let Some(message) = object_api::refusal(&error) {
                info!(kind = name.kind, name = name.name, message, "refused by the API server");
                outcome.acknowledged.rejections.push(Rejection { object: name, message });
                continue;
            }
            let error = failure(hub, name.clone(), error);
            self.learn(stores, hub, &write.object, &error).await;
            outcome.fail("write", name, error);
            if outcome.is_over() {
                return;
            }
        }
        if !unwritten.blocks_deletes(plan) {
            self.deletes(stores, hub, plan, metrics, outcome).await;
        }
    }

    /// Updates the cache after a conflict. The watch would do so late or never: an object that lost
    /// its label is not watched any more, but it still blocks the creation of a new one.
    async fn learn(&self, stores: &Stores, hub: &HubName, object: &Object, error: &Error) {
        if !error.is_conflict() {
            return;
        }
        match object_api::send(&self.client, &hub.namespace, object, Verb::Read).await {
            Ok(there) => stores.acknowledge(&there),
            Err(kube::Error::Api(status)) if status.code == 404 => {
                stores.forget(&hub.namespace, &object.object_name());
            }
            Err(_) => {} // the next attempt will conflict again
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
            .remove_foreign_entries(stores, namespace, wanted, answer, metrics, &mut outcome.events)
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
        let answer = self.hand_over(namespace, answer).await;
        debug!(kind = wanted.kind(), name = wanted.name(), "written");
        metrics.record_write(wanted.kind());
        stores.acknowledge(&answer);
        if matches!(wanted, Object::Secret(_)) {
            self.secrets.wrote(namespace, wanted);
        }
        Ok(answer)
    }

    /// Lets our applies own what another operation of ours owns. A failure is repaired by the next
    /// write.
    async fn hand_over(&self, namespace: &str, answer: Object) -> Object {
        let Some(patch) = ownership::handover(&answer) else { return answer };
        match object_api::send(&self.client, namespace, &answer, Verb::Patch(patch)).await {
            Ok(answer) => answer,
            Err(error) => {
                debug!(error = error_chain::join(&error), "failed to hand over fields");
                answer
            }
        }
    }

    /// Removes entries that others added to lists and maps of ours.
    async fn remove_foreign_entries(
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
        match self.conflicts.react(namespace, &object) {
            Reaction::Leave => return Ok(answer),
            Reaction::Report => {
                let what = format!(
                    "something else keeps adding entries to {} {}",
                    object.kind, object.name
                );
                events.push(drift_contested(&what, "a sidecar injector, a policy engine"));
                return Ok(answer);
            }
            Reaction::Remove => {}
        }
        info!(kind = object.kind, name = object.name, "removing entries that others added");
        match self.send(stores, namespace, wanted, Verb::Patch(patch), metrics).await {
            // A failed `test` operation of a JSON patch has the same code, but not this message.
            Err(kube::Error::Api(status))
                if status.code == 422 && status.message.contains(DENIED) =>
            {
                self.conflicts.yield_to_policy(namespace, &object);
                let (kind, name, message) = (object.kind, &object.name, &status.message);
                let what = format!(
                    "entries that were added to {kind} {name} cannot be removed: {message}"
                );
                events.push(drift_contested(&what, "the policy"));
                Ok(answer)
            }
            // The object changed in the meantime, so the `test` operation of the patch failed. That
            // change triggers the next reconcile.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 422) => {
                self.conflicts.cancel(namespace, &object);
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
        outcome: &mut ApplyOutcome,
    ) {
        for delete in &plan.deletes {
            match object_api::delete(&self.client, &hub.namespace, delete).await {
                Ok(()) => {
                    info!(kind = delete.object.kind, name = delete.object.name, "deleted");
                    metrics.record_write(delete.object.kind);
                }
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => {
                    let object = delete.object.clone();
                    outcome.fail("delete", object.clone(), failure(hub, object, error));
                    if outcome.is_over() {
                        return;
                    }
                    continue;
                }
            }
            stores.forget(&hub.namespace, &delete.object);
        }
    }
}

/// Entries of others stay in one of our objects for now.
fn drift_contested(what: &str, who: &str) -> Event {
    Event {
        warning: true,
        reason: "DriftContested".into(),
        message: format!(
            "{what}; the operator leaves them for an hour; exclude objects of McpHubs there ({who})"
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
