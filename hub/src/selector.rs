//! The selector in a running hub: which tools of a visible fit a prompt.
//!
//! [`models`] are in memory only while search is reachable. [`index`] holds an index for each visible that is asked in:
//! by words at once, by meaning as [`keep`] makes the vectors in the background. The language model, where one is
//! configured, reorders what the embedded ranking found, and that one answers when it does not. [`selections`] are
//! remembered, so that the calls that follow teach. [`golden`] measures how good all this is for questions whose tools
//! are known.

mod backend;
mod golden;
mod index;
mod keep;
mod learning;
mod metrics;
mod models;
mod selections;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use mcphub_hub_catalog::catalog::Tool;
use mcphub_hub_catalog::visibility::VisibleTools;
use mcphub_hub_select::embedded::{Memory, Models, ToolRanking};
use mcphub_hub_wire::config::{Filtering, PromptBased};
use prometheus::Registry;
use tokio::sync::{Mutex, Notify, OwnedSemaphorePermit, Semaphore, watch};

pub use self::golden::Golden;
pub use self::keep::keep;
pub use self::metrics::RankedBy;

use self::backend::Backend;
use self::index::{Indexed, Indexes, Vectors};
use self::learning::Learning;
use self::metrics::{Metrics, Outcome};
use self::models::Loader;
use self::selections::Selections;
use crate::llm::Llm;

/// Rankings at a time: each keeps a core busy.
const AT_A_TIME: usize = 2;
/// Rankings that wait; more are told to come again (`mcp_hub_selection_total{outcome="failed"}`).
const WAITING: usize = 64;
/// The rest of a longer prompt adds nothing to its ranking.
const PROMPT_BYTES: usize = 32 << 10;

/// Ranks tools for prompts.
pub struct Selector {
    models: Loader,
    backend: Backend,
    indexes: Indexes,
    vectors: Arc<Vectors>,
    learning: Learning,
    selections: Selections,
    metrics: Metrics,
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// Held while an index is made: callers that want the same wait for it.
    building: Mutex<()>,
    /// There may be tools without vector.
    wake: Notify,
    golden: golden::State,
    /// How often what all pods have learned was read.
    read: watch::Sender<u64>,
}

/// A question.
pub struct Ask<'a> {
    /// What is wanted.
    pub prompt: &'a str,
    /// Where it is looked for.
    pub visible: &'a Arc<VisibleTools>,
    /// Of this server only.
    pub server: Option<&'a str>,
    /// Most hits.
    pub limit: usize,
    /// Remembered prompts count.
    pub memory: bool,
    /// Hash of who asks.
    pub principal: [u8; 32],
    /// False for what the hub asks itself, which is counted nowhere and teaches nothing.
    pub counted: bool,
}

/// A tool that was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// Position in the visible.
    pub position: usize,
    /// 0 to 1.
    pub score: f32,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Ranking {
    /// The best first.
    pub hits: Vec<Hit>,
    /// Whether any of them is above the calibrated floor.
    pub fits: bool,
    /// Who ranked.
    pub by: RankedBy,
    /// Names this answer in the calls that follow from it.
    pub id: String,
}

/// Why there is no answer. Display goes on from "The search …".
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Too many at a time.
    #[error("is busy; ask again in a moment")]
    Busy,
    /// Not loaded yet.
    #[error("is still starting; ask again in a moment")]
    Loading,
    /// They cannot be loaded.
    #[error("cannot start: {0}")]
    Models(String),
    /// A bug of ours.
    #[error("failed inside the hub")]
    Bug,
}

