//! The language model, where one is configured. It chooses from what the embedded ranking found and nothing else, so
//! text in a tool's description can make nothing else appear; when it does not answer, that ranking is the answer.

use std::sync::{Arc, Mutex, PoisonError};

use mcphub_core::llm::MAX_CANDIDATES;
use mcphub_core::sight::Sight;
use mcphub_wire::config::{self, Filtering};
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
    llm: Result<Arc<Llm>, String>,
}

impl Backend {
    /// None yet.
    pub(super) fn new(registry: &Registry) -> Self {
        Self { registry: registry.clone(), now: Mutex::default() }
    }

    /// Follows the config. A model whose config is as before keeps what it knows.
    pub(super) fn obey(&self, filtering: &Filtering) {
        let wanted = filtering.llm.as_ref().filter(|_| filtering.selector == config::Backend::Llm);
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if now.as_ref().map(|running| &running.config) == wanted {
            return;
        }
        *now = None; // its metrics go first
        *now = wanted.map(|config| {
            let llm = Llm::start(config, &self.registry).map_err(|error| error.to_string());
            if let Err(error) = &llm {
                tracing::error!(error, "the language model cannot be asked; the embedded selector answers");
            }
            Running { config: config.clone(), llm }
        });
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
    sight: &Sight,
    hits: &[Hit],
    limit: usize,
) -> Result<Vec<Hit>, Error> {
    let tools: Vec<_> = hits.iter().filter_map(|hit| Some((*hit, sight.tools.get(hit.position)?))).collect();
    let digests: Vec<[u8; 8]> = tools.iter().map(|(_, tool)| tool.digest.to_be_bytes()).collect();
    let candidates: Vec<Candidate<'_>> = tools
        .iter()
        .zip(&digests)
        .map(|((_, tool), digest)| Candidate { id: &tool.exposed, description: &tool.description, digest })
        .collect();
    let chosen = llm.rank(prompt, &candidates, limit).await?;
    // Checked here again: nothing that was not among the candidates may come out.
    Ok(chosen.into_iter().filter_map(|place| tools.get(place).map(|(hit, _)| *hit)).take(limit).collect())
}
