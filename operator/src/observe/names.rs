//! Finds names that belong to somebody else.

use std::collections::BTreeSet;

use futures::{FutureExt as _, StreamExt as _, stream};
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

/// Who has some names.
#[derive(Debug, Default)]
pub(super) struct Owners {
    /// Names of objects that exist and are not controlled by the hub.
    pub(super) taken: BTreeSet<ObjectName>,
    /// Names that could not be looked up.
    pub(super) unknown: BTreeSet<ObjectName>,
    /// Why not.
    pub(super) error: Option<kube::Error>,
}

/// Looks up who has these names. The hub is the object with this uid.
pub(super) async fn owners(
    client: &Client,
    namespace: &str,
    uid: &str,
    names: BTreeSet<ObjectName>,
) -> Owners {
    let look = |name: ObjectName| {
        async move {
            let found = metadata(client, namespace, &name).await;
            (name, found.map(|found| found.is_some_and(|meta| !is_controlled(&meta, uid))))
        }
        .boxed()
    };
    let lookups: Vec<_> = names.into_iter().map(look).collect();
    let mut lookups = stream::iter(lookups).buffer_unordered(CONCURRENT);
    let mut owners = Owners::default();
    while let Some((name, found)) = lookups.next().await {
        match found {
            Ok(true) => drop(owners.taken.insert(name)),
            Ok(false) => {}
            Err(error) => {
                owners.unknown.insert(name);
                owners.error = Some(error);
            }
        }
    }
    owners
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
