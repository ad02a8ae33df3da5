//! Objects of one kind, found by the hub that they belong to.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use kube::ResourceExt;
use kube::runtime::watcher::Event;
use tokio::sync::watch;

/// Namespace and name of an McpHub.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HubName {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

/// A cache that a watch feeds, and that our own writes reach before the watch tells of them: else a plan made a moment
/// after a write would see the state before it, and write again.
#[derive(Debug)]
pub struct Index<K> {
    content: RwLock<Content<K>>,
    belongs: fn(&K) -> Option<HubName>,
    synced: watch::Sender<bool>,
}

#[derive(Debug)]
struct Content<K> {
    objects: HashMap<Name, (HubName, Arc<K>)>,
    by_hub: HashMap<HubName, BTreeSet<Name>>,
    listed: Vec<K>,
}

/// Namespace and name of an object.
type Name = (String, String);

impl<K: ResourceExt + Clone> Index<K> {
    /// An empty one. `belongs` tells whose an object is; one that is nobody's is not kept.
    pub fn new(belongs: fn(&K) -> Option<HubName>) -> Self {
        let content =
            Content { objects: HashMap::new(), by_hub: HashMap::new(), listed: Vec::new() };
        Self { content: RwLock::new(content), belongs, synced: watch::Sender::new(false) }
    }

    /// All objects of one hub, by name.
    pub fn of(&self, hub: &HubName) -> BTreeMap<String, Arc<K>> {
        let content = self.content.read().unwrap_or_else(PoisonError::into_inner);
        let names = content.by_hub.get(hub).into_iter().flatten();
        names
            .filter_map(|name| Some((name.1.clone(), content.objects.get(name)?.1.clone())))
            .collect()
    }

    /// One object.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        let content = self.content.read().unwrap_or_else(PoisonError::into_inner);
        content
            .objects
            .get(&(namespace.to_owned(), name.to_owned()))
            .map(|(_, object)| object.clone())
    }

    /// Every hub that has an object here.
    pub fn hubs(&self) -> Vec<HubName> {
        self.content.read().unwrap_or_else(PoisonError::into_inner).by_hub.keys().cloned().collect()
    }

    /// The first listing is complete.
    pub fn is_synced(&self) -> bool {
        *self.synced.borrow()
    }

    /// Waits for the first listing.
    pub async fn synced(&self) {
        let _ = self.synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// Takes an answer to one of our own writes.
    pub fn acknowledge(&self, object: &K) {
        let mut object = object.clone();
        object.managed_fields_mut().clear(); // as the watches do
        self.content.write().unwrap_or_else(PoisonError::into_inner).put(object, self.belongs);
    }

    /// Forgets an object whose deletion was acknowledged.
    pub fn forget(&self, namespace: &str, name: &str) {
        let name = (namespace.to_owned(), name.to_owned());
        self.content.write().unwrap_or_else(PoisonError::into_inner).take(&name);
    }

    /// Takes what a watch tells, and answers whose objects are not what they were.
    pub fn learn(&self, event: Event<K>) -> Vec<HubName> {
        let mut content = self.content.write().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Apply(object) => content.put(object, self.belongs),
            Event::Delete(object) => content.remove(&object),
            Event::Init => {
                content.listed.clear();
                Vec::new()
            }
            Event::InitApply(object) => {
                content.listed.push(object);
                Vec::new()
            }
            Event::InitDone => {
                let touched = content.replace_all(self.belongs);
                drop(content);
                self.synced.send_replace(true);
                touched
            }
        }
    }
}

impl<K: ResourceExt + Clone> Content<K> {
    fn put(&mut self, object: K, belongs: fn(&K) -> Option<HubName>) -> Vec<HubName> {
        let name = name_of(&object);
        if self.objects.get(&name).is_some_and(|(_, known)| !is_newer(&object, known)) {
            return Vec::new();
        }
        self.set(name, object, belongs)
    }

    fn remove(&mut self, object: &K) -> Vec<HubName> {
        let name = name_of(object);
        // The end of an object whose successor we have made already.
        if self.objects.get(&name).is_some_and(|(_, known)| is_newer(known.as_ref(), object)) {
            return Vec::new();
        }
        self.take(&name).into_iter().collect()
    }

