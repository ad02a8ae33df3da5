//! A cache of the objects of one kind, by the hub that they belong to.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use kube::ResourceExt;
use kube::runtime::watcher::Event;
use tokio::sync::watch;

/// Namespace and name of an McpHub.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct HubName {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// A cache that a watch feeds.
///
/// Our own writes reach it before the watch reports them. Otherwise a plan made a moment after a
/// write would see the state before the write, and write again.
#[derive(Debug)]
pub(crate) struct Index<K> {
    content: RwLock<Content<K>>,
    owning_hub: fn(&K) -> Option<HubName>,
    /// Drops what no plan reads.
    trim: fn(&mut K),
    synced: watch::Sender<bool>,
}

#[derive(Debug)]
struct Content<K> {
    objects: HashMap<Name, (HubName, Arc<K>)>,
    by_hub: HashMap<HubName, BTreeSet<Name>>,
    /// The objects of a list that is still being received.
    pending: Vec<K>,
}

/// Namespace and name of an object.
type Name = (String, String);

impl<K: ResourceExt + Clone> Index<K> {
    /// An empty cache. Objects for which `owning_hub` returns `None` are not stored. `trim` drops
    /// what no plan reads, whoever brings the object.
    pub(crate) fn new(owning_hub: fn(&K) -> Option<HubName>, trim: fn(&mut K)) -> Self {
        let content =
            Content { objects: HashMap::new(), by_hub: HashMap::new(), pending: Vec::new() };
        Self { content: RwLock::new(content), owning_hub, trim, synced: watch::Sender::new(false) }
    }

    /// The objects of one hub, by name.
    pub(crate) fn of_hub(&self, hub: &HubName) -> BTreeMap<String, Arc<K>> {
        let content = self.content.read().unwrap_or_else(PoisonError::into_inner);
        let names = content.by_hub.get(hub).into_iter().flatten();
        names
            .filter_map(|name| Some((name.1.clone(), content.objects.get(name)?.1.clone())))
            .collect()
    }

    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        let content = self.content.read().unwrap_or_else(PoisonError::into_inner);
        content
            .objects
            .get(&(namespace.to_owned(), name.to_owned()))
            .map(|(_, object)| object.clone())
    }

    /// Every hub that has an object in this cache.
    pub(crate) fn hubs(&self) -> Vec<HubName> {
        self.content.read().unwrap_or_else(PoisonError::into_inner).by_hub.keys().cloned().collect()
    }

    /// Whether the first list is complete.
    pub(crate) fn is_synced(&self) -> bool {
        *self.synced.borrow()
    }

    /// Waits for the first list.
    pub(crate) async fn synced(&self) {
        let _ = self.synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// Stores the API server's response to one of our own writes.
    pub(crate) fn acknowledge(&self, object: &K) {
        let mut object = object.clone();
        (self.trim)(&mut object);
        self.content.write().unwrap_or_else(PoisonError::into_inner).put(object, self.owning_hub);
    }

    /// Removes an object whose deletion the API server acknowledged.
    pub(crate) fn forget(&self, namespace: &str, name: &str) {
        let name = (namespace.to_owned(), name.to_owned());
        self.content.write().unwrap_or_else(PoisonError::into_inner).take(&name);
    }

    /// Applies an event of the watch and returns the hubs whose objects have changed.
    pub(crate) fn apply_event(&self, event: Event<K>) -> Vec<HubName> {
        let event = event.modify(self.trim);
        let mut content = self.content.write().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Apply(object) => content.put(object, self.owning_hub),
            Event::Delete(object) => content.remove(&object),
            Event::Init => {
                content.pending.clear();
                Vec::new()
            }
            Event::InitApply(object) => {
                content.pending.push(object);
                Vec::new()
            }
            Event::InitDone => {
                let changed = content.replace_all(self.owning_hub);
                drop(content);
                self.synced.send_replace(true);
                changed
            }
        }
    }
}

impl<K: ResourceExt + Clone> Content<K> {
    fn put(&mut self, object: K, owning_hub: fn(&K) -> Option<HubName>) -> Vec<HubName> {
        let name = name_of(&object);
        if self.objects.get(&name).is_some_and(|(_, known)| !is_newer(&object, known)) {
            return Vec::new();
        }
        self.set(name, object, owning_hub)
    }

    fn remove(&mut self, object: &K) -> Vec<HubName> {
        let name = name_of(object);
        // The event is about an object that we have already replaced by a newer one.
        if self.objects.get(&name).is_some_and(|(_, known)| is_newer(known.as_ref(), object)) {
            return Vec::new();
        }
        self.take(&name).into_iter().collect()
    }

    fn set(
        &mut self,
        name: Name,
        object: K,
        owning_hub: fn(&K) -> Option<HubName>,
    ) -> Vec<HubName> {
        // The former hub has changed too: it has lost an object that was relabeled or disowned.
        let mut changed: Vec<_> = self.take(&name).into_iter().collect();
        if let Some(hub) = owning_hub(&object) {
            self.by_hub.entry(hub.clone()).or_default().insert(name.clone());
            self.objects.insert(name, (hub.clone(), Arc::new(object)));
            if !changed.contains(&hub) {
                changed.push(hub);
            }
        }
        changed
    }

    fn take(&mut self, name: &Name) -> Option<HubName> {
        let (hub, _) = self.objects.remove(name)?;
        if let Some(names) = self.by_hub.get_mut(&hub) {
            names.remove(name);
            if names.is_empty() {
                self.by_hub.remove(&hub);
            }
        }
        Some(hub)
    }

