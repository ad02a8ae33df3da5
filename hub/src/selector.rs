//! The selector of a running hub: which of a caller's tools fit a prompt.
//!
//! [`models`] are in memory only while search is reachable. [`index`] holds one index per set of
//! visible tools: by words at once, and by meaning as [`background`] computes the vectors. If a
//! language model is configured, it reorders what the embedded ranking found; see
//! [`language_model`]. If it fails, the embedded ranking is the result. [`selections`] are
//! remembered, so that the calls that follow can teach the selector. [`golden`] is how well it
//! answers questions whose tools are known.

mod background;
mod golden;
mod index;
mod language_model;
mod learning;
mod metrics;
mod models;
mod selections;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use mcphub_hub_catalog::catalog::Tool;
use mcphub_hub_catalog::visibility::VisibleTools;
use mcphub_hub_select::embedded::{Memory, Models, Query, ToolRanking};
use mcphub_hub_wire::config::{Filtering, PromptBased};
use prometheus::Registry;
use tokio::sync::{Mutex, Notify, OwnedSemaphorePermit, Semaphore, watch};

use self::golden::LastGoldenResult;
use self::index::{Indexes, ToolIndex, Vectors};
use self::language_model::LanguageModel;
use self::learning::Learning;
use self::metrics::{Metrics, SelectionOutcome};
use self::models::Loader;
use self::selections::Selections;
use crate::llm::Llm;

pub(crate) use self::golden::GoldenResult;
pub(crate) use self::metrics::RankedBy;

/// How many rankings run at a time. Each keeps a core busy.
const MAX_RUNNING: usize = 2;
/// How many rankings wait. More are refused (`mcp_hub_selection_total{outcome="failed"}`).
const MAX_WAITING: usize = 64;
/// The rest of a longer prompt does not change its ranking.
const PROMPT_BYTES: usize = 32 << 10;

/// Ranks tools for prompts.
pub struct Selector {
    models: Loader,
    language_model: LanguageModel,
    indexes: Indexes,
    vectors: Arc<Vectors>,
    learning: Learning,
    selections: Selections,
    metrics: Metrics,
    running: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// Held while an index is built. Callers that want the same index wait for it.
    building: Mutex<()>,
    /// Notified when there may be tools without a vector.
    wake: Notify,
    /// Notified when the same prompt may be ranked differently.
    rankings_changed: Notify,
    golden: LastGoldenResult,
    /// How often the state that all pods have learned was read.
    reads: watch::Sender<u64>,
}

/// A prompt to rank tools for.
pub struct Ask<'a> {
    pub prompt: &'a str,
    pub visible: &'a Arc<VisibleTools>,
    /// Rank only the tools of this server.
    pub server: Option<&'a str>,
    /// The maximum number of hits.
    pub limit: usize,
    /// Whether remembered prompts count.
    pub memory: bool,
    /// Hash of the principal that asks.
    pub principal: [u8; 32],
    /// False for prompts of the hub itself. No metric counts them, and they teach nothing.
    pub counted: bool,
}

/// A tool that fits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// The position of the tool among the visible tools.
    pub position: usize,
    /// From 0 to 1.
    pub score: f32,
}

/// The tools that fit a prompt.
#[derive(Debug, Clone)]
pub struct Ranking {
    /// The best first.
    pub hits: Vec<Hit>,
    /// Whether any hit is above the calibrated floor.
    pub fits: bool,
    pub by: RankedBy,
    /// The selection id: calls that follow from this ranking name it.
    pub id: String,
}

/// Why there is no ranking. Display continues a sentence that starts with "The search".
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    #[error("is busy; try again in a moment")]
    Busy,
    #[error("is still starting; try again in a moment")]
    Loading,
    /// The models cannot be loaded.
    #[error("cannot start: {0}")]
    Models(String),
    #[error("failed because of a bug in the hub")]
    Bug,
}

