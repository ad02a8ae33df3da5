//! Field ownership of objects that were created with `POST`. Only a server-side apply removes a
//! field that it owns and no longer sets. So what we own by other operations is handed over to it,
//! as client-go's `csaupgrade` does.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
use mcphub_operator_plan::api::Object;
use serde_json::{Value, json};

use crate::FIELD_MANAGER;

/// A JSON patch after which our applies own everything that we own. `None` if they do already.
pub(super) fn handover(object: &Object) -> Option<Value> {
    let meta = object.meta();
    let entries = meta.managed_fields.as_ref()?;
    let (ours, mut entries): (Vec<_>, Vec<_>) = entries.iter().cloned().partition(is_ours);
    if !ours.iter().any(|entry| entry.operation.as_deref() == Some("Update")) {
        return None;
    }
    let mut fields = Value::Null;
    for entry in &ours {
        merge(&mut fields, entry.fields_v1.as_ref().map(|fields| &fields.0));
    }
    let first = ours.into_iter().next()?;
    entries.push(ManagedFieldsEntry {
        operation: Some("Apply".into()),
        fields_v1: Some(FieldsV1(fields)),
        ..first
    });
    Some(json!([
        {"op": "test", "path": "/metadata/resourceVersion", "value": meta.resource_version},
        {"op": "replace", "path": "/metadata/managedFields", "value": entries},
    ]))
}

fn is_ours(entry: &ManagedFieldsEntry) -> bool {
    entry.manager.as_deref() == Some(FIELD_MANAGER) && entry.subresource.is_none()
}

/// Adds a set of fields, which is a tree of objects.
fn merge(into: &mut Value, more: Option<&Value>) {
    let Some(more) = more.and_then(Value::as_object) else { return };
    if !into.is_object() {
        *into = json!({});
    }
    for (key, value) in more {
        merge(&mut into[key], Some(value));
        if into[key].is_null() {
            into[key] = value.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn owned(entries: &Value) -> Object {
        let map = json!({"metadata": {
            "name": "a", "resourceVersion": "7", "managedFields": entries,
        }});
        Object::ConfigMap(serde_json::from_value::<ConfigMap>(map).unwrap())
    }

    fn entry(manager: &str, operation: &str, fields: &Value) -> Value {
        json!({
            "manager": manager, "operation": operation, "apiVersion": "v1",
            "fieldsType": "FieldsV1", "fieldsV1": fields,
        })
    }

    #[test]
    fn what_we_own_by_other_operations_is_handed_over_to_our_applies() {
        let (data, labels) = (json!({"f:data": {"f:a": {}}}), json!({"f:metadata": {}}));
        let object = owned(&json!([
            entry(FIELD_MANAGER, "Update", &data),
            entry("kubectl", "Update", &labels),
            entry(FIELD_MANAGER, "Apply", &json!({"f:data": {"f:b": {}}})),
        ]));
        let patch = handover(&object).unwrap();
        let all = json!({"f:data": {"f:a": {}, "f:b": {}}});
        let expected = [entry("kubectl", "Update", &labels), entry(FIELD_MANAGER, "Apply", &all)];
        assert_eq!(patch[0]["value"], "7");
        assert_eq!(patch[1]["value"], json!(expected));
    }

    #[test]
    fn an_object_that_only_our_applies_own_is_left_alone() {
        let of_others = entry("kubectl", "Update", &json!({}));
        let ours = entry(FIELD_MANAGER, "Apply", &json!({"f:data": {}}));
        assert_eq!(handover(&owned(&json!([of_others, ours]))), None);
    }
}
