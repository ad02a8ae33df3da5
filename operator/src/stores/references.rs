//! Contents of the users' ConfigMaps that specs refer to. Only those are kept; of all others nothing but the events'
//! metadata passes through, since a cluster's ConfigMaps together may be larger than this program.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;
use kube::{Api, Client, ResourceExt};

use super::index::HubName;

/// A ConfigMap; `None` where there is no such object.
pub type Content = Option<Arc<ConfigMap>>;

/// Which hub refers to which ConfigMap, and what is in them.
#[derive(Debug, Default)]
pub struct References(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    entries: HashMap<Name, Entry>,
    listed: HashMap<Name, Option<String>>,
}

#[derive(Debug, Default)]
struct Entry {
    hubs: BTreeSet<HubName>,
    /// As read; `None` until it is read, and again when it is known to have changed.
    read: Option<Read>,
    /// Raised by every event, so that an answer that was on its way meanwhile is not kept.
    changes: u64,
}

#[derive(Debug)]
struct Read {
    version: Option<String>,
    content: Content,
}

type Name = (String, String);

impl References {
    /// The contents of the ConfigMaps `names` in the hub's namespace, read where they are not known; from now on a
    /// change of one of them touches the hub.
    pub async fn contents(
        &self,
        client: &Client,
        hub: &HubName,
        names: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, Content>, kube::Error> {
        self.register(hub, names);
        let mut contents = BTreeMap::new();
        for name in names {
            let content = match self.known(&hub.namespace, name) {
                Ok(content) => content,
                Err(changes) => self.read(client, &hub.namespace, name, changes).await?,
            };
            contents.insert(name.clone(), content);
        }
        Ok(contents)
    }

    /// Takes what the metadata watch tells, and answers who refers to it.
    pub fn learn(&self, event: Event<PartialObjectMeta<ConfigMap>>) -> Vec<HubName> {
        let mut state = self.lock();
        match event {
            Event::Apply(object) => {
                state.changed(&name_of(&object), object.resource_version().as_deref())
            }
            Event::Delete(object) => state.changed(&name_of(&object), None),
            Event::Init => {
                state.listed.clear();
                Vec::new()
            }
            Event::InitApply(object) => {
                let name = name_of(&object);
                if state.entries.contains_key(&name) {
                    state.listed.insert(name, object.resource_version());
                }
                Vec::new()
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut state.listed);
                let names: Vec<_> = state.entries.keys().cloned().collect();
                let version = |name| listed.get(name).and_then(Option::as_deref);
                let touched: BTreeSet<_> =
                    names.iter().flat_map(|name| state.changed(name, version(name))).collect();
                touched.into_iter().collect()
            }
        }
    }

    /// Forgets a hub that is gone, and what only it referred to.
    pub fn forget(&self, hub: &HubName) {
        self.register(hub, &BTreeSet::new());
    }

    fn register(&self, hub: &HubName, names: &BTreeSet<String>) {
        let mut state = self.lock();
        let wanted: HashSet<Name> =
            names.iter().map(|name| (hub.namespace.clone(), name.clone())).collect();
        state.entries.retain(|name, entry| {
            if !wanted.contains(name) {
                entry.hubs.remove(hub);
            }
            !entry.hubs.is_empty() || wanted.contains(name)
        });
        for name in wanted {
            state.entries.entry(name).or_default().hubs.insert(hub.clone());
        }
    }

    fn known(&self, namespace: &str, name: &str) -> Result<Content, u64> {
        let state = self.lock();
        let entry = state.entries.get(&(namespace.to_owned(), name.to_owned()));
        match entry {
            Some(Entry { read: Some(read), .. }) => Ok(read.content.clone()),
            Some(entry) => Err(entry.changes),
            None => Err(0),
        }
    }

    async fn read(
        &self,
        client: &Client,
        namespace: &str,
        name: &str,
        changes: u64,
    ) -> Result<Content, kube::Error> {
        let object = Api::<ConfigMap>::namespaced(client.clone(), namespace).get_opt(name).await?;
        let version = object.as_ref().and_then(ResourceExt::resource_version);
        let content: Content = object.map(Arc::new);
        let mut state = self.lock();
        if let Some(entry) = state.entries.get_mut(&(namespace.to_owned(), name.to_owned()))
            && entry.changes == changes
        {
            entry.read = Some(Read { version, content: content.clone() });
        }
        Ok(content)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// `version`: as the event has it; `None`: the object is gone.
    fn changed(&mut self, name: &Name, version: Option<&str>) -> Vec<HubName> {
        let Some(entry) = self.entries.get_mut(name) else { return Vec::new() };
        entry.changes += 1;
        match &entry.read {
            Some(read) if read.version.as_deref() == version => Vec::new(),
            _ => {
                entry.read = None;
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

    fn event_of(name: &str, version: u32) -> PartialObjectMeta<ConfigMap> {
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

    fn having_read(name: &str, version: u32) -> References {
        let references = References::default();
        references.register(&team(), &[name.to_owned()].into());
        let read = Read { version: Some(version.to_string()), content: Some(Arc::default()) };
        references.lock().entries.get_mut(&("ai".into(), name.into())).unwrap().read = Some(read);
        references
    }

    #[test]
    fn a_changed_config_map_touches_who_refers_to_it_and_is_read_again() {
        let references = having_read("settings", 1);
        assert_eq!(
            references.learn(Event::Apply(event_of("settings", 1))),
            [],
            "the one that was read"
        );
        assert!(references.known("ai", "settings").is_ok());
        assert_eq!(references.learn(Event::Apply(event_of("settings", 2))), [team()]);
        assert!(references.known("ai", "settings").is_err());
    }

    #[test]
    fn a_config_map_that_nobody_refers_to_leaves_nothing_behind() {
        let references = having_read("settings", 1);
        assert_eq!(references.learn(Event::Apply(event_of("kube-root-ca.crt", 2))), []);
        references.forget(&team());
        assert!(references.lock().entries.is_empty());
    }

    // A watch that was cut tells of a deletion only by what its new listing lacks.
    #[test]
    fn a_listing_without_the_config_map_is_its_deletion() {
        let references = having_read("settings", 1);
        references.learn(Event::Init);
        references.learn(Event::InitApply(event_of("other", 5)));
        assert_eq!(references.learn(Event::InitDone), [team()]);
        assert!(references.known("ai", "settings").is_err());
    }
}
