//! The master key, from which the keys of all hubs are derived. It is stored in a Secret in the
//! operator's namespace.

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

/// Name of the Secret. The chart's Role repeats it.
pub(crate) const NAME: &str = "mcphub-master-key";
const ENTRY: &str = "master.key";

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("failed to read or create Secret {NAME}")]
    Kube(#[source] kube::Error),
    /// The Secret was edited, or something else created it.
    #[error(
        "Secret {NAME} does not have {KEY_BYTES} bytes in \"{ENTRY}\"; restore it, or delete it to \
         generate new keys for every hub"
    )]
    Malformed,
    #[error("failed to generate random bytes")]
    Random(#[source] rand::rand_core::OsError),
}

/// Reads the master key, or creates it if there is none.
pub(crate) async fn get_or_create(client: &Client, namespace: &str) -> Result<MasterKey, Error> {
    let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
    if let Some(secret) = secrets.get_opt(NAME).await.map_err(Error::Kube)? {
        return parse(&secret);
    }
    match secrets
        .create(
            &PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() },
            &generate()?,
        )
        .await
    {
        Ok(secret) => {
            info!(secret = NAME, "created the master key");
            parse(&secret)
        }
        // Another replica created it first, and its key is the one that hubs get.
        Err(kube::Error::Api(status)) if status.code == 409 => {
            parse(&secrets.get(NAME).await.map_err(Error::Kube)?)
        }
        Err(error) => Err(Error::Kube(error)),
    }
}

fn generate() -> Result<Secret, Error> {
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
        immutable: Some(true), // an edit would end every session of every hub
        data: Some(BTreeMap::from([(ENTRY.to_owned(), ByteString(bytes))])),
        ..Secret::default()
    })
}

fn parse(secret: &Secret) -> Result<MasterKey, Error> {
    let bytes = secret.data.as_ref().and_then(|data| data.get(ENTRY)).ok_or(Error::Malformed)?;
    Ok(MasterKey::new(bytes.0.as_slice().try_into().map_err(|_| Error::Malformed)?))
}