impl Selector {
    /// One without models and index; [`keep`] sees to both.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            models: Loader::new(),
            backend: Backend::new(registry),
            indexes: Indexes::default(),
            vectors: Arc::default(),
            learning: Learning::default(),
            selections: Selections::default(),
            metrics: Metrics::new(registry)?,
            places: Arc::new(Semaphore::new(AT_A_TIME)),
            waiting: AtomicUsize::new(0),
            building: Mutex::default(),
            wake: Notify::new(),
            golden: golden::State::default(),
            read: watch::Sender::new(0),
        })
    }

    /// Starts or ends the language model as this config wants it. What else follows the config comes by [`keep`].
    pub fn obey(&self, filtering: &Filtering) {
        self.backend.obey(filtering);
    }

    /// The tools that fit.
    pub async fn rank(&self, ask: Ask<'_>) -> Result<Ranking, Error> {
        let began = Instant::now();
        let ranked = self.ranked(&ask).await;
        if ask.counted {
            let outcome = match &ranked {
                Ok(ranking) if ranking.fits => Outcome::Found,
                Ok(_) => Outcome::NothingFits,
                Err(_) => Outcome::Failed,
            };
            self.metrics
                .count(ranked.as_ref().map_or(RankedBy::Embedded, |ranking| ranking.by), outcome);
            self.metrics.duration.observe(began.elapsed().as_secs_f64());
        }
        let ranking = ranked?;
        if ask.counted && ask.memory && ranking.fits {
            self.selections.add(&ranking.id, ask.prompt, ask.principal);
        }
        Ok(ranking)
    }

    async fn ranked(&self, ask: &Ask<'_>) -> Result<Ranking, Error> {
        let llm = self.backend.ranking();
        let place = self.place().await?;
        let models = self.models.get().await?;
        let indexed = self.indexed(ask.visible, &models).await?;
        let limit = if llm.is_some() { backend::candidates(ask.limit) } else { ask.limit };
        let ranked = self.embedded(ask, limit, place, models, &indexed).await?;
        let mut hits: Vec<Hit> = ranked
            .hits
            .into_iter()
            .map(|hit| Hit { position: hit.doc, score: hit.score })
            .collect();
        let id = format!("{:016x}", rand::random::<u64>());
        if let Some(llm) = llm.filter(|_| !hits.is_empty()) {
            let prompt = beginning(ask.prompt, PROMPT_BYTES);
            match backend::choose(&llm, prompt, ask.visible, &hits, ask.limit).await {
                Ok(hits) => {
                    return Ok(Ranking { fits: !hits.is_empty(), hits, by: RankedBy::Llm, id });
                }
                Err(error) => {
                    tracing::debug!(%error, "the language model did not answer; the embedded ranking does");
                    if ask.counted {
                        self.metrics.count(RankedBy::Llm, Outcome::Failed);
                    }
                }
            }
        }
        hits.truncate(ask.limit);
        Ok(Ranking { hits, fits: ranked.fits, by: RankedBy::Embedded, id })
    }

    /// The ranking of the models in the hub.
    async fn embedded(
        &self,
        ask: &Ask<'_>,
        limit: usize,
        place: OwnedSemaphorePermit,
        models: Arc<Models>,
        indexed: &Arc<Indexed>,
    ) -> Result<ToolRanking, Error> {
        let prompt = beginning(ask.prompt, PROMPT_BYTES).to_owned();
        let (visible, index) = (Arc::clone(ask.visible), indexed.index());
        let server = ask.server.map(str::to_owned);
        let memory = ask.memory.then(|| self.learning.all());
        let ranking = tokio::task::spawn_blocking(move || {
            let _held = place; // whoever goes away does not free the core
            let of_server = |server: &str, position: usize| {
                visible.tools.get(position).is_some_and(|tool| *tool.server_name == *server)
            };
            let visible = |position: usize| {
                server.as_deref().is_none_or(|server| of_server(server, position))
            };
            let ask = mcphub_hub_select::embedded::Query {
                prompt: &prompt,
                visible: &visible,
                limit,
                memory: memory.as_deref(),
            };
            index.rank(&models, &ask)
        });
        ranking.await.map_err(|error| {
            tracing::error!(%error, "a selection failed");
            Error::Bug
        })
    }

    /// A place to rank in.
    async fn place(&self) -> Result<OwnedSemaphorePermit, Error> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        let waiting = Waiting::begin(self).ok_or(Error::Busy)?;
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| Error::Bug)?;
        drop(waiting);
        Ok(place)
    }

    /// The index of a visible, built first where there is none.
    async fn indexed(
        &self,
        visible: &Arc<VisibleTools>,
        models: &Arc<Models>,
    ) -> Result<Arc<Indexed>, Error> {
        let key = index::key_of(visible);
        if let Some(indexed) = self.indexes.get(key) {
            return Ok(indexed);
        }
        let _alone = self.building.lock().await;
        if let Some(indexed) = self.indexes.get(key) {
            return Ok(indexed);
        }
        let (visible, models, vectors) =
            (Arc::clone(visible), Arc::clone(models), Arc::clone(&self.vectors));
        let built =
            tokio::task::spawn_blocking(move || Indexed::build(key, &visible, &models, &vectors))
                .await;
        let built = Arc::new(built.map_err(|error| {
            tracing::error!(%error, "the tools could not be indexed");
            Error::Bug
        })?);
        self.indexes.put(Arc::clone(&built));
        self.wake.notify_one();
        Ok(built)
    }

    /// Whether the models are in memory, or about to be.
    pub fn is_loaded(&self) -> bool {
        self.models.wanted()
    }

    /// The language model, where one is in force.
    pub fn llm(&self) -> Option<Arc<Llm>> {
        self.backend.llm()
    }

    /// What keeps the selector from working, for the self-check: models that cannot be loaded, a language model that
    /// somebody must set up first.
    pub async fn verify(&self) -> Result<(), String> {
        if self.models.wanted() {
            self.models.get().await.map_err(|error| format!("the selector {error}"))?;
        }
        if let Some(problem) = self.backend.problem() {
            return Err(format!("filtering.llm: {problem}"));
        }
        match self.backend.llm() {
            Some(llm) => match llm.verify().await {
                Err(error) if error.is_setup() => Err(format!("filtering.llm: {error}")),
                _ => Ok(()), // a provider's bad moment: the embedded selector answers
            },
            None => Ok(()),
        }
    }

    /// How the golden questions went last; `None` without any, or before they were asked.
    pub fn golden(&self) -> Option<Golden> {
        self.golden.last()
    }

    /// Learns that the prompt of this selection led to this tool, which answered.
    pub fn learn(self: &Arc<Self>, id: &str, principal: [u8; 32], tool: Arc<Tool>) {
        let (Some(selection), Some(models)) =
            (self.selections.take(id, principal), self.models.ready())
        else {
            return;
        };
        let selector = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let Some(vector) = models.prompt_vector(&selection.prompt) else { return };
            selector.learning.remember(index::digest_of(&tool), &vector);
            selector.metrics.learned.inc();
        });
    }
}

