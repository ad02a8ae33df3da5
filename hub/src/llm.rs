//! The language model that selects tools or categorizes them.
//!
//! The questions and the parsing of answers are in `mcphub_hub_select::llm`. Here is what needs the
//! network or a clock. A question goes through [`cache`], [`queue`] (concurrency, circuit breaker,
//! retries) and [`endpoint`] (one HTTP exchange).

mod cache;
mod endpoint;
mod error;
mod metrics;
mod queue;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mcphub_hub_select::llm::answer::AnswerError;
use mcphub_hub_select::llm::{MAX_CANDIDATES, MAX_CATEGORIES, answer, question};
use mcphub_hub_wire::config;
use prometheus::Registry;
use tokio::time::Instant;

use self::cache::AnswerCache;
use self::endpoint::Endpoint;
use self::metrics::Metrics;
use self::queue::{RequestQueue, Urgency};

pub use self::error::Error;
pub use self::metrics::{CacheStats, LlmStats, Stats};
pub use mcphub_hub_select::llm::Candidate;
pub use mcphub_hub_select::llm::answer_cache::merge;

/// How many tools are categorized with one question.
const BATCH: usize = 40;
/// A key that was accepted within this time is not verified again.
const ACCEPTED_FOR: Duration = Duration::from_mins(5);
/// The cached value of a tool to which the model gave no category.
const NO_CATEGORY: u8 = u8::MAX;

/// The category that the model chose for a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CategoryChoice {
    /// The category at this position.
    Category(usize),
    /// No category that exists.
    NoneFits,
}

/// The client of a language model. If [`Self::rank`] fails, the embedded selector is the fallback.
pub struct Llm {
    queue: RequestQueue,
    cache: AnswerCache,
    /// One run at a time, so that a second run finds the answers of the first in the cache.
    categorizing: tokio::sync::Mutex<()>,
    /// Part of the cache keys, see [`Self::identity`].
    identity: String,
    model: String,
    prewarm: bool,
    registry: Registry,
}

impl fmt::Debug for Llm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Llm").field("endpoint", &self.queue.endpoint).finish_non_exhaustive()
    }
}

impl Llm {
    /// Creates the client. Sends nothing, but fails if the config can never work.
    pub fn start(config: &config::Llm, registry: &Registry) -> Result<Arc<Self>, Error> {
        let endpoint = Endpoint::new(config)?;
        let metrics = Metrics::register(registry, config.provider).map_err(|error| {
            Error::Misconfigured(format!(
                "failed to register the metrics of filtering.llm: {error}"
            ))
        })?;
        Ok(Arc::new(Self {
            queue: RequestQueue::new(config, endpoint, metrics),
            cache: AnswerCache::new(Duration::from_millis(config.cache.ttl_ms)),
            categorizing: tokio::sync::Mutex::default(),
            identity: Self::identity(config),
            model: config.model.clone(),
            prewarm: config.cache.prewarm,
            registry: registry.clone(),
        }))
    }

    /// Removes the metrics. Otherwise they would stay at their last values, and look like a model
    /// that gets no questions.
    pub fn end(&self) {
        self.queue.metrics.unregister(&self.registry);
    }

    /// Identifies the model and its address. Answers of another model are not reused.
    pub fn identity(config: &config::Llm) -> String {
        let address = config.base_url.as_deref().unwrap_or_default();
        format!("{:?} {address} {}", config.provider, config.model)
    }

