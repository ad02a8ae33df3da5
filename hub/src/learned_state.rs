//! What the pods of a hub learn together, in ConfigMap `<hub>-learned`: every pod reads it by watch; one at a time,
//! by the Lease of the same name, merges into it what it has learned since. The operator makes the ConfigMap.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::ByteString;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{ObjectMeta, PostParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use mcphub_hub_select::embedded::{Digest, Memory};

use crate::dataplane::{Retry, WATCH_SECONDS};
use crate::llm;
use crate::selector::Selector;

/// Key of the remembered prompts in `binaryData`: vectors only, a byte a number.
const MEMORY: &str = "memory";
/// Key of a language model's answers; see [`crate::llm::Llm::export`].
const ANSWERS: &str = "llm";
/// A ConfigMap holds a megabyte; this and [`ANSWERS_BYTES`] are below it.
const MEMORY_BYTES: usize = 600 << 10;
const ANSWERS_BYTES: usize = 300 << 10;
/// What was learned since is merged this often.
const PERIOD: Duration = Duration::from_mins(1);
/// A pod that went away in the middle keeps the others waiting no longer.
const LEASE_SECONDS: i32 = 30;

/// Where it is kept.
#[derive(Clone)]
pub struct Shared {
    /// Access to the hub's namespace.
    pub client: Client,
    /// The namespace.
    pub namespace: String,
    /// Name of the hub.
    pub hub: String,
    /// This pod.
    pub pod: String,
}

impl Shared {
    /// Reads and merges for as long as the pod runs.
    pub async fn keep(self, selector: Arc<Selector>) {
        let answers = Mutex::default();
        tokio::join!(self.follow(&selector, &answers), self.contribute(&selector, &answers));
    }

    fn name(&self) -> String {
        format!("{}-learned", self.hub)
    }

    /// `answers` are those of language models that all pods have.
    async fn follow(&self, selector: &Selector, answers: &Mutex<Vec<u8>>) {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let config = watcher::Config::default()
            .fields(&format!("metadata.name={}", self.name()))
            .timeout(WATCH_SECONDS);
        let mut events = watcher(maps, config).backoff(Retry::default()).boxed();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Apply(map) | Event::InitApply(map)) => {
                    selector.share(memory_of(&map));
                    let shared = answers_of(&map).to_vec();
                    selector.share_answers(&shared).await;
                    *answers.lock().unwrap_or_else(PoisonError::into_inner) = shared;
                }
                Ok(Event::InitDone) => selector.shared_is_read(),
                Ok(Event::Init | Event::Delete(_)) => {}
                Err(error) => {
                    tracing::debug!(%error, "what other pods have learned cannot be read")
                }
            }
        }
    }

    async fn contribute(&self, selector: &Selector, answers: &Mutex<Vec<u8>>) {
        loop {
            tokio::time::sleep(PERIOD.mul_f64(rand::random_range(0.8..1.2))).await;
            let shared = answers.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let own = selector.llm().map(|llm| llm.export(ANSWERS_BYTES)).unwrap_or_default();
            if !selector.has_news() && llm::merge([&*shared, &own], ANSWERS_BYTES) == shared {
                continue;
            }
            match self.merge(selector, &own).await {
                Ok(true) => tracing::debug!("what was learned is shared"),
                Ok(false) => {} // another pod is at it
                Err(error) => tracing::warn!(%error, "what was learned is not shared yet"),
            }
        }
    }

    /// False: another pod has the Lease.
    async fn merge(&self, selector: &Selector, answers: &[u8]) -> Result<bool, kube::Error> {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), &self.namespace);
        let Some(lease) = self.acquire(&leases).await? else { return Ok(false) };
        let news = selector.take_news();
        let written = self.write(&news, answers).await;
        match &written {
            Ok(merged) => selector.share(merged.clone()),
            Err(_) => selector.give_back(&news),
        }
        leases.replace(&self.name(), &PostParams::default(), &held(lease, None)).await.ok(); // else it runs out
        written.map(|_| true)
    }

    async fn write(&self, news: &Memory, answers: &[u8]) -> Result<Memory, kube::Error> {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let mut map = maps.get(&self.name()).await?;
        let mut memory = memory_of(&map);
        memory.merge(news);
        let bytes = fitted(&mut memory);
        let answers = llm::merge([answers_of(&map), answers], ANSWERS_BYTES);
        let data = map.binary_data.get_or_insert_default();
        data.insert(MEMORY.into(), ByteString(bytes));
        data.insert(ANSWERS.into(), ByteString(answers));
        // With the version that was read: whatever wrote meanwhile is not lost.
        maps.replace(&self.name(), &PostParams::default(), &map).await?;
        Ok(memory)
    }

    /// Those of the ConfigMap, so that the Lease goes with the hub as well.
    async fn owners(&self) -> Result<Option<Vec<OwnerReference>>, kube::Error> {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let owners = maps.get(&self.name()).await?.metadata.owner_references;
        // Who may not set finalizers of the hub may not hold up its deletion either.
        let plain =
            |owner| OwnerReference { block_owner_deletion: None, controller: None, ..owner };
        Ok(owners.map(|owners| owners.into_iter().map(plain).collect()))
    }

    /// The Lease, if it could be had.
    async fn acquire(&self, leases: &Api<Lease>) -> Result<Option<Lease>, kube::Error> {
        let lease = leases.get_opt(&self.name()).await?;
        let asked = match lease {
            None => {
                let (name, owner_references) = (Some(self.name()), self.owners().await?);
                let metadata = ObjectMeta { name, owner_references, ..ObjectMeta::default() };
                let new = held(Lease { metadata, ..Lease::default() }, Some(&self.pod));
                leases.create(&PostParams::default(), &new).await
            }
            Some(lease) if is_free(&lease, &self.pod, Timestamp::now()) => {
                leases
                    .replace(&self.name(), &PostParams::default(), &held(lease, Some(&self.pod)))
                    .await
            }
            Some(_) => return Ok(None),
        };
        match asked {
            Ok(lease) => Ok(Some(lease)),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(None), // another was quicker
            Err(error) => Err(error),
        }
    }
}

