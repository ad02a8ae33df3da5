//! Single requests to the API server about an object, whatever its kind.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client, Resource, ResourceExt};
use mcphub_operator_plan::api::{Delete, Object};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::FIELD_MANAGER;

/// What is requested.
#[derive(Debug, Clone)]
pub(crate) enum Verb {
    /// Server-side apply with force.
    Apply,
    /// Server-side apply with force and `dryRun=All`: nothing is stored.
    DryRun,
    /// `POST`: the object must not exist yet.
    Create,
    /// A JSON patch (RFC 6902).
    Patch(Value),
    /// `GET`.
    Read,
}

/// Sends one request. Returns the object as the server has it now.
pub(crate) async fn send(
    client: &Client,
    namespace: &str,
    object: &Object,
    verb: Verb,
) -> Result<Object, kube::Error> {
    Ok(match object {
        Object::ServiceAccount(object) => {
            Object::ServiceAccount(one(client, namespace, object, verb).await?)
        }
        Object::Role(object) => Object::Role(one(client, namespace, object, verb).await?),
        Object::RoleBinding(object) => {
            Object::RoleBinding(one(client, namespace, object, verb).await?)
        }
        Object::Secret(object) => Object::Secret(one(client, namespace, object, verb).await?),
        Object::ControllerRevision(object) => {
            Object::ControllerRevision(one(client, namespace, object, verb).await?)
        }
        Object::ConfigMap(object) => Object::ConfigMap(one(client, namespace, object, verb).await?),
        Object::Service(object) => Object::Service(one(client, namespace, object, verb).await?),
        Object::Deployment(object) => {
            Object::Deployment(one(client, namespace, object, verb).await?)
        }
        Object::PodDisruptionBudget(object) => {
            Object::PodDisruptionBudget(one(client, namespace, object, verb).await?)
        }
    })
}

/// The API server's reason if it refuses the object, `None` if it would accept it. Nothing is
/// stored.
pub(crate) async fn dry_run(
    client: &Client,
    namespace: &str,
    object: &Object,
) -> Result<Option<String>, kube::Error> {
    match send(client, namespace, object, Verb::DryRun).await {
        Ok(_) => Ok(None),
        Err(error) => refusal(&error).map_or(Err(error), |message| Ok(Some(message))),
    }
}

/// The message of a refusal (400, 403, 422), which a retry would not change.
pub(crate) fn refusal(error: &kube::Error) -> Option<String> {
    match error {
        kube::Error::Api(status) if matches!(status.code, 400 | 403 | 422) => {
            Some(status.message.clone())
        }
        _ => None,
    }
}

async fn one<K>(client: &Client, namespace: &str, object: &K, verb: Verb) -> Result<K, kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned,
{
    let api = Api::<K>::namespaced(client.clone(), namespace);
    let name = object.name_any();
    let apply = PatchParams::apply(FIELD_MANAGER).force();
    match verb {
        Verb::Apply => api.patch(&name, &apply, &Patch::Apply(object)).await,
        Verb::DryRun => api.patch(&name, &apply.dry_run(), &Patch::Apply(object)).await,
        Verb::Create => {
            let params =
                PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
            api.create(&params, object).await
        }
        Verb::Read => api.get(&name).await,
        Verb::Patch(patch) => {
            let patch = serde_json::from_value(patch).map_err(kube::Error::SerdeError)?;
            let params =
                PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
            api.patch(&name, &params, &Patch::<()>::Json(patch)).await
        }
    }
}

/// Deletes an object if it is still the one that was read. An object that does not exist is an
/// error (404).
pub(crate) async fn delete(
    client: &Client,
    namespace: &str,
    delete: &Delete,
) -> Result<(), kube::Error> {
    match delete.object.kind {
        "ServiceAccount" => delete_one::<ServiceAccount>(client, namespace, delete).await,
        "Role" => delete_one::<Role>(client, namespace, delete).await,
        "RoleBinding" => delete_one::<RoleBinding>(client, namespace, delete).await,
        "Secret" => delete_one::<Secret>(client, namespace, delete).await,
        "ControllerRevision" => delete_one::<ControllerRevision>(client, namespace, delete).await,
        "ConfigMap" => delete_one::<ConfigMap>(client, namespace, delete).await,
        "Service" => delete_one::<Service>(client, namespace, delete).await,
        "Deployment" => delete_one::<Deployment>(client, namespace, delete).await,
        "PodDisruptionBudget" => delete_one::<PodDisruptionBudget>(client, namespace, delete).await,
        _ => Ok(()), // no plan has other kinds
    }
}

async fn delete_one<K>(client: &Client, namespace: &str, delete: &Delete) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let preconditions = Preconditions {
        uid: Some(delete.uid.clone()),
        resource_version: Some(delete.resource_version.clone()),
    };
    let params = DeleteParams::background().preconditions(preconditions);
    Api::<K>::namespaced(client.clone(), namespace)
        .delete(&delete.object.name, &params)
        .await
        .map(|_| ())
}