/// What pods learn together; see [`crate::learned_state`].
impl Selector {
    /// Takes what all pods have shared; what only this one knows stays.
    pub fn share(&self, shared: Memory) {
        self.learning.share(shared);
    }

    /// Takes answers of language models that all pods have.
    pub async fn share_answers(&self, answers: &[u8]) {
        if let Some(llm) = self.llm() {
            llm.import(answers).await;
        }
        self.read.send_modify(|times| *times += 1);
    }

    /// All that pods share was read: nothing, where there is nothing or nobody.
    pub fn shared_is_read(&self) {
        self.read.send_modify(|times| *times += 1);
    }

    /// How often what all pods have learned was read: what is asked for before may be known to another.
    pub fn reads(&self) -> watch::Receiver<u64> {
        self.read.subscribe()
    }

    /// Whether this pod knows something that others do not.
    pub fn has_news(&self) -> bool {
        self.learning.has_news()
    }

    /// What only this pod knows, to be shared.
    pub fn take_news(&self) -> Memory {
        self.learning.take_news()
    }

    /// News that could not be shared.
    pub fn give_back(&self, news: &Memory) {
        self.learning.give_back(news);
    }
}

/// The hits that a prompt adds.
pub fn chosen<'a>(ranking: &'a Ranking, rules: &PromptBased) -> impl Iterator<Item = &'a Hit> {
    #[allow(clippy::cast_possible_truncation)] // 0 to 1
    let least = rules
        .min_score
        .map_or(if ranking.fits { 0.0 } else { f32::INFINITY }, |least| least as f32);
    ranking.hits.iter().filter(move |hit| hit.score >= least).take(rules.max_tools as usize)
}

/// A ranking that waits for a place.
struct Waiting<'a>(&'a Selector);

impl<'a> Waiting<'a> {
    /// `None`: too many wait already.
    fn begin(selector: &'a Selector) -> Option<Self> {
        let more = |waiting: usize| (waiting < WAITING).then_some(waiting + 1);
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

/// The beginning of a text, cut between characters.
fn beginning(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
