//! The users' ConfigMaps that specs refer to.
//!
//! Only those are stored. Of all other ConfigMaps this module sees the metadata in events, because
//! together they may be larger than this program.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;
use kube::{Api, Client, ResourceExt};

use super::index::HubName;

/// Which hub refers to which ConfigMap, and the contents of those ConfigMaps.
#[derive(Debug, Default)]
pub(crate) struct References(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    by_name: HashMap<Name, Entry>,
    /// Resource versions from a list that is still being received.
    pending: HashMap<Name, Option<String>>,
}

#[derive(Debug, Default)]
struct Entry {
    hubs: BTreeSet<HubName>,
    /// `None` until it is read, and again after an event with another version.
    cached: Option<CachedConfigMap>,
    /// Rises with every event, so that a response that was on its way meanwhile is not stored.
    changes: u64,
}

#[derive(Debug)]
struct CachedConfigMap {
    resource_version: Option<String>,
    /// `None` if there is no such object.
    object: Option<Arc<ConfigMap>>,
}

/// Namespace and name of a ConfigMap.
type Name = (String, String);

impl References {
    /// Returns those of the ConfigMaps `names` in the namespace of the hub that are cached, and the
    /// names of the others. A value of `None` means that there is no such ConfigMap.
    ///
    /// From then on, a change of one of them counts as a change of the hub.
    pub(crate) fn cached(
        &self,
        hub: &HubName,
        names: &BTreeSet<String>,
    ) -> (BTreeMap<String, Option<ConfigMap>>, BTreeSet<String>) {
        self.register(hub, names);
        let (mut objects, mut unread) = (BTreeMap::new(), BTreeSet::new());
        for name in names {
            match self.one(&hub.namespace, name) {
                Ok(object) => drop(objects.insert(name.clone(), object.map(Arc::unwrap_or_clone))),
                Err(_) => drop(unread.insert(name.clone())),
            }
        }
        (objects, unread)
    }

    /// Reads a ConfigMap that is not cached. `None` means that there is none.
    pub(crate) async fn read(
        &self,
        client: &Client,
        namespace: &str,
        name: &str,
    ) -> Result<Option<ConfigMap>, kube::Error> {
        let changes = match self.one(namespace, name) {
            Ok(object) => return Ok(object.map(Arc::unwrap_or_clone)),
            Err(changes) => changes,
        };
        let object = Api::<ConfigMap>::namespaced(client.clone(), namespace).get_opt(name).await?;
        let resource_version = object.as_ref().and_then(ResourceExt::resource_version);
        let mut entries = self.lock();
        if let Some(entry) = entries.by_name.get_mut(&(namespace.to_owned(), name.to_owned()))
            && entry.changes == changes
        {
            let object = object.clone().map(Arc::new);
            entry.cached = Some(CachedConfigMap { resource_version, object });
        }
        Ok(object)
    }

    /// Applies an event of the metadata watch and returns the hubs that refer to the ConfigMap.
    pub(crate) fn apply_event(&self, event: Event<PartialObjectMeta<ConfigMap>>) -> Vec<HubName> {
        let mut entries = self.lock();
        match event {
            Event::Apply(object) => {
                entries.invalidate(&name_of(&object), object.resource_version().as_deref())
            }
            Event::Delete(object) => entries.invalidate(&name_of(&object), None),
            Event::Init => {
                entries.pending.clear();
                Vec::new()
            }
            Event::InitApply(object) => {
                let name = name_of(&object);
                if entries.by_name.contains_key(&name) {
                    entries.pending.insert(name, object.resource_version());
                }
                Vec::new()
            }
            Event::InitDone => {
                let list = std::mem::take(&mut entries.pending);
                let names: Vec<_> = entries.by_name.keys().cloned().collect();
                let version = |name| list.get(name).and_then(Option::as_deref);
                let changed: BTreeSet<_> =
                    names.iter().flat_map(|name| entries.invalidate(name, version(name))).collect();
                changed.into_iter().collect()
            }
        }
    }

