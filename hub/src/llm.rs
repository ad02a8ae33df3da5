//! A language model as selector: which tools fit a prompt, and what categories tools have.
//!
//! What is asked, and what of an answer counts, is in `mcphub_hub_select::llm`; here is what needs the network or a clock.
//! The way of a question: [`cache`] -> [`asking`] (its turn, the breaker, retries) -> [`endpoint`] (one exchange).

mod asking;
mod cache;
mod endpoint;
mod error;
mod metrics;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mcphub_hub_select::llm::answer::Failure;
use mcphub_hub_select::llm::{MAX_CANDIDATES, MAX_CATEGORIES, answer, question};
use mcphub_hub_wire::config;
use prometheus::Registry;
use tokio::time::Instant;

use self::asking::{Asking, Patience};
use self::cache::Cache;
use self::endpoint::Endpoint;
use self::metrics::Metrics;

pub use self::error::Error;
pub use self::metrics::{CacheStats, LlmStats, Stats};
pub use mcphub_hub_select::llm::Candidate;
pub use mcphub_hub_select::llm::answer_cache::merge;

/// So many tools are categorized by one question.
const BATCH: usize = 40;
/// A key that was accepted so recently is not tried again.
const ACCEPTED: Duration = Duration::from_mins(5);
/// Kept in place of a category: the model gave none.
const NO_CATEGORY: u8 = u8::MAX;

/// What the model says of a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is of the category at this position.
    Category(usize),
    /// It is of none that exists.
    Unfit,
}

/// A language model. Ask it with [`Self::rank`]; every `Err` means that the embedded selector answers instead.
pub struct Llm {
    asking: Asking,
    cache: Cache,
    /// One run after the other: the second finds what the first learned.
    categorizing: tokio::sync::Mutex<()>,
    /// Whose answers these are. Another model's are not taken for them.
    identity: String,
    model: String,
    prewarm: bool,
    registry: Registry,
}

impl fmt::Debug for Llm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Llm").field("endpoint", &self.asking.endpoint).finish_non_exhaustive()
    }
}

impl Llm {
    /// The language model of a config. Asks nothing yet, but says what can never work.
    pub fn start(config: &config::Llm, registry: &Registry) -> Result<Arc<Self>, Error> {
        let endpoint = Endpoint::of(config)?;
        let metrics = Metrics::register(registry, config.provider)
            .map_err(|error| Error::Unaskable(format!("the metrics of filtering.llm: {error}")))?;
        Ok(Arc::new(Self {
            asking: Asking::of(config, endpoint, metrics),
            cache: Cache::of(Duration::from_millis(config.cache.ttl_ms)),
            categorizing: tokio::sync::Mutex::default(),
            identity: Self::identity(config),
            model: config.model.clone(),
            prewarm: config.cache.prewarm,
            registry: registry.clone(),
        }))
    }

    /// Nobody will ask it any more: its metrics go, or they would stand still and look like a model without questions.
    pub fn end(&self) {
        self.asking.metrics.unregister(&self.registry);
    }

    /// Whose answers these are: those of another model, or from another address, are not the same.
    pub fn identity(config: &config::Llm) -> String {
        let address = config.base_url.as_deref().unwrap_or_default();
        format!("{:?} {address} {}", config.provider, config.model)
    }

