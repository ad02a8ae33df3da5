//! Hubs as they come from the watch. Each is read by itself: one whose spec a newer CRD allows must not keep the list,
//! and with it every other hub, from being read.

use kube::core::{ApiResource, DynamicObject};
use kube::runtime::watcher::Event;
use kube::{Api, Client};
use mcphub_crds::{McpHub, McpHubSpec};
use tracing::error;

use super::{Scope, Stores};
use crate::metrics::Metrics;

/// Hubs of the scope, not read yet.
pub(super) fn api(client: &Client, scope: &Scope) -> Api<DynamicObject> {
    let resource = ApiResource::erase::<McpHub>(&());
    match scope {
        Scope::Cluster => Api::all_with(client.clone(), &resource),
        Scope::Namespace(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
    }
}

/// The event with the hub read. One that is not understood is as good as gone: it is left as it is, not brought to
/// what we take it for.
pub(super) fn read(event: Event<DynamicObject>, metrics: &Metrics) -> Option<Event<McpHub>> {
    let hub = |object: DynamicObject| -> Result<McpHub, Box<McpHub>> {
        let metadata = object.metadata.clone();
        object.try_parse::<McpHub>().map_err(|error| {
            let (namespace, name) = (metadata.namespace.as_deref(), metadata.name.as_deref());
            error!(namespace, hub = name, %error, "an McpHub is not understood and left as it is; if its \
                CustomResourceDefinition is newer than this operator, upgrade the operator, else mend the field");
            metrics.error("hub");
            Box::new(McpHub { metadata, spec: McpHubSpec::default(), status: None })
        })
    };
    Some(match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(object) => Event::InitApply(hub(object).ok()?),
        Event::Apply(object) => {
            hub(object).map_or_else(|unread| Event::Delete(*unread), Event::Apply)
        }
        Event::Delete(object) => Event::Delete(hub(object).unwrap_or_else(|unread| *unread)),
    })
}

impl Stores {
    /// Takes an answer to a write of status, with the server's book: how old status is stands in there, and what only
    /// ticks would be written at each look without it.
    pub fn wrote_status(&self, hub: McpHub) {
        self.hubs.learn(Event::Apply(hub));
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
            "metadata": {"namespace": "ai", "name": name, "uid": name, "resourceVersion": version.to_string()},
            "spec": {"servers": [{"name": "a", "remote": {"url": "https://a.example/mcp"}}], "filtering": {"mode": mode}},
        })
    }

    fn object(value: Value) -> DynamicObject {
        serde_json::from_value(value).unwrap()
    }

    fn learn(stores: &Stores, event: Event<DynamicObject>) {
        let metrics = Metrics::new(std::iter::empty()).unwrap();
        if let Some(event) = read(event, &metrics) {
            stores.hubs.learn(event);
        }
    }

    fn names(stores: &Stores) -> Vec<String> {
        let mut names: Vec<_> = stores.hubs.hubs().into_iter().map(|hub| hub.name).collect();
        names.sort();
        names
    }

    // With a typed list, one such hub would have stopped the operator for every namespace.
    #[test]
    fn a_hub_with_a_value_of_a_newer_crd_keeps_no_other_from_being_listed() {
        let stores = Stores::default();
        learn(&stores, Event::Init);
        for value in [hub("a", 1, "Static"), hub("newer", 2, "Quantum"), hub("z", 3, "None")] {
            learn(&stores, Event::InitApply(object(value)));
        }
        learn(&stores, Event::InitDone);
        assert!(stores.hubs.is_synced());
        assert_eq!(names(&stores), ["a", "z"]);
    }

    #[test]
    fn a_hub_that_is_not_understood_any_more_is_left_alone_until_it_is_again() {
        let stores = Stores::default();
        learn(&stores, Event::Apply(object(hub("a", 1, "Static"))));
        learn(&stores, Event::Apply(object(hub("a", 2, "Quantum"))));
        assert_eq!(names(&stores), [""; 0]);
        learn(&stores, Event::Apply(object(hub("a", 3, "None"))));
        assert_eq!(names(&stores), ["a"]);
        learn(&stores, Event::Delete(object(hub("a", 4, "Quantum"))));
        assert_eq!(names(&stores), [""; 0]);
    }

    #[test]
    fn the_answer_to_a_write_of_status_still_says_when_it_was_written() {
        let stores = Stores::default();
        let mut answer: McpHub = object(hub("a", 1, "None")).try_parse().unwrap();
        answer.metadata.managed_fields = Some(vec![ManagedFieldsEntry::default()]);
        stores.wrote_status(answer);
        assert_eq!(stores.hubs.get("ai", "a").unwrap().managed_fields().len(), 1);
    }
}
