//! Categories by the language model, where one is configured and categories decide what somebody sees.
//!
//! Asked in the background; until it has answered, and for as long as it does not, words decide. A question holds the
//! tools of one server: what a server writes into a description may move its own tools, and must not move another's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use mcphub_hub_catalog::catalog::Tool;
use mcphub_hub_catalog::category::{LlmCategories, llm_choices};
use mcphub_hub_wire::config::Filtering;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::llm::{Candidate, CategoryChoice, Error, Llm};
use crate::serve::state::hub::Hub;
use crate::serve::state::snapshot::Live;

/// What other pods were told is waited for so long, before the same is asked again.
const SHARED: Duration = Duration::from_secs(5);
/// Servers list one after the other when a hub starts.
const SETTLE: Duration = Duration::from_millis(200);
/// Lists change no more often than this while answers come in: clients read them again every time.
const COALESCE: Duration = Duration::from_secs(2);
/// Longest pause after a question that failed; the first is the breaker's.
const LONGEST_PAUSE: Duration = Duration::from_mins(10);

/// What the language model said.
#[derive(Default)]
pub struct Categories {
    said: ArcSwap<(Option<Source>, Arc<LlmCategories>)>,
    /// A caller came: without prewarming that is when the model is asked.
    wanted: AtomicBool,
    wake: Notify,
}

/// Whose answers hold: of this model, to the choice between these categories.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    model: String,
    categories: Vec<String>,
}

impl Source {
    /// `None`: no language model is asked about categories.
    fn of(filtering: &Filtering) -> Option<Self> {
        let categories: Vec<String> =
            llm_choices(filtering).into_iter().map(str::to_owned).collect();
        let llm = filtering.llm.as_ref().filter(|_| !categories.is_empty())?;
        Some(Self { model: Llm::identity(llm), categories })
    }
}

impl Categories {
    /// What holds for this config.
    pub fn given(&self, filtering: &Filtering) -> Arc<LlmCategories> {
        let said = self.said.load();
        let holds = said.0.is_some() && said.0 == Source::of(filtering);
        if holds { Arc::clone(&said.1) } else { Arc::default() }
    }

    /// A caller is there.
    pub fn want(&self) {
        if !self.wanted.swap(true, Ordering::Relaxed) {
            self.wake.notify_one();
        }
    }
}

/// When what failed may be asked again.
struct Pause {
    until: Instant,
    next: Option<Duration>,
}

impl Pause {
    fn none() -> Self {
        Self { until: Instant::now(), next: None }
    }

    /// Longer every time, from what the breaker waits.
    fn after(&mut self, filtering: &Filtering) {
        let first = filtering.llm.as_ref().map_or(0, |llm| llm.circuit_breaker.reset_timeout_ms);
        let now = self.next.unwrap_or(Duration::from_millis(first.max(1))).min(LONGEST_PAUSE);
        self.until = Instant::now() + now;
        self.next = Some(now * 2);
    }

    fn left(&self) -> Option<Duration> {
        Some(self.until.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
    }
}

/// Asks about what is in force, and about every later state.
pub async fn keep(hub: Arc<Hub>) {
    let (mut live, mut reads) = (hub.subscribe(), hub.selector.reads());
    tokio::time::timeout(SHARED, reads.wait_for(|reads| *reads > 0)).await.ok();
    let mut pause = Pause::none();
    let mut source = None;
    loop {
        tokio::time::sleep(SETTLE).await;
        let now = Arc::clone(&live.borrow_and_update());
        reads.mark_unchanged();
        let filtering = &now.config.filtering;
        let (before, llm) =
            (std::mem::replace(&mut source, Source::of(filtering)), hub.selector.llm());
        if before != source {
            pause = Pause::none();
        }
        if let (Some(source), Some(llm)) = (&source, llm) {
            let wanted = llm.prewarms() || hub.categories.wanted.load(Ordering::Relaxed);
            let asks = wanted && pause.left().is_none();
            let known = hub.categories.given(filtering);
            match (Run { hub: &hub, live: &now, llm: &llm, source }).go(asks).await {
                Ok(()) if asks => pause = Pause::none(),
                Ok(()) => {}
                Err(error) => {
                    if *hub.categories.given(filtering) != *known {
                        pause = Pause::none(); // some were answered: it is not down
                    }
                    pause.after(filtering);
                    tracing::warn!(%error, "words decide the categories of some tools until the language model answers");
                }
            }
        }
        let again = async {
            match pause.left() {
                Some(left) => tokio::time::sleep(left).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = live.changed() => if changed.is_err() { return },
            _ = reads.changed() => {}
            () = hub.categories.wake.notified() => {}
            () = again => {}
        }
    }
}

/// One look at all tools.
struct Run<'r> {
    hub: &'r Hub,
    live: &'r Arc<Live>,
    llm: &'r Llm,
    source: &'r Source,
}

impl Run<'_> {
    /// Puts in force what is kept of earlier answers, and then, where it may ask, what the model answers.
    async fn go(&self, asks: bool) -> Result<(), Error> {
        let mut given =
            LlmCategories::clone(&self.hub.categories.given(&self.live.config.filtering));
        given.retain(&self.live.visibility.catalog);
        for tools in by_server(&self.missing(&given)) {
            let (kept, _) = self.ask(tools, false).await;
            self.note(&mut given, tools, &kept);
        }
        self.publish(&given);
        if asks { self.ask_all(&mut given).await } else { Ok(()) }
    }

