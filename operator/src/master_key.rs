//! The one secret that all hubs' keys are derived from, in a Secret of the operator's own namespace.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use mcphub_hub_wire::keys::{KEY_BYTES, MasterKey};
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use tracing::info;

use crate::FIELD_MANAGER;

/// Name of the Secret. The chart's Role names it too.
pub const NAME: &str = "mcphub-master-key";
const ENTRY: &str = "master.key";

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server said no.
    #[error("Secret {NAME} cannot be read or created")]
    Kube(#[source] kube::Error),
    /// Somebody else's Secret, or one that was edited.
    #[error(
        "Secret {NAME} has no {KEY_BYTES} bytes in \"{ENTRY}\": restore it, or delete it to have every hub's keys made anew"
    )]
    Malformed,
    /// No randomness.
    #[error("the system gives no random bytes")]
    Random(#[source] rand::rand_core::OsError),
}

/// The master key, made if there is none yet.
pub async fn ensured(client: &Client, namespace: &str) -> Result<MasterKey, Error> {
    let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
    if let Some(secret) = secrets.get_opt(NAME).await.map_err(Error::Kube)? {
        return understood(&secret);
    }
    match secrets
        .create(
            &PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() },
            &made()?,
        )
        .await
    {
        Ok(secret) => {
            info!(secret = NAME, "made the master key");
            understood(&secret)
        }
        // Another replica was faster: its key is the one that hubs will get.
        Err(kube::Error::Api(status)) if status.code == 409 => {
            understood(&secrets.get(NAME).await.map_err(Error::Kube)?)
        }
        Err(error) => Err(Error::Kube(error)),
    }
}

fn made() -> Result<Secret, Error> {
    let mut bytes = vec![0; KEY_BYTES];
    OsRng.try_fill_bytes(&mut bytes).map_err(Error::Random)?;
    let labels =
        [("app.kubernetes.io/part-of", "mcphub"), ("app.kubernetes.io/managed-by", FIELD_MANAGER)];
    Ok(Secret {
        metadata: ObjectMeta {
            name: Some(NAME.into()),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            ..ObjectMeta::default()
        },
        immutable: Some(true), // an edit would cut every session of every hub
        data: Some(BTreeMap::from([(ENTRY.to_owned(), ByteString(bytes))])),
        ..Secret::default()
    })
}

fn understood(secret: &Secret) -> Result<MasterKey, Error> {
    let bytes = secret.data.as_ref().and_then(|data| data.get(ENTRY)).ok_or(Error::Malformed)?;
    Ok(MasterKey::new(bytes.0.as_slice().try_into().map_err(|_| Error::Malformed)?))
}
