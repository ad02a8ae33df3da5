//! What the pods of a hub learn together, in ConfigMap `<hub>-learned`. Every pod watches it. One
//! pod at a time, which holds the Lease of the same name, merges into it what it has learned. The
//! operator creates the ConfigMap.

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

use crate::dataplane::{Retry, RuntimeConfigMap, WATCH_SECONDS};
use crate::llm;
use crate::selector::Selector;

/// The key of the remembered prompts in `binaryData`. They are vectors only, with one byte per
/// number.
const MEMORY: &str = "memory";
/// The key of the answers of language models in `binaryData`; see [`crate::llm::Llm::export`].
const ANSWERS: &str = "llm";
/// Together with [`MAX_ANSWER_BYTES`] less than the megabyte that a ConfigMap may hold.
const MAX_MEMORY_BYTES: usize = 600 << 10;
const MAX_ANSWER_BYTES: usize = 300 << 10;
/// How often the pod merges what it has learned.
const PERIOD: Duration = Duration::from_mins(1);
/// How long other pods wait for the Lease of a pod that disappeared while it merged.
const LEASE_SECONDS: i32 = 30;

/// The ConfigMap with the learned state of a hub.
pub(crate) struct LearnedState {
    client: Client,
    namespace: String,
    hub: String,
    /// The name of this pod.
    pod: String,
}

impl LearnedState {
    /// The learned state of the hub that has this runtime ConfigMap.
    pub(crate) fn new(runtime: RuntimeConfigMap, pod: String) -> Self {
        let RuntimeConfigMap { client, namespace, hub } = runtime;
        Self { client, namespace, hub, pod }
    }

    /// Watches and merges as long as the pod runs.
    pub(crate) async fn run(self, selector: Arc<Selector>) {
        let answers = Mutex::default();
        tokio::join!(self.follow(&selector, &answers), self.contribute(&selector, &answers));
    }

    fn name(&self) -> String {
        format!("{}-learned", self.hub)
    }

