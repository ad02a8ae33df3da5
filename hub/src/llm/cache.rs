//! Caches the answers of the language model. Failures are never cached.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use mcphub_hub_select::llm::answer_cache::{self, CachedAnswer};
use mcphub_hub_select::llm::question::AnswerKey;
use moka::Expiry;
use moka::future;

use super::error::Error;
use super::metrics::{CacheStats, Metrics, ratio};

/// The most answers in memory. They take two megabytes.
const MAX_ANSWERS: u64 = 20_000;
/// The estimated memory of an entry without its answer.
const ENTRY_BYTES: u64 = 120;

pub(super) struct AnswerCache {
    answers: future::Cache<AnswerKey, StoredAnswer>,
    ttl: Duration,
}

#[derive(Clone)]
struct StoredAnswer {
    /// In seconds since 1970.
    created_at: u64,
    value: Arc<[u8]>,
}

/// Expires answers by their age. An answer that was imported from another pod keeps its age.
struct ExpireByAge(Duration);

impl Expiry<AnswerKey, StoredAnswer> for ExpireByAge {
    fn expire_after_create(
        &self,
        _: &AnswerKey,
        answer: &StoredAnswer,
        _: Instant,
    ) -> Option<Duration> {
        let age = Duration::from_secs(now().saturating_sub(answer.created_at));
        Some(self.0.saturating_sub(age))
    }

    // By default an update keeps the expiry. A new answer that replaces an expired one would then
    // expire at once.
    fn expire_after_update(
        &self,
        key: &AnswerKey,
        answer: &StoredAnswer,
        at: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        self.expire_after_create(key, answer, at)
    }
}

impl AnswerCache {
    pub(super) fn new(ttl: Duration) -> Self {
        let answers = future::Cache::builder()
            .max_capacity(MAX_ANSWERS)
            .expire_after(ExpireByAge(ttl))
            .build();
        Self { answers, ttl }
    }

    /// Gets the cached answer, or the result of `ask`, which is then cached. Equal questions at the
    /// same time are asked once.
    pub(super) async fn get_or_ask(
        &self,
        key: AnswerKey,
        metrics: &Metrics,
        ask: impl Future<Output = Result<Vec<u8>, Error>>,
    ) -> Result<Arc<[u8]>, Error> {
        let missed = AtomicBool::new(false);
        let create = async {
            missed.store(true, Ordering::Relaxed);
            metrics.misses.inc();
            Ok(StoredAnswer { created_at: now(), value: ask.await?.into() })
        };
        let answer = self
            .answers
            .try_get_with(key, create)
            .await
            .map_err(|error: Arc<Error>| (*error).clone())?;
        if !missed.load(Ordering::Relaxed) {
            metrics.hits.inc();
        }
        Ok(answer.value)
    }

    pub(super) async fn get(&self, key: AnswerKey) -> Option<Arc<[u8]>> {
        Some(self.answers.get(&key).await?.value)
    }

    pub(super) async fn insert(&self, key: AnswerKey, value: Vec<u8>) {
        let answer = StoredAnswer { created_at: now(), value: value.into() };
        self.answers.insert(key, answer).await;
    }

    /// Serializes the newest answers, in at most `max_bytes`.
    pub(super) fn export(&self, max_bytes: usize) -> Vec<u8> {
        let entry = |(key, answer): (Arc<AnswerKey>, StoredAnswer)| CachedAnswer {
            key: *key,
            created_at: answer.created_at,
            value: answer.value.to_vec(),
        };
        answer_cache::encode(self.answers.iter().map(entry).collect(), max_bytes)
    }

    /// Imports those answers of other pods that are newer. Returns how many these are.
    pub(super) async fn import(&self, bytes: &[u8]) -> usize {
        let now = now();
        let max = usize::try_from(MAX_ANSWERS).unwrap_or(usize::MAX);
        let mut imported = 0;
        for entry in answer_cache::decode(bytes).into_iter().take(max) {
            let CachedAnswer { key, created_at, value } = entry;
            let age = Duration::from_secs(now.saturating_sub(created_at));
            let newer =
                self.answers.get(&key).await.is_none_or(|known| known.created_at < created_at);
            // An answer from the future comes from a pod with a wrong clock. It would never expire.
            if newer && age < self.ttl && created_at <= now + 60 {
                let answer = StoredAnswer { created_at, value: value.into() };
                self.answers.insert(key, answer).await;
                imported += 1;
            }
        }
        imported
    }

    #[allow(clippy::cast_precision_loss)] // a few megabytes
    pub(super) fn stats(&self, metrics: &Metrics) -> CacheStats {
        // Counted here, because the cache's own counters lag behind.
        let (size, bytes) = self.answers.iter().fold((0, 0), |(size, bytes), (_, answer)| {
            (size + 1, bytes + ENTRY_BYTES + answer.value.len() as u64)
        });
        let (hits, misses) = (metrics.hits.get(), metrics.misses.get());
        CacheStats {
            size,
            hit_rate: ratio(hits, hits + misses),
            hits,
            misses,
            memory_usage_bytes: bytes,
            memory_usage_mb: bytes as f64 / f64::from(1 << 20),
            ttl_seconds: self.ttl.as_secs(),
        }
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_replaces_an_expired_one_gets_the_whole_time_to_live() {
        let (ttl, key) = (ExpireByAge(Duration::from_hours(24)), AnswerKey([0; 16]));
        let answer = |age: u64| StoredAnswer { created_at: now() - age, value: Arc::new([0_u8]) };
        let expired = Some(Duration::ZERO);
        let left = ttl.expire_after_update(&key, &answer(0), Instant::now(), expired).unwrap();
        assert!(left > Duration::from_mins(24 * 60 - 1), "{left:?}");
        let left = ttl.expire_after_create(&key, &answer(3_600), Instant::now()).unwrap();
        assert!(left <= Duration::from_hours(23), "an imported answer keeps its age: {left:?}");
        assert_eq!(ttl.expire_after_create(&key, &answer(1 << 20), Instant::now()), expired);
    }
}
