//! Asks the language model for the categories of tools, if one is configured and a filter depends
//! on categories.
//!
//! Until the model has answered, and while it does not, words decide. A question has the tools of
//! one server: what a server writes into its descriptions may change the categories of its own
//! tools, but not those of others.

use std::sync::Arc;
use std::time::Duration;

use mcphub_hub_catalog::catalog::Tool;
use mcphub_hub_catalog::category::LlmCategories;
use mcphub_hub_wire::config::Filtering;
use tokio::time::Instant;

use crate::llm::{Candidate, CategoryChoice, Error, Llm};
use crate::serve::state::hub::Hub;
use crate::serve::state::llm_categories::CategoryQuestion;
use crate::serve::state::snapshot::HubSnapshot;

/// How long to wait for the answers that other pods know, before asking the same.
const SHARED_STATE_WAIT: Duration = Duration::from_secs(5);
/// When a hub starts, servers list one after the other.
const SETTLE: Duration = Duration::from_millis(200);
/// Lists change no more often than this while answers come in, because clients read them again each
/// time.
const COALESCE: Duration = Duration::from_secs(2);
/// The longest pause after a failed question. The first pause is that of the circuit breaker.
const MAX_PAUSE: Duration = Duration::from_mins(10);

/// Asks about every new snapshot.
pub(super) async fn run(hub: Arc<Hub>) {
    let (mut snapshots, mut reads) = (hub.subscribe(), hub.selector.reads());
    tokio::time::timeout(SHARED_STATE_WAIT, reads.wait_for(|reads| *reads > 0)).await.ok();
    let mut pause = Pause::none();
    let mut question = None;
    loop {
        tokio::time::sleep(SETTLE).await;
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        reads.mark_unchanged();
        let filtering = &snapshot.config.filtering;
        let before = std::mem::replace(&mut question, CategoryQuestion::from_config(filtering));
        if before != question {
            pause = Pause::none();
        }
        if let (Some(question), Some(llm)) = (&question, hub.selector.llm()) {
            let wanted = llm.prewarms() || hub.llm_categories.is_wanted();
            let may_ask = wanted && pause.remaining().is_none();
            let round = Round { hub: &hub, snapshot: &snapshot, llm: &llm, question };
            round.run(may_ask, &mut pause).await;
        }
        let pause_over = async {
            match pause.remaining() {
                Some(remaining) => tokio::time::sleep(remaining).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = snapshots.changed() => if changed.is_err() { return },
            _ = reads.changed() => {}
            () = hub.llm_categories.first_want() => {}
            () = pause_over => {}
        }
    }
}

/// When to ask again after a failure.
struct Pause {
    until: Instant,
    next: Option<Duration>,
}

impl Pause {
    fn none() -> Self {
        Self { until: Instant::now(), next: None }
    }

    /// Starts a pause. The first is as long as that of the circuit breaker, and each is twice as
    /// long as the one before.
    fn start(&mut self, filtering: &Filtering) {
        let first = filtering.llm.as_ref().map_or(0, |llm| llm.circuit_breaker.reset_timeout_ms);
        let length = self.next.unwrap_or(Duration::from_millis(first.max(1))).min(MAX_PAUSE);
        self.until = Instant::now() + length;
        self.next = Some(length * 2);
    }

    fn remaining(&self) -> Option<Duration> {
        let remaining = self.until.saturating_duration_since(Instant::now());
        Some(remaining).filter(|remaining| !remaining.is_zero())
    }
}

/// One round over all tools of a snapshot.
struct Round<'r> {
    hub: &'r Hub,
    snapshot: &'r Arc<HubSnapshot>,
    llm: &'r Llm,
    question: &'r CategoryQuestion,
}

impl Round<'_> {
    async fn run(&self, may_ask: bool, pause: &mut Pause) {
        let filtering = &self.snapshot.config.filtering;
        let known = self.hub.llm_categories.get(filtering);
        match self.find_categories(may_ask).await {
            Ok(()) if may_ask => *pause = Pause::none(),
            Ok(()) => {}
            Err(error) => {
                if *self.hub.llm_categories.get(filtering) != *known {
                    *pause = Pause::none(); // it answered some questions, so it is not down
                }
                pause.start(filtering);
                tracing::warn!(
                    %error,
                    "language model failed, words decide the categories of some tools"
                );
            }
        }
    }

    /// Puts cached answers in force and then, if it may ask, the answers of the model.
    async fn find_categories(&self, may_ask: bool) -> Result<(), Error> {
        let mut categories =
            LlmCategories::clone(&self.hub.llm_categories.get(&self.snapshot.config.filtering));
        categories.retain(&self.snapshot.visibility.catalog);
        for tools in by_server(&self.missing(&categories)) {
            let (cached, _) = self.ask(tools, false).await;
            self.insert(&mut categories, tools, &cached);
        }
        self.publish(&categories);
        if may_ask { self.ask_all(&mut categories).await } else { Ok(()) }
    }

    async fn ask_all(&self, categories: &mut LlmCategories) -> Result<(), Error> {
        let mut result = Ok(());
        let mut published = Instant::now();
        for tools in by_server(&self.missing(categories)) {
            if !Arc::ptr_eq(&self.hub.snapshot().config, &self.snapshot.config) {
                return Ok(()); // another config is in force, and has a round of its own
            }
            let (answers, asked) = self.ask(tools, true).await;
            self.insert(categories, tools, &answers);
            if published.elapsed() >= COALESCE {
                self.publish(categories);
                published = Instant::now();
            }
            match asked {
                Ok(()) => {}
                // The answer about this server was invalid. Those about other servers may be valid.
                Err(error @ Error::Answer(_)) => result = Err(error),
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        self.publish(categories);
        result
    }

    /// The tools without an answer. Those of one server are in a row.
    fn missing(&self, categories: &LlmCategories) -> Vec<&Arc<Tool>> {
        let tools = self.snapshot.visibility.tools_for_llm();
        tools.filter(|tool| !categories.contains(tool)).collect()
    }

    /// The answers about the tools of one server: cached ones, and those of the model if it may be
    /// asked.
    async fn ask(
        &self,
        tools: &[&Arc<Tool>],
        may_ask: bool,
    ) -> (Vec<Option<CategoryChoice>>, Result<(), Error>) {
        let categories: Vec<&str> = self.question.categories.iter().map(String::as_str).collect();
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
        if may_ask {
            self.llm.categorize(&candidates, &categories).await
        } else {
            (self.llm.known(&candidates, &categories).await, Ok(()))
        }
    }

    fn insert(
        &self,
        categories: &mut LlmCategories,
        tools: &[&Arc<Tool>],
        answers: &[Option<CategoryChoice>],
    ) {
        for (tool, answer) in tools.iter().zip(answers) {
            match answer {
                None => {}
                Some(CategoryChoice::NoneFits) => categories.insert(tool, None),
                Some(CategoryChoice::Category(index)) => {
                    let category = self.question.categories.get(*index).map(String::as_str);
                    categories.insert(tool, category);
                }
            }
        }
    }

    /// Puts the answers in force, if they have changed.
    fn publish(&self, categories: &LlmCategories) {
        let store = &self.hub.llm_categories;
        if *store.get(&self.snapshot.config.filtering) != *categories {
            store.set(self.question.clone(), categories.clone());
            self.hub.request_refresh();
        }
    }
}

fn by_server<'t, 'a>(tools: &'t [&'a Arc<Tool>]) -> impl Iterator<Item = &'t [&'a Arc<Tool>]> {
    tools.chunk_by(|one, other| one.server == other.server)
}