    fn replace_all(&mut self, owning_hub: fn(&K) -> Option<HubName>) -> Vec<HubName> {
        let list = std::mem::take(&mut self.pending);
        let present: HashSet<_> = list.iter().map(name_of).collect();
        let deleted: Vec<_> =
            self.objects.keys().filter(|name| !present.contains(*name)).cloned().collect();
        let mut changed: BTreeSet<_> = deleted.iter().filter_map(|name| self.take(name)).collect();
        // A list counts even if its versions are lower, because etcd may have been restored from a
        // backup.
        for object in list {
            let name = name_of(&object);
            if self
                .objects
                .get(&name)
                .is_none_or(|(_, known)| known.resource_version() != object.resource_version())
            {
                changed.extend(self.set(name, object, owning_hub));
            }
        }
        changed.into_iter().collect()
    }
}

fn name_of<K: ResourceExt>(object: &K) -> Name {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// Resource versions of one kind always rise, also when an object is deleted and created again.
fn is_newer<K: ResourceExt>(object: &K, known: &K) -> bool {
    let version =
        |object: &K| object.resource_version().and_then(|version| version.parse::<u64>().ok());
    match (version(object), version(known)) {
        (Some(new), Some(old)) => new > old,
        _ => true, // this API server's versions are not numbers
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::ObjectMeta;

    use super::*;

    fn index() -> Index<ConfigMap> {
        let owning_hub = |object: &ConfigMap| {
            let name = object.labels().get("mcphub.dev/hub")?.clone();
            Some(HubName { namespace: object.namespace()?, name })
        };
        Index::new(owning_hub, |_| {})
    }

    fn config_map(name: &str, hub: Option<&str>, version: u32) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta {
                namespace: Some("ai".into()),
                name: Some(name.into()),
                uid: Some("1".into()),
                resource_version: Some(version.to_string()),
                labels: hub.map(|hub| [("mcphub.dev/hub".to_owned(), hub.to_owned())].into()),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        }
    }

    fn hub(name: &str) -> HubName {
        HubName { namespace: "ai".into(), name: name.into() }
    }

    fn versions(index: &Index<ConfigMap>, name: &str) -> Vec<(String, String)> {
        index
            .of_hub(&hub(name))
            .into_iter()
            .map(|(name, object)| (name, object.resource_version().unwrap()))
            .collect()
    }

    // Otherwise the plan after a write would see the object from before the write, and write it
    // again.
    #[test]
    fn a_watch_event_older_than_our_own_write_changes_nothing() {
        let index = index();
        index.acknowledge(&config_map("a", Some("team"), 12));
        assert_eq!(index.apply_event(Event::Apply(config_map("a", Some("team"), 11))), []);
        assert_eq!(index.apply_event(Event::Apply(config_map("a", Some("team"), 12))), []);
        assert_eq!(versions(&index, "team"), [("a".to_owned(), "12".to_owned())]);
        assert_eq!(
            index.apply_event(Event::Apply(config_map("a", Some("team"), 13))),
            [hub("team")]
        );
    }

    #[test]
    fn a_relabeled_object_changes_the_hub_that_lost_it_too() {
        let index = index();
        index.apply_event(Event::Apply(config_map("a", Some("team"), 1)));
        assert_eq!(
            index.apply_event(Event::Apply(config_map("a", Some("other"), 2))),
            [hub("team"), hub("other")]
        );
        assert_eq!(index.apply_event(Event::Apply(config_map("a", None, 3))), [hub("other")]);
        assert_eq!(index.hubs(), []);
    }

    // A closed watch misses deletions. Only the next list reveals them.
    #[test]
    fn a_new_list_reports_deleted_and_changed_objects_but_not_unchanged_ones() {
        let index = index();
        for (name, hub) in [("gone", "a"), ("changed", "b"), ("same", "c")] {
            index.apply_event(Event::Apply(config_map(name, Some(hub), 1)));
        }
        assert!(!index.is_synced());
        index.apply_event(Event::Init);
        index.apply_event(Event::InitApply(config_map("changed", Some("b"), 2)));
        index.apply_event(Event::InitApply(config_map("same", Some("c"), 1)));
        assert_eq!(index.apply_event(Event::InitDone), [hub("a"), hub("b")]);
        assert!(index.is_synced());
        assert_eq!(versions(&index, "a"), []);
    }

    // Otherwise a hub that was just recreated would lose its new object to the old one's last
    // event.
    #[test]
    fn a_late_deletion_of_an_object_does_not_remove_its_successor() {
        let index = index();
        index.apply_event(Event::Apply(config_map("a", Some("team"), 3)));
        index.forget("ai", "a");
        index.acknowledge(&config_map("a", Some("team"), 9));
        assert_eq!(index.apply_event(Event::Delete(config_map("a", Some("team"), 8))), []);
        assert_eq!(versions(&index, "team"), [("a".to_owned(), "9".to_owned())]);
        assert_eq!(
            index.apply_event(Event::Delete(config_map("a", Some("team"), 10))),
            [hub("team")]
        );
    }

    #[test]
    fn a_list_with_lower_versions_replaces_the_cache() {
        let index = index();
        index.apply_event(Event::Apply(config_map("a", Some("team"), 9)));
        index.apply_event(Event::Init);
        index.apply_event(Event::InitApply(config_map("a", Some("team"), 3)));
        assert_eq!(index.apply_event(Event::InitDone), [hub("team")]);
        assert_eq!(versions(&index, "team"), [("a".to_owned(), "3".to_owned())]);
    }
}
