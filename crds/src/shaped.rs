//! Parts of a pod that are stored as the user wrote them.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A part of a pod, stored as the user wrote it.
///
/// The CRD does not have the schema of `T`, because the schemas of pods would make it too large for
/// a client-side `kubectl apply`. A server-side dry run of the object validates the value instead.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PodShaped<T> {
    value: Value,
    #[serde(skip)]
    shape: PhantomData<T>,
}

/// A pod-shaped value that is not valid for its Kubernetes type.
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
    /// String fields that every value must have, because list maps and rules of the CRD use them.
    const REQUIRED: &'static [&'static str] = &[];
    /// String fields that rules of the CRD use, with their maximum length.
    const OPTIONAL: &'static [(&'static str, u32)] = &[];
    /// Converts spellings that Kubernetes also accepts to the one that `Self` parses.
    fn normalize(_: &mut Value) {}
}

impl<T> PodShaped<T> {
    pub fn new(value: Value) -> Self {
        Self { value, shape: PhantomData }
    }

    /// The value as the user wrote it.
    pub fn as_value(&self) -> &Value {
        &self.value
    }
}

impl<T: Shape> PodShaped<T> {
    /// Parses the value. `field` is its path for the error, for example
    /// `spec.podTemplate.tolerations[0]`.
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
            let fields =
                T::REQUIRED.iter().map(|key| (*key, 253)).chain(T::OPTIONAL.iter().copied());
            let string = |length: u32| json!({"type": "string", "maxLength": length});
            schema.insert(
                "properties".into(),
                fields.map(|(key, length)| (key, string(length))).collect(),
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
    fn a_pod_shaped_value_is_parsed_or_fails_with_an_error_that_names_the_field() {
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