impl Selector {
    /// A selector without models and indexes.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            models: Loader::new(),
            language_model: LanguageModel::new(registry),
            indexes: Indexes::default(),
            vectors: Arc::default(),
            learning: Learning::default(),
            selections: Selections::default(),
            metrics: Metrics::new(registry)?,
            running: Arc::new(Semaphore::new(MAX_RUNNING)),
            waiting: AtomicUsize::new(0),
            building: Mutex::default(),
            wake: Notify::new(),
            rankings_changed: Notify::new(),
            golden: LastGoldenResult::default(),
            reads: watch::Sender::new(0),
        })
    }

    /// Starts or stops the language model as this config says.
    pub fn configure(&self, filtering: &Filtering) {
        self.language_model.configure(filtering);
    }

    /// Ranks the tools that fit a prompt.
    pub async fn rank(&self, ask: Ask<'_>) -> Result<Ranking, Error> {
        let start = Instant::now();
        let ranking = self.rank_uncounted(&ask).await;
        if ask.counted {
            let outcome = match &ranking {
                Ok(ranking) if ranking.fits => SelectionOutcome::Found,
                Ok(_) => SelectionOutcome::NothingFits,
                Err(_) => SelectionOutcome::Failed,
            };
            self.metrics
                .count(ranking.as_ref().map_or(RankedBy::Embedded, |ranking| ranking.by), outcome);
            self.metrics.duration.observe(start.elapsed().as_secs_f64());
        }
        let ranking = ranking?;
        if ask.counted && ask.memory && ranking.fits {
            self.selections.add(&ranking.id, ask.prompt, ask.principal);
        }
        Ok(ranking)
    }

    async fn rank_uncounted(&self, ask: &Ask<'_>) -> Result<Ranking, Error> {
        let llm = self.language_model.ranking();
        let permit = self.permit().await?;
        let models = self.models.get().await?;
        let index = self.index(ask.visible, &models).await?;
        let limit = if llm.is_some() { language_model::candidates(ask.limit) } else { ask.limit };
        let embedded = self.rank_embedded(ask, limit, permit, models, &index).await?;
        let mut hits: Vec<Hit> = embedded
            .hits
            .into_iter()
            .map(|hit| Hit { position: hit.doc, score: hit.score })
            .collect();
        let id = format!("{:016x}", rand::random::<u64>());
        if let Some(llm) = llm.filter(|_| !hits.is_empty()) {
            let prompt = truncate(ask.prompt, PROMPT_BYTES);
            match language_model::choose(&llm, prompt, ask.visible, &hits, ask.limit).await {
                Ok(hits) => {
                    return Ok(Ranking { fits: !hits.is_empty(), hits, by: RankedBy::Llm, id });
                }
                Err(error) => {
                    tracing::debug!(%error, "language model failed, using the embedded ranking");
                    if ask.counted {
                        self.metrics.count(RankedBy::Llm, SelectionOutcome::Failed);
                    }
                }
            }
        }
        hits.truncate(ask.limit);
        Ok(Ranking { hits, fits: embedded.fits, by: RankedBy::Embedded, id })
    }

    async fn rank_embedded(
        &self,
        ask: &Ask<'_>,
        limit: usize,
        permit: OwnedSemaphorePermit,
        models: Arc<Models>,
        index: &Arc<ToolIndex>,
    ) -> Result<ToolRanking, Error> {
        let prompt = truncate(ask.prompt, PROMPT_BYTES).to_owned();
        let (visible, index) = (Arc::clone(ask.visible), index.current());
        let server = ask.server.map(str::to_owned);
        let memory = ask.memory.then(|| self.learning.all());
        let ranking = tokio::task::spawn_blocking(move || {
            let _held = permit; // a client that goes away does not free the core
            let of_server = |server: &str, position: usize| {
                visible.tools.get(position).is_some_and(|tool| *tool.server_name == *server)
            };
            let visible = |position: usize| {
                server.as_deref().is_none_or(|server| of_server(server, position))
            };
            let query =
                Query { prompt: &prompt, visible: &visible, limit, memory: memory.as_deref() };
            index.rank(&models, &query)
        });
        ranking.await.map_err(|error| {
            tracing::error!(%error, "bug: selection failed");
            Error::Bug
        })
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, Error> {
        if let Ok(permit) = Arc::clone(&self.running).try_acquire_owned() {
            return Ok(permit);
        }
        let waiting = Waiting::start(self).ok_or(Error::Busy)?;
        let permit = Arc::clone(&self.running).acquire_owned().await.map_err(|_| Error::Bug)?;
        drop(waiting);
        Ok(permit)
    }

    /// The index of these tools. It is built if there is none.
    async fn index(
        &self,
        visible: &Arc<VisibleTools>,
        models: &Arc<Models>,
    ) -> Result<Arc<ToolIndex>, Error> {
        let key = index::key(visible);
        if let Some(index) = self.indexes.get(key) {
            return Ok(index);
        }
        let _alone = self.building.lock().await;
        if let Some(index) = self.indexes.get(key) {
            return Ok(index);
        }
        let (visible, models, vectors) =
            (Arc::clone(visible), Arc::clone(models), Arc::clone(&self.vectors));
        let built =
            tokio::task::spawn_blocking(move || ToolIndex::build(key, &visible, &models, &vectors))
                .await;
        let built = Arc::new(built.map_err(|error| {
            tracing::error!(%error, "bug: failed to index tools");
            Error::Bug
        })?);
        self.indexes.insert(Arc::clone(&built));
        self.wake.notify_one();
        Ok(built)
    }

    /// Whether the models are in memory or being loaded.
    pub fn is_loaded(&self) -> bool {
        self.models.is_wanted()
    }

    /// The language model; `None` if none is configured, or if it could not start.
    pub fn llm(&self) -> Option<Arc<Llm>> {
        self.language_model.llm()
    }

    /// Checks that the selector works, for the self-check. Errors are what somebody has to fix:
    /// models that cannot be loaded, or a language model that is not set up.
    pub async fn verify(&self) -> Result<(), String> {
        if self.models.is_wanted() {
            self.models.get().await.map_err(|error| format!("the selector {error}"))?;
        }
        if let Some(problem) = self.language_model.problem() {
            return Err(format!("filtering.llm: {problem}"));
        }
        match self.language_model.llm() {
            Some(llm) => match llm.verify().await {
                Err(error) if error.is_setup() => Err(format!("filtering.llm: {error}")),
                _ => Ok(()), // if the provider is down, the embedded selector answers
            },
            None => Ok(()),
        }
    }

    /// Completes when the same prompt may be ranked differently than before.
    pub async fn rankings_changed(&self) {
        self.rankings_changed.notified().await;
    }

    /// The last result of the golden questions; `None` without any, or before they were asked.
    pub fn golden_result(&self) -> Option<GoldenResult> {
        self.golden.get()
    }

    /// Stores and exports a result of the golden questions. Returns whether it changed.
    pub fn set_golden_result(&self, result: Option<GoldenResult>) -> bool {
        self.metrics.set_recall(result.as_ref().map(|result| result.recall));
        self.golden.set(result)
    }

    /// Learns that the prompt of this selection led to this tool, whose call succeeded.
    pub fn learn(self: &Arc<Self>, id: &str, principal: [u8; 32], tool: Arc<Tool>) {
        let (Some(selection), Some(models)) =
            (self.selections.take(id, principal), self.models.ready())
        else {
            return;
        };
        let selector = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let Some(vector) = models.prompt_vector(&selection.prompt) else { return };
            selector.learning.remember(index::digest(&tool), &vector);
            selector.metrics.learned.inc();
        });
    }
}