    /// Gives the selector every new state. `answers` is set to the answers in it.
    async fn follow(&self, selector: &Selector, answers: &Mutex<Vec<u8>>) {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let config = watcher::Config::default()
            .fields(&format!("metadata.name={}", self.name()))
            .timeout(WATCH_SECONDS);
        let mut events = watcher(maps, config).backoff(Retry::default()).boxed();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Apply(map) | Event::InitApply(map)) => {
                    selector.set_shared_memory(memory(&map));
                    let shared = answers_in(&map).to_vec();
                    selector.import_answers(&shared).await;
                    *answers.lock().unwrap_or_else(PoisonError::into_inner) = shared;
                }
                Ok(Event::InitDone) => selector.shared_state_read(),
                Ok(Event::Init | Event::Delete(_)) => {}
                Err(error) => {
                    tracing::debug!(%error, "failed to watch the learned state");
                }
            }
        }
    }

    async fn contribute(&self, selector: &Selector, answers: &Mutex<Vec<u8>>) {
        loop {
            tokio::time::sleep(PERIOD.mul_f64(rand::random_range(0.8..1.2))).await;
            let shared = answers.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let own = selector.llm().map(|llm| llm.export(MAX_ANSWER_BYTES)).unwrap_or_default();
            if !selector.has_news() && llm::merge([&*shared, &own], MAX_ANSWER_BYTES) == shared {
                continue;
            }
            match self.merge_with_lease(selector, &own).await {
                Ok(true) => tracing::debug!("learned state merged"),
                Ok(false) => {} // another pod is merging
                Err(error) => {
                    tracing::warn!(%error,
                        "failed to merge the learned state, retrying in a minute");
                }
            }
        }
    }

    /// Returns false if another pod holds the Lease.
    async fn merge_with_lease(
        &self,
        selector: &Selector,
        answers: &[u8],
    ) -> Result<bool, kube::Error> {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), &self.namespace);
        let Some(lease) = self.acquire(&leases).await? else { return Ok(false) };
        let news = selector.take_news();
        let merged = self.merge(&news, answers).await;
        match &merged {
            Ok(memory) => selector.set_shared_memory(memory.clone()),
            Err(_) => selector.restore_news(&news),
        }
        // If the release fails, the Lease expires.
        leases.replace(&self.name(), &PostParams::default(), &with_holder(lease, None)).await.ok();
        merged.map(|_| true)
    }

    /// Merges into the ConfigMap, and returns the merged memory.
    async fn merge(&self, news: &Memory, answers: &[u8]) -> Result<Memory, kube::Error> {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let mut map = maps.get(&self.name()).await?;
        let mut memory = memory(&map);
        memory.merge(news);
        let bytes = bytes_within_limit(&mut memory);
        let answers = llm::merge([answers_in(&map), answers], MAX_ANSWER_BYTES);
        let data = map.binary_data.get_or_insert_default();
        data.insert(MEMORY.into(), ByteString(bytes));
        data.insert(ANSWERS.into(), ByteString(answers));
        // With the resourceVersion that was read, so that no other write is lost.
        maps.replace(&self.name(), &PostParams::default(), &map).await?;
        Ok(memory)
    }

    /// The owners of the ConfigMap, so that the Lease is deleted with the hub.
    async fn owners(&self) -> Result<Option<Vec<OwnerReference>>, kube::Error> {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let owners = maps.get(&self.name()).await?.metadata.owner_references;
        // A pod that may not set finalizers of the hub may not block its deletion either.
        let plain =
            |owner| OwnerReference { block_owner_deletion: None, controller: None, ..owner };
        Ok(owners.map(|owners| owners.into_iter().map(plain).collect()))
    }

    /// Acquires the Lease; `None` if another pod holds it.
    async fn acquire(&self, leases: &Api<Lease>) -> Result<Option<Lease>, kube::Error> {
        let lease = leases.get_opt(&self.name()).await?;
        let acquired = match lease {
            None => {
                let (name, owner_references) = (Some(self.name()), self.owners().await?);
                let metadata = ObjectMeta { name, owner_references, ..ObjectMeta::default() };
                let new = with_holder(Lease { metadata, ..Lease::default() }, Some(&self.pod));
                leases.create(&PostParams::default(), &new).await
            }
            Some(lease) if is_free(&lease, &self.pod, Timestamp::now()) => {
                leases
                    .replace(
                        &self.name(),
                        &PostParams::default(),
                        &with_holder(lease, Some(&self.pod)),
                    )
                    .await
            }
            Some(_) => return Ok(None),
        };
        match acquired {
            Ok(lease) => Ok(Some(lease)),
            // Another pod was faster.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The memory in the ConfigMap. Empty if there is none, or if a pod of another version wrote it.
fn memory(map: &ConfigMap) -> Memory {
    let bytes = map.binary_data.as_ref().and_then(|data| data.get(MEMORY));
    bytes.and_then(|bytes| Memory::from_bytes(&bytes.0)).unwrap_or_default()
}

/// The answers of language models in the ConfigMap.
fn answers_in(map: &ConfigMap) -> &[u8] {
    map.binary_data.as_ref().and_then(|data| data.get(ANSWERS)).map_or(&[], |bytes| &bytes.0)
}

/// The memory as bytes. If they are too many, the tools with the fewest prompts are forgotten.
fn bytes_within_limit(memory: &mut Memory) -> Vec<u8> {
    loop {
        let bytes = memory.to_bytes();
        if bytes.len() <= MAX_MEMORY_BYTES {
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

/// The Lease with this holder; `None` releases it.
fn with_holder(mut lease: Lease, holder: Option<&str>) -> Lease {
    lease.spec = Some(LeaseSpec {
        holder_identity: holder.map(str::to_owned),
        lease_duration_seconds: Some(LEASE_SECONDS),
        renew_time: Some(MicroTime(Timestamp::now())),
        ..LeaseSpec::default()
    });
    lease
}

/// Whether this pod may take the Lease.
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
    fn a_lease_is_free_when_nobody_holds_it_or_its_holder_is_gone() {
        let now = Timestamp::now();
        let later = |seconds| now + SignedDuration::from_secs(seconds);
        let of_a = with_holder(Lease::default(), Some("a"));
        assert!(is_free(&Lease::default(), "b", now));
        assert!(is_free(&with_holder(Lease::default(), None), "b", now));
        assert!(is_free(&of_a, "a", now));
        assert!(!is_free(&of_a, "b", now));
        assert!(is_free(&of_a, "b", later(i64::from(LEASE_SECONDS) + 5)));
    }

    // The API server would refuse a ConfigMap that is too large, and nothing would be shared any
    // more.
    #[test]
    fn a_memory_that_is_too_large_forgets_the_tools_with_the_fewest_prompts() {
        let mut memory = Memory::default();
        let vector = Vector::new(&[0.5; 384]);
        for number in 0..2000_u16 {
            let mut digest = [0; 32];
            digest[..2].copy_from_slice(&number.to_be_bytes());
            for _ in 0..=u16::from(number >= 1990) {
                memory.remember(Digest::from_bytes(digest), &vector);
            }
        }
        let bytes = bytes_within_limit(&mut memory);
        assert!(
            bytes.len() <= MAX_MEMORY_BYTES && bytes.len() > MAX_MEMORY_BYTES / 2,
            "{}",
            bytes.len()
        );
        let kept = Memory::from_bytes(&bytes).unwrap();
        let mut known = [0; 32];
        known[..2].copy_from_slice(&1995_u16.to_be_bytes());
        assert_eq!(kept.count(&Digest::from_bytes(known)), 2);
    }

    // A newer pod may have written what this one does not understand. That must not crash this pod.
    #[test]
    fn a_memory_that_is_not_understood_counts_as_empty() {
        let with = |bytes: &[u8]| ConfigMap {
            binary_data: Some([(MEMORY.to_owned(), ByteString(bytes.to_vec()))].into()),
            ..ConfigMap::default()
        };
        for map in [ConfigMap::default(), with(b""), with(b"nonsense")] {
            assert!(super::memory(&map).is_empty());
        }
    }
}
