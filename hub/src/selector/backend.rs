//! The language model, where one is in force. It chooses from what the embedded ranking found and nothing else, so
//! text in a tool's description can make nothing else appear; when it does not answer, that ranking is the answer.

use std::sync::{Arc, Mutex, PoisonError};

use mcphub_hub_catalog::category::llm_choices;
use mcphub_hub_catalog::visibility::VisibleTools;
use mcphub_hub_select::llm::MAX_CANDIDATES;
use mcphub_hub_wire::config::{self, Filtering};
use prometheus::Registry;

use super::Hit;
use crate::llm::{Candidate, Error, Llm};

/// The language model in force.
pub(super) struct Backend {
    registry: Registry,
    now: Mutex<Option<Running>>,
}

struct Running {
    config: config::Llm,
    /// It chooses tools; else it only says what categories they have.
    ranks: bool,
    llm: Result<Arc<Llm>, String>,
}

impl Backend {
    /// None yet.
    pub(super) fn new(registry: &Registry) -> Self {
        Self { registry: registry.clone(), now: Mutex::default() }
    }

    /// Follows the config. A model whose config is as before keeps what it knows.
    pub(super) fn obey(&self, filtering: &Filtering) {
        let ranks = filtering.selector == config::Backend::Llm;
        let wanted = filtering.llm.as_ref().filter(|_| ranks || !llm_choices(filtering).is_empty());
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(running), Some(wanted)) = (now.as_mut(), wanted)
            && running.config == *wanted
        {
            running.ranks = ranks;
            return;
        }
        if let Some(Running { llm: Ok(llm), .. }) = now.take() {
            llm.end();
        }
        *now = wanted.map(|config| {
            let llm = Llm::start(config, &self.registry).map_err(|error| error.to_string());
            if let Err(error) = &llm {
                tracing::error!(
                    error,
                    "the language model cannot be asked; the hub's own models and words answer"
                );
            }
            Running { config: config.clone(), ranks, llm }
        });
    }

    /// The language model, where it chooses tools.
    pub(super) fn ranking(&self) -> Option<Arc<Llm>> {
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.as_ref()
            .filter(|running| running.ranks)
            .and_then(|running| running.llm.as_ref().ok().cloned())
    }

    /// The language model; `None` where there is none, or it could not start.
    pub(super) fn llm(&self) -> Option<Arc<Llm>> {
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.as_ref().and_then(|running| running.llm.as_ref().ok().cloned())
    }

    /// Why it could not start.
    pub(super) fn problem(&self) -> Option<String> {
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.as_ref().and_then(|running| running.llm.as_ref().err().cloned())
    }
}

/// How many hits of the embedded ranking the language model chooses from.
pub(super) fn candidates(limit: usize) -> usize {
    MAX_CANDIDATES.max(limit)
}

/// What the language model chooses of these hits, with the scores that they have.
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
    // Checked here again: nothing that was not among the candidates may come out.
    Ok(chosen
        .into_iter()
        .filter_map(|place| tools.get(place).map(|(hit, _)| *hit))
        .take(limit)
        .collect())
}