/// The memory in it; nothing where there is none, or one of another version.
fn memory_of(map: &ConfigMap) -> Memory {
    let bytes = map.binary_data.as_ref().and_then(|data| data.get(MEMORY));
    bytes.and_then(|bytes| Memory::from_bytes(&bytes.0)).unwrap_or_default()
}

/// The answers of language models in it.
fn answers_of(map: &ConfigMap) -> &[u8] {
    map.binary_data.as_ref().and_then(|data| data.get(ANSWERS)).map_or(&[], |bytes| &bytes.0)
}

/// The memory as bytes that fit. Tools that fewest prompts led to are forgotten for it.
fn fitted(memory: &mut Memory) -> Vec<u8> {
    loop {
        let bytes = memory.to_bytes();
        if bytes.len() <= MEMORY_BYTES {
            return bytes;
        }
        let tools: RefCell<Vec<Digest>> = RefCell::default();
        memory.retain(|tool| {
            tools.borrow_mut().push(*tool);
            true
        });
        let mut tools = tools.take();
        tools.sort_by_cached_key(|tool| memory.count(tool));
        tools.truncate(tools.len().div_ceil(10));
        memory.retain(|tool| !tools.contains(tool));
    }
}

/// The Lease in the hands of this pod; `None`: of nobody.
fn held(mut lease: Lease, by: Option<&str>) -> Lease {
    lease.spec = Some(LeaseSpec {
        holder_identity: by.map(str::to_owned),
        lease_duration_seconds: Some(LEASE_SECONDS),
        renew_time: Some(MicroTime(Timestamp::now())),
        ..LeaseSpec::default()
    });
    lease
}

/// Whether this pod may take it.
fn is_free(lease: &Lease, pod: &str, now: Timestamp) -> bool {
    let Some(spec) = &lease.spec else { return true };
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    let lasts =
        SignedDuration::from_secs(spec.lease_duration_seconds.unwrap_or(LEASE_SECONDS).into());
    let over = spec.renew_time.as_ref().is_none_or(|renewed| now.duration_since(renewed.0) > lasts);
    holder.is_empty() || holder == pod || over
}

#[cfg(test)]
mod tests {
    use mcphub_hub_select::embedded::Vector;

    use super::*;

    #[test]
    fn a_lease_is_free_when_nobody_has_it_or_its_holder_is_gone() {
        let now = Timestamp::now();
        let later = |seconds| now + SignedDuration::from_secs(seconds);
        let of_a = held(Lease::default(), Some("a"));
        assert!(is_free(&Lease::default(), "b", now));
        assert!(is_free(&held(Lease::default(), None), "b", now));
        assert!(is_free(&of_a, "a", now));
        assert!(!is_free(&of_a, "b", now));
        assert!(is_free(&of_a, "b", later(i64::from(LEASE_SECONDS) + 5)));
    }

    // What does not fit would be refused whole, and nothing shared any more.
    #[test]
    fn a_memory_that_is_too_long_forgets_the_tools_that_fewest_prompts_led_to() {
        let mut memory = Memory::default();
        let vector = Vector::new(&[0.5; 384]);
        for number in 0..2000_u16 {
            let mut digest = [0; 32];
            digest[..2].copy_from_slice(&number.to_be_bytes());
            for _ in 0..=u16::from(number >= 1990) {
                memory.remember(Digest::from_bytes(digest), &vector);
            }
        }
        let bytes = fitted(&mut memory);
        assert!(bytes.len() <= MEMORY_BYTES && bytes.len() > MEMORY_BYTES / 2, "{}", bytes.len());
        let kept = Memory::from_bytes(&bytes).unwrap();
        let mut known = [0; 32];
        known[..2].copy_from_slice(&1995_u16.to_be_bytes());
        assert_eq!(kept.count(&Digest::from_bytes(known)), 2);
    }

    // A newer pod may have written what this one does not understand; that must not take it down.
    #[test]
    fn what_is_not_understood_is_nothing() {
        let with = |bytes: &[u8]| ConfigMap {
            binary_data: Some([(MEMORY.to_owned(), ByteString(bytes.to_vec()))].into()),
            ..ConfigMap::default()
        };
        for map in [ConfigMap::default(), with(b""), with(b"nonsense")] {
            assert!(memory_of(&map).is_empty());
        }
    }
}
