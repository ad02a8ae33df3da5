//! Finds names that belong to somebody else.

use std::collections::BTreeSet;

use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::ObjectMeta;
use kube::{Api, Client, Resource};
use mcphub_operator_plan::api::ObjectName;

/// Concurrent lookups for one hub.
const CONCURRENT: usize = 8;

/// Those of `names` that exist and are not controlled by the object with this uid.
pub(super) async fn taken(
    client: &Client,
    namespace: &str,
    uid: &str,
    names: BTreeSet<ObjectName>,
) -> Result<BTreeSet<ObjectName>, kube::Error> {
    let look = |name: ObjectName| {
        async move {
            let found = metadata(client, namespace, &name).await?;
            Ok::<_, kube::Error>(found.filter(|meta| !is_controlled(meta, uid)).map(|_| name))
        }
        .boxed()
    };
    let lookups: Vec<_> = names.into_iter().map(look).collect();
    let found: Vec<Option<ObjectName>> =
        stream::iter(lookups).buffer_unordered(CONCURRENT).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

fn is_controlled(meta: &ObjectMeta, uid: &str) -> bool {
    meta.owner_references
        .iter()
        .flatten()
        .any(|owner| owner.controller == Some(true) && owner.uid == uid)
}

async fn metadata(
    client: &Client,
    namespace: &str,
    name: &ObjectName,
) -> Result<Option<ObjectMeta>, kube::Error> {
    match name.kind {
        "ConfigMap" => get::<ConfigMap>(client, namespace, &name.name).await,
        "ControllerRevision" => get::<ControllerRevision>(client, namespace, &name.name).await,
        "Deployment" => get::<Deployment>(client, namespace, &name.name).await,
        "PodDisruptionBudget" => get::<PodDisruptionBudget>(client, namespace, &name.name).await,
        "Role" => get::<Role>(client, namespace, &name.name).await,
        "RoleBinding" => get::<RoleBinding>(client, namespace, &name.name).await,
        "Service" => get::<Service>(client, namespace, &name.name).await,
        "ServiceAccount" => get::<ServiceAccount>(client, namespace, &name.name).await,
        _ => Ok(None), // the operator may not read Secrets; no plan has other kinds
    }
}

async fn get<K>(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Option<ObjectMeta>, kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let found = Api::<K>::namespaced(client.clone(), namespace).get_metadata_opt(name).await?;
    Ok(found.map(|object| object.metadata))
}
