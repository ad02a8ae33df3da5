//! The language model, if one is configured. It chooses among what the embedded ranking found and
//! nothing else, so that text in a tool's description cannot make anything else appear. If it
//! fails, the embedded ranking is the result.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mcphub_hub_catalog::category::llm_choices;
use mcphub_hub_catalog::visibility::VisibleTools;
use mcphub_hub_select::llm::MAX_CANDIDATES;
use mcphub_hub_wire::config::{self, Filtering};
use prometheus::Registry;

use super::Hit;
use crate::llm::{Candidate, Error, Llm};

/// The language model of the current config.
pub(super) struct LanguageModel {
    registry: Registry,
    current: Mutex<Option<Running>>,
}

struct Running {
    config: config::Llm,
    /// Whether it chooses tools. Otherwise it only names their categories.
    ranks: bool,
    llm: Result<Arc<Llm>, String>,
}

impl LanguageModel {
    pub(super) fn new(registry: &Registry) -> Self {
        Self { registry: registry.clone(), current: Mutex::default() }
    }

    /// Applies a config. A model whose config has not changed keeps its cached answers.
    pub(super) fn configure(&self, filtering: &Filtering) {
        let ranks = filtering.selector == config::Backend::Llm;
        let wanted = filtering.llm.as_ref().filter(|_| ranks || !llm_choices(filtering).is_empty());
        let mut current = self.lock();
        if let (Some(running), Some(wanted)) = (current.as_mut(), wanted)
            && running.config == *wanted
        {
            running.ranks = ranks;
            return;
        }
        if let Some(Running { llm: Ok(llm), .. }) = current.take() {
            llm.end();
        }
        *current = wanted.map(|config| {
            let llm = Llm::start(config, &self.registry).map_err(|error| error.to_string());
            if let Err(error) = &llm {
                tracing::error!(
                    error,
                    "failed to start the language model, using the embedded models"
                );
            }
            Running { config: config.clone(), ranks, llm }
        });
    }

    /// The language model, if it chooses tools.
    pub(super) fn ranking(&self) -> Option<Arc<Llm>> {
        self.lock()
            .as_ref()
            .filter(|running| running.ranks)
            .and_then(|running| running.llm.as_ref().ok().cloned())
    }

    /// The language model; `None` if none is configured, or if it could not start.
    pub(super) fn llm(&self) -> Option<Arc<Llm>> {
        self.lock().as_ref().and_then(|running| running.llm.as_ref().ok().cloned())
    }

    /// Why the language model could not start.
    pub(super) fn problem(&self) -> Option<String> {
        self.lock().as_ref().and_then(|running| running.llm.as_ref().err().cloned())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many hits of the embedded ranking the language model chooses from.
pub(super) fn candidates(limit: usize) -> usize {
    MAX_CANDIDATES.max(limit)
}

/// Lets the language model choose among these hits. They keep their scores.
pub(super) async fn choose(
    llm: &Llm,
    prompt: &str,
    visible: &VisibleTools,
    hits: &[Hit],
    limit: usize,
) -> Result<Vec<Hit>, Error> {
    let tools: Vec<_> =
        hits.iter().filter_map(|hit| Some((*hit, visible.tools.get(hit.position)?))).collect();
    let digests: Vec<[u8; 8]> = tools.iter().map(|(_, tool)| tool.digest.to_be_bytes()).collect();
    let candidates: Vec<Candidate<'_>> = tools
        .iter()
        .zip(&digests)
        .map(|((_, tool), digest)| Candidate {
            id: &tool.exposed,
            description: &tool.description,
            digest,
        })
        .collect();
    let chosen = llm.rank(prompt, &candidates, limit).await?;
    // Checked again: only candidates may come out.
    Ok(chosen
        .into_iter()
        .filter_map(|place| tools.get(place).map(|(hit, _)| *hit))
        .take(limit)
        .collect())
}