    async fn ask_all(&self, given: &mut LlmCategories) -> Result<(), Error> {
        let mut failed = Ok(());
        let mut published = Instant::now();
        for tools in by_server(&self.missing(given)) {
            if !Arc::ptr_eq(&self.hub.live().config, &self.live.config) {
                return Ok(()); // another config is in force, and asks for itself
            }
            let (said, asked) = self.ask(tools, true).await;
            self.note(given, tools, &said);
            if published.elapsed() >= COALESCE {
                self.publish(given);
                published = Instant::now();
            }
            match asked {
                Ok(()) => {}
                // Of this server only: the others' tools may be answered.
                Err(error @ Error::Answer(_)) => failed = Err(error),
                Err(error) => {
                    failed = Err(error);
                    break;
                }
            }
        }
        self.publish(given);
        failed
    }

    /// Tools of which nothing is known, those of one server in a row.
    fn missing(&self, given: &LlmCategories) -> Vec<&Arc<Tool>> {
        self.live.visibility.tools_for_llm().filter(|tool| !given.contains(tool)).collect()
    }

    /// Of the tools of one server: what is kept, or what the model says.
    async fn ask(
        &self,
        tools: &[&Arc<Tool>],
        asks: bool,
    ) -> (Vec<Option<CategoryChoice>>, Result<(), Error>) {
        let categories: Vec<&str> = self.source.categories.iter().map(String::as_str).collect();
        let digest =
            |tool: &&Arc<Tool>| [&tool.digest.to_be_bytes(), tool.server_name.as_bytes()].concat();
        let digests: Vec<Vec<u8>> = tools.iter().map(digest).collect();
        let candidates: Vec<Candidate<'_>> = tools
            .iter()
            .zip(&digests)
            .map(|(tool, digest)| Candidate {
                id: &tool.exposed,
                description: &tool.description,
                digest,
            })
            .collect();
        if asks {
            self.llm.categorize(&candidates, &categories).await
        } else {
            (self.llm.known(&candidates, &categories).await, Ok(()))
        }
    }

    fn note(
        &self,
        given: &mut LlmCategories,
        tools: &[&Arc<Tool>],
        said: &[Option<CategoryChoice>],
    ) {
        for (tool, verdict) in tools.iter().zip(said) {
            match verdict {
                None => {}
                Some(CategoryChoice::NoneFits) => given.insert(tool, None),
                Some(CategoryChoice::Category(place)) => {
                    given.insert(tool, self.source.categories.get(*place).map(String::as_str));
                }
            }
        }
    }

    /// Puts it in force, if it is anything else than what is.
    fn publish(&self, given: &LlmCategories) {
        let categories = &self.hub.categories;
        if *categories.given(&self.live.config.filtering) != *given {
            categories.said.store(Arc::new((Some(self.source.clone()), Arc::new(given.clone()))));
            self.hub.renew();
        }
    }
}

fn by_server<'t, 'a>(tools: &'t [&'a Arc<Tool>]) -> impl Iterator<Item = &'t [&'a Arc<Tool>]> {
    tools.chunk_by(|one, other| one.server == other.server)
}