    /// Positions of the candidates that fit the prompt, best first; none when nothing fits. Of more candidates than
    /// [`MAX_CANDIDATES`] the later ones are left out.
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
        let asked = async {
            let question = question::rank(prompt, candidates, limit);
            let ids: Vec<&str> =
                order.iter().filter_map(|&at| Some(candidates.get(at)?.id)).collect();
            let read = |said: &_| answer::ranked(said, &ids, limit);
            let chosen = self.asking.ask(&question, Patience::Caller, read).await?;
            Ok(chosen.into_iter().filter_map(|place| u8::try_from(place).ok()).collect())
        };
        let metrics = &self.asking.metrics;
        let kept = self
            .cache
            .answer(key, metrics, asked)
            .await
            .inspect_err(|_| metrics.fallbacks.inc())?;
        let mut chosen = Vec::new();
        for position in kept.iter().filter_map(|&place| order.get(usize::from(place))).copied() {
            // What is kept may have come from elsewhere.
            if chosen.len() < limit && !chosen.contains(&position) {
                chosen.push(position);
            }
        }
        Ok(chosen)
    }

    /// What was said of each tool, as far as it is kept; asks nothing.
    pub async fn known(
        &self,
        tools: &[Candidate<'_>],
        categories: &[&str],
    ) -> Vec<Option<Verdict>> {
        let mut known = Vec::with_capacity(tools.len());
        for tool in tools {
            known.push(self.known_category(tool, categories).await);
        }
        self.asking.metrics.hits.inc_by(count(known.iter().flatten().count()));
        known
    }

    /// What the model says of each tool. For the background: what is not known is asked in turn, and takes its time.
    /// `None` where there is no answer, which the error says why; the next call asks for those.
    ///
    /// Tools that are given together are asked about together, and what one of them says of itself may move the others.
    pub async fn categorize(
        &self,
        tools: &[Candidate<'_>],
        categories: &[&str],
    ) -> (Vec<Option<Verdict>>, Result<(), Error>) {
        let categories = categories.get(..MAX_CATEGORIES).unwrap_or(categories);
        if categories.is_empty() {
            return (vec![Some(Verdict::Unfit); tools.len()], Ok(()));
        }
        let _one_run = self.categorizing.lock().await;
        let mut found = self.known(tools, categories).await;
        let missing: Vec<usize> =
            (0..tools.len()).filter(|&at| found.get(at) == Some(&None)).collect();
        self.asking.metrics.misses.inc_by(count(missing.len()));
        let mut failed = Ok(());
        let mut batches: Vec<&[usize]> = missing.chunks(BATCH).rev().collect();
        while let Some(batch) = batches.pop() {
            let asked: Vec<Candidate<'_>> =
                batch.iter().filter_map(|&at| tools.get(at)).copied().collect();
            match self.categories(&asked, categories).await {
                Ok(given) => {
                    for (&at, verdict) in batch.iter().zip(given) {
                        if let Some(found) = found.get_mut(at) {
                            *found = Some(verdict);
                        }
                    }
                }
                // Models that think may have no room left for so many.
                Err(Error::Answer(Failure::Truncated)) if batch.len() > 1 => {
                    let (first, rest) = batch.split_at(batch.len() / 2);
                    batches.extend([rest, first]);
                }
                // Of these tools only: others may be answered.
                Err(error @ Error::Answer(_)) => failed = Err(error),
                Err(error) => return (found, Err(error)),
            }
        }
        (found, failed)
    }

    /// One question, and its answers kept.
    async fn categories(
        &self,
        tools: &[Candidate<'_>],
        categories: &[&str],
    ) -> Result<Vec<Verdict>, Error> {
        let ids: Vec<&str> = tools.iter().map(|tool| tool.id).collect();
        let read = |said: &_| answer::categories(said, &ids, categories);
        let question = question::categorize(tools, categories);
        let given = self.asking.ask(&question, Patience::Background, read).await?;
        let mut verdicts = Vec::with_capacity(tools.len());
        for (tool, category) in tools.iter().zip(given) {
            let place = category.and_then(|place| u8::try_from(place).ok()).unwrap_or(NO_CATEGORY);
            self.cache
                .keep(question::category_key(&self.identity, tool, categories), vec![place])
                .await;
            verdicts.push(category.map_or(Verdict::Unfit, Verdict::Category));
        }
        Ok(verdicts)
    }

    /// Whether categories are to be asked for at start.
    pub fn prewarms(&self) -> bool {
        self.prewarm
    }

    /// Asks something small, or says why that fails: a key that is refused is found before the first caller. What
    /// somebody must change is an error whose [`Error::is_setup`]; any other is the provider's bad moment. Not counted
    /// but in tokens, and not asked again within minutes.
    pub async fn verify(&self) -> Result<(), Error> {
        if self.asking.endpoint.accepted_within(ACCEPTED).await? {
            return Ok(());
        }
        let tools = [("files__read", "Reads a file."), ("mail__send", "Sends an e-mail.")];
        let tools = tools.map(|(id, description)| Candidate { id, description, digest: b"" });
        let question = question::rank("What is in the file notes.txt?", &tools, 1);
        let timeout = self.asking.timeout();
        let asked = self.asking.tries(&question, Patience::Caller, Instant::now() + timeout);
        let said =
            tokio::time::timeout(timeout, asked).await.unwrap_or(Err(Error::TimedOut(timeout)))?;
        answer::ranked(&said, &tools.map(|tool| tool.id), 1)?;
        Ok(())
    }

    /// For `GET /api/filtering/stats`.
    pub fn stats(&self) -> Stats {
        let metrics = &self.asking.metrics;
        let mut llm = LlmStats { model: Some(self.model.clone()), ..metrics.stats() };
        self.asking.breaker(|breaker, _| {
            llm.circuit_breaker_state = Some(breaker.state().word());
            llm.circuit_breaker_failures = breaker.failures();
            llm.circuit_breaker_trips = breaker.trips();
        });
        Stats { llm, llm_cache: self.cache.stats(metrics) }
    }

    /// The newest answers that are kept, in at most so many bytes. Neither prompts nor names of tools are in them.
    /// [`merge`] makes one of those of several pods.
    pub fn export(&self, most: usize) -> Vec<u8> {
        self.cache.export(most)
    }

    /// Takes answers of other pods. How many were new.
    pub async fn import(&self, bytes: &[u8]) -> usize {
        self.cache.import(bytes).await
    }

    /// What is kept of this tool.
    async fn known_category(&self, tool: &Candidate<'_>, categories: &[&str]) -> Option<Verdict> {
        let categories = categories.get(..MAX_CATEGORIES).unwrap_or(categories);
        let key = question::category_key(&self.identity, tool, categories);
        let kept = self.cache.kept(key).await?;
        let place = usize::from(*kept.first()?);
        Some(if place < categories.len() { Verdict::Category(place) } else { Verdict::Unfit })
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
