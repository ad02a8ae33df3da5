//! Parts of a pod, kept as they were written.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A part of a pod, kept as it was written. The schema of `T` is not in the CRD: with the pod's own schemas the CRD
/// would be too big for a client-side `kubectl apply`. The API server's dry-run of the child judges it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PodShaped<T> {
    value: Value,
    #[serde(skip)]
    shape: PhantomData<T>,
}

/// A pod-shaped value that is not what Kubernetes takes there.
#[derive(Debug, thiserror::Error)]
#[error("{field}: not a Kubernetes {shape}: {cause}")]
pub struct WrongShape {
    field: String,
    shape: &'static str,
    cause: serde_json::Error,
}

/// A type that [`PodShaped`] can hold.
pub trait Shape: DeserializeOwned {
    /// Name in the Kubernetes API.
    const NAME: &'static str;
    /// Texts that every value must have: what list maps and rules of the CRD look at.
    const REQUIRED: &'static [&'static str] = &[];
    /// Texts that rules of the CRD look at, with their greatest length.
    const OPTIONAL: &'static [(&'static str, u32)] = &[];
    /// Turns what Kubernetes takes as well into what `Self` reads.
    fn normalize(_: &mut Value) {}
}

impl<T> PodShaped<T> {
    /// Takes the value as it is.
    pub fn new(value: Value) -> Self {
        Self { value, shape: PhantomData }
    }

    /// As it was written.
    pub fn as_value(&self) -> &Value {
        &self.value
    }
}

impl<T: Shape> PodShaped<T> {
    /// The value with its type. `field` is where it stands, for the error: `spec.podTemplate.tolerations[0]`.
    pub fn typed(&self, field: &str) -> Result<T, WrongShape> {
        let mut value = self.value.clone();
        T::normalize(&mut value);
        serde_json::from_value(value).map_err(|cause| WrongShape {
            field: field.into(),
            shape: T::NAME,
            cause,
        })
    }
}

impl<T: Shape> JsonSchema for PodShaped<T> {
    fn schema_name() -> Cow<'static, str> {
        T::NAME.into()
    }
    fn schema_id() -> Cow<'static, str> {
        format!("{}::{}", module_path!(), T::NAME).into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut schema =
            json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        if !T::REQUIRED.is_empty() {
            let texts =
                T::REQUIRED.iter().map(|key| (*key, 253)).chain(T::OPTIONAL.iter().copied());
            let text = |length: u32| json!({"type": "string", "maxLength": length});
            schema.insert(
                "properties".into(),
                texts.map(|(key, length)| (key, text(length))).collect(),
            );
            schema.insert("required".into(), T::REQUIRED.into());
        }
        schema
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{ResourceRequirements, Toleration};

    use super::*;

    #[test]
    fn a_pod_shaped_value_gets_its_type_or_an_error_that_names_the_field() {
        let resources =
            PodShaped::<ResourceRequirements>::new(json!({"limits": {"cpu": 1, "memory": "1Gi"}}));
        let limits = resources.typed("spec.resources").unwrap().limits.unwrap();
        assert_eq!(limits["cpu"].0, "1");
        assert_eq!(resources.as_value(), &json!({"limits": {"cpu": 1, "memory": "1Gi"}}));
        let wrong = PodShaped::<Toleration>::new(json!({"key": 3}));
        let message = wrong.typed("spec.podTemplate.tolerations[0]").unwrap_err().to_string();
        assert!(
            message.starts_with("spec.podTemplate.tolerations[0]: not a Kubernetes Toleration: "),
            "{message}"
        );
    }
}
