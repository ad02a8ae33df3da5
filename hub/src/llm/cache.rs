//! Answers that are kept. Failures never are.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use mcphub_hub_select::llm::answer_cache::{self, Entry};
use mcphub_hub_select::llm::question::Key;
use moka::Expiry;
use moka::future;

use super::error::Error;
use super::metrics::{CacheStats, Metrics, ratio};

/// Most answers in memory: two megabytes.
const MOST: u64 = 20_000;
/// What an entry takes beside its answer.
const ENTRY_BYTES: u64 = 120;

pub(super) struct Cache {
    answers: future::Cache<Key, Answer>,
    ttl: Duration,
}

#[derive(Clone)]
struct Answer {
    /// In seconds since 1970.
    made: u64,
    value: Arc<[u8]>,
}

/// What came from elsewhere is as old as it is.
struct ByAge(Duration);

impl Expiry<Key, Answer> for ByAge {
    fn expire_after_create(&self, _: &Key, answer: &Answer, _: Instant) -> Option<Duration> {
        Some(self.0.saturating_sub(Duration::from_secs(now().saturating_sub(answer.made))))
    }

    // Without it a new answer in the place of one that is over, and not gone yet, would be over at once.
    fn expire_after_update(
        &self,
        key: &Key,
        answer: &Answer,
        at: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        self.expire_after_create(key, answer, at)
    }
}

impl Cache {
    pub(super) fn of(ttl: Duration) -> Self {
        let answers = future::Cache::builder().max_capacity(MOST).expire_after(ByAge(ttl)).build();
        Self { answers, ttl }
    }

    /// The answer under this key: kept, or what `ask` gives. Equal questions at one time are asked once.
    pub(super) async fn answer(
        &self,
        key: Key,
        metrics: &Metrics,
        ask: impl Future<Output = Result<Vec<u8>, Error>>,
    ) -> Result<Arc<[u8]>, Error> {
        let asked = AtomicBool::new(false);
        let make = async {
            asked.store(true, Ordering::Relaxed);
            metrics.misses.inc();
            Ok(Answer { made: now(), value: ask.await?.into() })
        };
        let answer = self
            .answers
            .try_get_with(key, make)
            .await
            .map_err(|error: Arc<Error>| (*error).clone())?;
        if !asked.load(Ordering::Relaxed) {
            metrics.hits.inc();
        }
        Ok(answer.value)
    }

    /// The answer that is kept under this key.
    pub(super) async fn kept(&self, key: Key) -> Option<Arc<[u8]>> {
        Some(self.answers.get(&key).await?.value)
    }

    /// Keeps an answer.
    pub(super) async fn keep(&self, key: Key, value: Vec<u8>) {
        self.answers.insert(key, Answer { made: now(), value: value.into() }).await;
    }

    /// The newest answers as bytes.
    pub(super) fn export(&self, most: usize) -> Vec<u8> {
        let entry = |(key, answer): (Arc<Key>, Answer)| Entry {
            key: *key,
            made: answer.made,
            value: answer.value.to_vec(),
        };
        answer_cache::write(self.answers.iter().map(entry).collect(), most)
    }

    /// Takes answers of other pods, where they are newer. How many were taken.
    pub(super) async fn import(&self, bytes: &[u8]) -> usize {
        let now = now();
        let mut taken = 0;
        for entry in
            answer_cache::read(bytes).into_iter().take(usize::try_from(MOST).unwrap_or(usize::MAX))
        {
            let age = Duration::from_secs(now.saturating_sub(entry.made));
            let newer =
                self.answers.get(&entry.key).await.is_none_or(|known| known.made < entry.made);
            // From the future: some clock is wrong, and the answer would never leave.
            if newer && age < self.ttl && entry.made <= now + 60 {
                self.answers
                    .insert(entry.key, Answer { made: entry.made, value: entry.value.into() })
                    .await;
                taken += 1;
            }
        }
        taken
    }

    #[allow(clippy::cast_precision_loss)] // a few megabytes
    pub(super) fn stats(&self, metrics: &Metrics) -> CacheStats {
        // Counted, because what the cache says of itself lags behind.
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
    fn a_new_answer_in_the_place_of_an_old_one_lives_as_long_as_any() {
        let ttl = ByAge(Duration::from_hours(24));
        let answer = |age: u64| Answer { made: now() - age, value: Arc::new([0_u8]) };
        let over = Some(Duration::ZERO);
        let left =
            ttl.expire_after_update(&Key([0; 16]), &answer(0), Instant::now(), over).unwrap();
        assert!(left > Duration::from_mins(24 * 60 - 1), "{left:?}");
        let left = ttl.expire_after_create(&Key([0; 16]), &answer(3_600), Instant::now()).unwrap();
        assert!(
            left <= Duration::from_hours(23),
            "what comes from elsewhere is as old as it is: {left:?}"
        );
        assert_eq!(ttl.expire_after_create(&Key([0; 16]), &answer(1 << 20), Instant::now()), over);
    }
}