/// What the pods of a hub learn together; see [`crate::learned_state`].
impl Selector {
    /// Replaces what all pods know. What only this pod knows stays.
    pub fn set_shared_memory(&self, shared: Memory) {
        self.learning.set_shared(shared);
    }

    /// Takes over answers of language models that all pods know.
    pub async fn import_answers(&self, answers: &[u8]) {
        if let Some(llm) = self.llm() {
            llm.import(answers).await;
        }
        self.reads.send_modify(|times| *times += 1);
    }

    /// Notes that the shared state was read, also if there is none.
    pub fn shared_state_read(&self) {
        self.reads.send_modify(|times| *times += 1);
    }

    /// How often the shared state was read. Before the first time, another pod may know an answer
    /// already.
    pub fn reads(&self) -> watch::Receiver<u64> {
        self.reads.subscribe()
    }

    /// Whether this pod knows something that others do not.
    pub fn has_news(&self) -> bool {
        self.learning.has_news()
    }

    /// Takes what only this pod knows, to share it.
    pub fn take_news(&self) -> Memory {
        self.learning.take_news()
    }

    /// Puts back news that could not be shared.
    pub fn restore_news(&self, news: &Memory) {
        self.learning.restore_news(news);
    }
}

/// The hits that a prompt adds to a list.
pub(crate) fn hits_to_add<'a>(
    ranking: &'a Ranking,
    rules: &PromptBased,
) -> impl Iterator<Item = &'a Hit> {
    #[allow(clippy::cast_possible_truncation)] // 0 to 1
    let least = rules
        .min_score
        .map_or(if ranking.fits { 0.0 } else { f32::INFINITY }, |least| least as f32);
    ranking.hits.iter().filter(move |hit| hit.score >= least).take(rules.max_tools as usize)
}

/// A ranking that waits for a permit.
struct Waiting<'a>(&'a Selector);

impl<'a> Waiting<'a> {
    /// `None` if too many wait already.
    fn start(selector: &'a Selector) -> Option<Self> {
        let more = |waiting: usize| (waiting < MAX_WAITING).then_some(waiting + 1);
        selector.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        selector.metrics.queue.inc();
        Some(Self(selector))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.queue.dec();
    }
}

/// At most this many bytes of the text, cut between characters.
fn truncate(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