    /// The positions of the candidates that fit the prompt, best first. Empty if none fits.
    /// Candidates after the first [`MAX_CANDIDATES`] are left out.
    pub async fn rank(
        &self,
        prompt: &str,
        candidates: &[Candidate<'_>],
        limit: usize,
    ) -> Result<Vec<usize>, Error> {
        let candidates = candidates.get(..MAX_CANDIDATES).unwrap_or(candidates);
        let limit = limit.min(candidates.len());
        if limit == 0 || prompt.trim().is_empty() {
            return Ok(Vec::new());
        }
        let order = question::by_id(candidates);
        let key = question::rank_key(&self.identity, prompt, candidates, limit);
        let ask = async {
            let question = question::rank_question(prompt, candidates, limit);
            let ids: Vec<&str> =
                order.iter().filter_map(|&at| Some(candidates.get(at)?.id)).collect();
            let parse = |output: &_| answer::parse_ranking(output, &ids, limit);
            let chosen = self.queue.ask(&question, Urgency::Interactive, parse).await?;
            Ok(chosen.into_iter().filter_map(|at| u8::try_from(at).ok()).collect())
        };
        let metrics = &self.queue.metrics;
        let cached = self
            .cache
            .get_or_ask(key, metrics, ask)
            .await
            .inspect_err(|_| metrics.fallbacks.inc())?;
        let mut chosen = Vec::new();
        for position in cached.iter().filter_map(|&at| order.get(usize::from(at))).copied() {
            // The answer may have been imported, so it is not trusted.
            if chosen.len() < limit && !chosen.contains(&position) {
                chosen.push(position);
            }
        }
        Ok(chosen)
    }

    /// The cached choice for each tool. Sends nothing.
    pub async fn known(
        &self,
        tools: &[Candidate<'_>],
        categories: &[&str],
    ) -> Vec<Option<CategoryChoice>> {
        let mut known = Vec::with_capacity(tools.len());
        for tool in tools {
            known.push(self.known_category(tool, categories).await);
        }
        self.queue.metrics.hits.inc_by(count(known.iter().flatten().count()));
        known
    }

    /// The choice of the model for each tool. Tools that are not in the cache are asked about in
    /// batches, in the background. A tool without an answer is `None`, and the error says why. The
    /// next call asks about it again.
    ///
    /// All tools of a batch are in one question, so the description of one may influence the
    /// choice for another. Callers pass the tools of one server at a time.
    pub async fn categorize(
        &self,
        tools: &[Candidate<'_>],
        categories: &[&str],
    ) -> (Vec<Option<CategoryChoice>>, Result<(), Error>) {
        let categories = categories.get(..MAX_CATEGORIES).unwrap_or(categories);
        if categories.is_empty() {
            return (vec![Some(CategoryChoice::NoneFits); tools.len()], Ok(()));
        }
        let _one_run = self.categorizing.lock().await;
        let mut found = self.known(tools, categories).await;
        let missing: Vec<usize> =
            (0..tools.len()).filter(|&at| found.get(at) == Some(&None)).collect();
        self.queue.metrics.misses.inc_by(count(missing.len()));
        let mut failed = Ok(());
        let mut batches: Vec<&[usize]> = missing.chunks(BATCH).rev().collect();
        while let Some(batch) = batches.pop() {
            let batch_tools: Vec<Candidate<'_>> =
                batch.iter().filter_map(|&at| tools.get(at)).copied().collect();
            match self.categories(&batch_tools, categories).await {
                Ok(choices) => {
                    for (&at, choice) in batch.iter().zip(choices) {
                        if let Some(found) = found.get_mut(at) {
                            *found = Some(choice);
                        }
                    }
                }
                // The thoughts of a model may leave no tokens for so many tools.
                Err(Error::Answer(AnswerError::Truncated)) if batch.len() > 1 => {
                    let (first, rest) = batch.split_at(batch.len() / 2);
                    batches.extend([rest, first]);
                }
                // The answer failed because of these tools. Other batches may succeed.
                Err(error @ Error::Answer(_)) => failed = Err(error),
                Err(error) => return (found, Err(error)),
            }
        }
        (found, failed)
    }

    /// Asks about one batch, and caches the answers.
    async fn categories(
        &self,
        tools: &[Candidate<'_>],
        categories: &[&str],
    ) -> Result<Vec<CategoryChoice>, Error> {
        let ids: Vec<&str> = tools.iter().map(|tool| tool.id).collect();
        let parse = |output: &_| answer::parse_categories(output, &ids, categories);
        let question = question::category_question(tools, categories);
        let answers = self.queue.ask(&question, Urgency::Background, parse).await?;
        let mut choices = Vec::with_capacity(tools.len());
        for (tool, category) in tools.iter().zip(answers) {
            let cached = category.and_then(|at| u8::try_from(at).ok()).unwrap_or(NO_CATEGORY);
            let key = question::category_key(&self.identity, tool, categories);
            self.cache.insert(key, vec![cached]).await;
            choices.push(category.map_or(CategoryChoice::NoneFits, CategoryChoice::Category));
        }
        Ok(choices)
    }

    /// Whether tools are to be categorized at start.
    pub fn prewarms(&self) -> bool {
        self.prewarm
    }

    /// Sends a small question, so that a rejected key is found before the first caller. An error of
    /// the setup is [`Error::is_setup`]. Any other error is a problem of the provider. Counts only
    /// tokens, and sends nothing if the key was accepted a short while ago.
    pub async fn verify(&self) -> Result<(), Error> {
        if self.queue.endpoint.accepted_within(ACCEPTED_FOR).await? {
            return Ok(());
        }
        let tools = [("files__read", "Reads a file."), ("mail__send", "Sends an e-mail.")];
        let tools = tools.map(|(id, description)| Candidate { id, description, digest: b"" });
        let question = question::rank_question("What is in the file notes.txt?", &tools, 1);
        let timeout = self.queue.timeout();
        let output = self.queue.send(&question, Urgency::Interactive, Instant::now() + timeout);
        let output =
            tokio::time::timeout(timeout, output).await.unwrap_or(Err(Error::TimedOut(timeout)))?;
        answer::parse_ranking(&output, &tools.map(|tool| tool.id), 1)?;
        Ok(())
    }

    /// For `GET /api/filtering/stats`.
    pub fn stats(&self) -> Stats {
        let metrics = &self.queue.metrics;
        let mut llm = LlmStats { model: Some(self.model.clone()), ..metrics.stats() };
        self.queue.with_breaker(|breaker, _| {
            llm.circuit_breaker_state = Some(breaker.state().label());
            llm.circuit_breaker_failures = breaker.failures();
            llm.circuit_breaker_trips = breaker.trips();
        });
        Stats { llm, llm_cache: self.cache.stats(metrics) }
    }

    /// Serializes the newest cached answers, in at most `max_bytes`. The bytes contain neither
    /// prompts nor names of tools. [`merge`] combines those of several pods.
    pub fn export(&self, max_bytes: usize) -> Vec<u8> {
        self.cache.export(max_bytes)
    }

    /// Imports answers of other pods. Returns how many were new.
    pub async fn import(&self, bytes: &[u8]) -> usize {
        self.cache.import(bytes).await
    }

    async fn known_category(
        &self,
        tool: &Candidate<'_>,
        categories: &[&str],
    ) -> Option<CategoryChoice> {
        let categories = categories.get(..MAX_CATEGORIES).unwrap_or(categories);
        let key = question::category_key(&self.identity, tool, categories);
        let cached = self.cache.get(key).await?;
        let position = usize::from(*cached.first()?);
        Some(if position < categories.len() {
            CategoryChoice::Category(position)
        } else {
            CategoryChoice::NoneFits
        })
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