    /// Forgets a deleted hub and the ConfigMaps that only it refers to.
    pub(crate) fn forget(&self, hub: &HubName) {
        self.register(hub, &BTreeSet::new());
    }

    fn register(&self, hub: &HubName, names: &BTreeSet<String>) {
        let mut entries = self.lock();
        let referenced: HashSet<Name> =
            names.iter().map(|name| (hub.namespace.clone(), name.clone())).collect();
        entries.by_name.retain(|name, entry| {
            if !referenced.contains(name) {
                entry.hubs.remove(hub);
            }
            !entry.hubs.is_empty() || referenced.contains(name)
        });
        for name in referenced {
            entries.by_name.entry(name).or_default().hubs.insert(hub.clone());
        }
    }

    /// The cached ConfigMap, or the number of changes so far if it must be read.
    fn one(&self, namespace: &str, name: &str) -> Result<Option<Arc<ConfigMap>>, u64> {
        let entries = self.lock();
        match entries.by_name.get(&(namespace.to_owned(), name.to_owned())) {
            Some(Entry { cached: Some(cached), .. }) => Ok(cached.object.clone()),
            Some(entry) => Err(entry.changes),
            None => Err(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    /// Drops the cached ConfigMap if it has another version, and returns the hubs that refer to it.
    ///
    /// `version` is that of the event. `None` means that the object is gone.
    fn invalidate(&mut self, name: &Name, version: Option<&str>) -> Vec<HubName> {
        let Some(entry) = self.by_name.get_mut(name) else { return Vec::new() };
        entry.changes += 1;
        match &entry.cached {
            Some(cached) if cached.resource_version.as_deref() == version => Vec::new(),
            _ => {
                entry.cached = None;
                entry.hubs.iter().cloned().collect()
            }
        }
    }
}

fn name_of(object: &PartialObjectMeta<ConfigMap>) -> Name {
    (object.namespace().unwrap_or_default(), object.name_any())
}

#[cfg(test)]
mod tests {
    use kube::api::ObjectMeta;

    use super::*;

    fn metadata_of(name: &str, version: u32) -> PartialObjectMeta<ConfigMap> {
        let metadata = ObjectMeta {
            namespace: Some("ai".into()),
            name: Some(name.into()),
            resource_version: Some(version.to_string()),
            ..ObjectMeta::default()
        };
        PartialObjectMeta { metadata, ..PartialObjectMeta::default() }
    }

    fn team() -> HubName {
        HubName { namespace: "ai".into(), name: "team".into() }
    }

    fn references_with(name: &str, version: u32) -> References {
        let references = References::default();
        references.register(&team(), &[name.to_owned()].into());
        let cached = CachedConfigMap {
            resource_version: Some(version.to_string()),
            object: Some(Arc::default()),
        };
        references.lock().by_name.get_mut(&("ai".into(), name.into())).unwrap().cached =
            Some(cached);
        references
    }

    #[test]
    fn a_changed_config_map_changes_its_hubs_and_is_read_again() {
        let references = references_with("settings", 1);
        assert_eq!(
            references.apply_event(Event::Apply(metadata_of("settings", 1))),
            [],
            "the version that was read"
        );
        assert!(references.one("ai", "settings").is_ok());
        assert_eq!(references.apply_event(Event::Apply(metadata_of("settings", 2))), [team()]);
        assert!(references.one("ai", "settings").is_err());
    }

    #[test]
    fn a_config_map_that_no_hub_refers_to_is_not_stored() {
        let references = references_with("settings", 1);
        assert_eq!(references.apply_event(Event::Apply(metadata_of("kube-root-ca.crt", 2))), []);
        references.forget(&team());
        assert!(references.lock().by_name.is_empty());
    }

    // After a watch was closed, only the absence from the next list reveals a deletion.
    #[test]
    fn a_list_without_the_config_map_counts_as_its_deletion() {
        let references = references_with("settings", 1);
        references.apply_event(Event::Init);
        references.apply_event(Event::InitApply(metadata_of("other", 5)));
        assert_eq!(references.apply_event(Event::InitDone), [team()]);
        assert!(references.one("ai", "settings").is_err());
    }
}
