//! Parses the hubs that the watch delivers.
//!
//! Each hub is parsed on its own. With a typed list, one hub whose spec only a newer CRD allows
//! would make the whole list unreadable.

use kube::core::{ApiResource, DynamicObject};
use kube::runtime::watcher::Event;
use kube::{Api, Client};
use mcphub_crds::{McpHub, McpHubSpec};
use tracing::error;

use super::{Scope, Stores};
use crate::metrics::Metrics;

/// The API for unparsed hubs of the scope.
pub(super) fn api(client: &Client, scope: &Scope) -> Api<DynamicObject> {
    let resource = ApiResource::erase::<McpHub>(&());
    match scope {
        Scope::Cluster => Api::all_with(client.clone(), &resource),
        Scope::Namespace(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
    }
}

/// Parses the hub of an event. A hub that cannot be parsed counts as deleted, so that its objects
/// are left as they are and not changed to what we take its spec for.
pub(super) fn parse(event: Event<DynamicObject>, metrics: &Metrics) -> Option<Event<McpHub>> {
    let hub = |object: DynamicObject| -> Result<McpHub, Box<McpHub>> {
        let metadata = object.metadata.clone();
        object.try_parse::<McpHub>().map_err(|error| {
            let (namespace, name) = (metadata.namespace.as_deref(), metadata.name.as_deref());
            error!(
                namespace,
                hub = name,
                %error,
                "failed to parse an McpHub, its objects are left as they are; upgrade the operator \
                 if the CRD is newer than the operator, otherwise correct the field"
            );
            metrics.record_error("hub");
            Box::new(McpHub { metadata, spec: McpHubSpec::default(), status: None })
        })
    };
    Some(match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(object) => Event::InitApply(hub(object).ok()?),
        Event::Apply(object) => {
            hub(object).map_or_else(|unparsed| Event::Delete(*unparsed), Event::Apply)
        }
        Event::Delete(object) => Event::Delete(hub(object).unwrap_or_else(|unparsed| *unparsed)),
    })
}

impl Stores {
    /// Stores the API server's response to a write of the status.
    ///
    /// Keeps its `managedFields`, which say when the status was last written. Without that time, a
    /// status in which only a counter has moved would be written at every reconcile.
    pub(crate) fn acknowledge_status(&self, hub: McpHub) {
        self.hubs.apply_event(Event::Apply(hub));
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
    use kube::{Resource as _, ResourceExt as _};
    use serde_json::{Value, json};

    use super::*;

    fn hub(name: &str, version: u32, mode: &str) -> Value {
        json!({
            "apiVersion": McpHub::api_version(&()), "kind": McpHub::kind(&()),
            "metadata": {"namespace": "ai", "name": name, "uid": name,
                "resourceVersion": version.to_string()},
            "spec": {"servers": [{"name": "a", "remote": {"url": "https://a.example/mcp"}}],
                "filtering": {"mode": mode}},
        })
    }

    fn object(value: Value) -> DynamicObject {
        serde_json::from_value(value).unwrap()
    }

    fn apply_event(stores: &Stores, event: Event<DynamicObject>) {
        let metrics = Metrics::new(std::iter::empty()).unwrap();
        if let Some(event) = parse(event, &metrics) {
            stores.hubs.apply_event(event);
        }
    }

    fn names(stores: &Stores) -> Vec<String> {
        let mut names: Vec<_> = stores.hubs.hubs().into_iter().map(|hub| hub.name).collect();
        names.sort();
        names
    }

    // With a typed list, one such hub would stop the operator for every namespace.
    #[test]
    fn a_hub_with_a_value_of_a_newer_crd_does_not_hide_the_other_hubs() {
        let stores = Stores::default();
        apply_event(&stores, Event::Init);
        for value in [hub("a", 1, "Static"), hub("newer", 2, "Quantum"), hub("z", 3, "None")] {
            apply_event(&stores, Event::InitApply(object(value)));
        }
        apply_event(&stores, Event::InitDone);
        assert!(stores.hubs.is_synced());
        assert_eq!(names(&stores), ["a", "z"]);
    }

    #[test]
    fn a_hub_that_can_no_longer_be_parsed_is_ignored_until_it_can() {
        let stores = Stores::default();
        apply_event(&stores, Event::Apply(object(hub("a", 1, "Static"))));
        apply_event(&stores, Event::Apply(object(hub("a", 2, "Quantum"))));
        assert_eq!(names(&stores), [""; 0]);
        apply_event(&stores, Event::Apply(object(hub("a", 3, "None"))));
        assert_eq!(names(&stores), ["a"]);
        apply_event(&stores, Event::Delete(object(hub("a", 4, "Quantum"))));
        assert_eq!(names(&stores), [""; 0]);
    }

    #[test]
    fn the_response_to_a_status_write_keeps_the_time_of_the_write() {
        let stores = Stores::default();
        let mut response: McpHub = object(hub("a", 1, "None")).try_parse().unwrap();
        response.metadata.managed_fields = Some(vec![ManagedFieldsEntry::default()]);
        stores.acknowledge_status(response);
        assert_eq!(stores.hubs.get("ai", "a").unwrap().managed_fields().len(), 1);
    }
}