    fn set(&mut self, name: Name, object: K, belongs: fn(&K) -> Option<HubName>) -> Vec<HubName> {
        // Whose it was is told too: one that was relabeled or disowned is missed by its former hub.
        let mut touched: Vec<_> = self.take(&name).into_iter().collect();
        if let Some(hub) = belongs(&object) {
            self.by_hub.entry(hub.clone()).or_default().insert(name.clone());
            self.objects.insert(name, (hub.clone(), Arc::new(object)));
            if !touched.contains(&hub) {
                touched.push(hub);
            }
        }
        touched
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

    fn replace_all(&mut self, belongs: fn(&K) -> Option<HubName>) -> Vec<HubName> {
        let listed = std::mem::take(&mut self.listed);
        let present: HashSet<_> = listed.iter().map(name_of).collect();
        let gone: Vec<_> =
            self.objects.keys().filter(|name| !present.contains(*name)).cloned().collect();
        let mut touched: BTreeSet<_> = gone.iter().filter_map(|name| self.take(name)).collect();
        // A listing is the truth even where its versions are lower: the cluster's store was restored from a backup.
        for object in listed {
            let name = name_of(&object);
            if self
                .objects
                .get(&name)
                .is_none_or(|(_, known)| known.resource_version() != object.resource_version())
            {
                touched.extend(self.set(name, object, belongs));
            }
        }
        touched.into_iter().collect()
    }
}

fn name_of<K: ResourceExt>(object: &K) -> Name {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// Versions of one kind rise, over the deletion of an object and its making anew too.
fn is_newer<K: ResourceExt>(object: &K, known: &K) -> bool {
    let version =
        |object: &K| object.resource_version().and_then(|version| version.parse::<u64>().ok());
    match (version(object), version(known)) {
        (Some(new), Some(old)) => new > old,
        _ => true, // some other kind of API server
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::ObjectMeta;

    use super::*;

    fn index() -> Index<ConfigMap> {
        Index::new(|object| {
            let name = object.labels().get("mcphub.dev/hub")?.clone();
            Some(HubName { namespace: object.namespace()?, name })
        })
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

    fn versions(index: &Index<ConfigMap>, of: &str) -> Vec<(String, String)> {
        index
            .of(&hub(of))
            .into_iter()
            .map(|(name, object)| (name, object.resource_version().unwrap()))
            .collect()
    }

    // Else the plan that follows a write would see the object before it, and write again.
    #[test]
    fn a_watch_event_older_than_our_own_write_changes_nothing() {
        let index = index();
        index.acknowledge(&config_map("a", Some("team"), 12));
        assert_eq!(index.learn(Event::Apply(config_map("a", Some("team"), 11))), []);
        assert_eq!(index.learn(Event::Apply(config_map("a", Some("team"), 12))), []);
        assert_eq!(versions(&index, "team"), [("a".to_owned(), "12".to_owned())]);
        assert_eq!(index.learn(Event::Apply(config_map("a", Some("team"), 13))), [hub("team")]);
    }

    #[test]
    fn an_object_that_is_relabeled_touches_the_hub_that_lost_it_too() {
        let index = index();
        index.learn(Event::Apply(config_map("a", Some("team"), 1)));
        assert_eq!(
            index.learn(Event::Apply(config_map("a", Some("other"), 2))),
            [hub("team"), hub("other")]
        );
        assert_eq!(index.learn(Event::Apply(config_map("a", None, 3))), [hub("other")]);
        assert_eq!(index.hubs(), []);
    }

    // A watch that was cut has missed deletions; only the listing tells of them.
    #[test]
    fn a_new_listing_tells_of_what_went_and_what_changed_but_not_of_what_stayed() {
        let index = index();
        for (name, of) in [("gone", "a"), ("changed", "b"), ("same", "c")] {
            index.learn(Event::Apply(config_map(name, Some(of), 1)));
        }
        assert!(!index.is_synced());
        index.learn(Event::Init);
        index.learn(Event::InitApply(config_map("changed", Some("b"), 2)));
        index.learn(Event::InitApply(config_map("same", Some("c"), 1)));
        assert_eq!(index.learn(Event::InitDone), [hub("a"), hub("b")]);
        assert!(index.is_synced());
        assert_eq!(versions(&index, "a"), []);
    }

    // Else a hub that was just made anew would lose its new child with the old one's last event.
    #[test]
    fn the_late_end_of_an_object_does_not_touch_its_successor() {
        let index = index();
        index.learn(Event::Apply(config_map("a", Some("team"), 3)));
        index.forget("ai", "a");
        index.acknowledge(&config_map("a", Some("team"), 9));
        assert_eq!(index.learn(Event::Delete(config_map("a", Some("team"), 8))), []);
        assert_eq!(versions(&index, "team"), [("a".to_owned(), "9".to_owned())]);
        assert_eq!(index.learn(Event::Delete(config_map("a", Some("team"), 10))), [hub("team")]);
    }

    #[test]
    fn a_listing_with_lower_versions_is_believed() {
        let index = index();
        index.learn(Event::Apply(config_map("a", Some("team"), 9)));
        index.learn(Event::Init);
        index.learn(Event::InitApply(config_map("a", Some("team"), 3)));
        assert_eq!(index.learn(Event::InitDone), [hub("team")]);
        assert_eq!(versions(&index, "team"), [("a".to_owned(), "3".to_owned())]);
    }
}
