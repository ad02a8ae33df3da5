//! How good selection is for questions whose tools are known: a change of filtering can be judged by it before it
//! reaches everybody.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use mcphub_hub_catalog::visibility::VisibleTools;
use mcphub_hub_wire::config::GoldenQuestion;
use tokio::sync::Notify;

use super::{Ask, Error, chosen};
use crate::serve::state::hub::{Hub, anonymous};
use crate::serve::state::snapshot::Live;

/// How the golden questions went.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Golden {
    /// Mean share of each question's tools that were chosen.
    pub recall: f64,
    /// Tools of the questions that do not exist; they count as missed.
    pub unknown: Vec<String>,
    /// Questions of which a tool was not chosen.
    pub missed: Vec<String>,
}

impl Golden {
    fn log(&self) {
        tracing::info!(recall = self.recall, "golden questions were asked");
        if !self.unknown.is_empty() {
            let tools = self.unknown.join(", ");
            tracing::warn!(tools, "tools of golden questions do not exist, and count as missed");
        }
        for question in &self.missed {
            tracing::warn!(question, "a tool of this golden question was not found");
        }
    }
}

/// The last answer, and whether it is to be had anew.
#[derive(Default)]
pub(super) struct State {
    due: Notify,
    last: Mutex<Option<Golden>>,
}

impl State {
    /// Something changed that it depends on.
    pub(super) fn due(&self) {
        self.due.notify_one();
    }

    pub(super) fn last(&self) -> Option<Golden> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Asks the questions whenever it is due.
pub(super) async fn keep(hub: Arc<Hub>) {
    let state = &hub.selector.golden;
    loop {
        state.due.notified().await;
        let live = hub.live();
        let golden = if live.config.filtering.golden_questions.is_empty() {
            None
        } else {
            ask_all(&hub, &live).await
        };
        hub.selector.metrics.recall(golden.as_ref().map(|golden| golden.recall));
        let mut last = state.last.lock().unwrap_or_else(PoisonError::into_inner);
        if *last != golden {
            golden.as_ref().inspect(|golden| golden.log());
            *last = golden;
        }
    }
}

/// `None`: a question could not be asked, so what was known stays unknown.
async fn ask_all(hub: &Hub, live: &Live) -> Option<Golden> {
    let visible = live.lists.anonymous().visible.clone();
    let questions = &live.config.filtering.golden_questions;
    let mut sum = 0.0;
    let mut missed = Vec::new();
    for question in questions {
        let found = match found(hub, &visible, question).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "a golden question could not be asked");
                return None;
            }
        };
        sum += found;
        missed.extend((found < 1.0).then(|| question.query.clone()));
    }
    let exists = |tool: &&String| visible.tools.iter().any(|known| known.exposed == **tool);
    let mut unknown: Vec<String> = questions
        .iter()
        .flat_map(|question| &question.tools)
        .filter(|tool| !exists(tool))
        .cloned()
        .collect();
    unknown.sort();
    unknown.dedup();
    #[allow(clippy::cast_precision_loss)] // a config has no 2^53 questions
    let recall = sum / questions.len().max(1) as f64;
    Some(Golden { recall, unknown, missed })
}

/// Share of the question's tools that would be chosen.
async fn found(
    hub: &Hub,
    visible: &Arc<VisibleTools>,
    question: &GoldenQuestion,
) -> Result<f64, Error> {
    if question.tools.is_empty() {
        return Ok(1.0); // nothing is missed
    }
    let rules = &visible.config().filtering.prompt_based;
    let ranking = hub
        .selector
        .rank(Ask {
            prompt: &question.query,
            visible,
            server: None,
            limit: rules.max_tools as usize,
            memory: rules.memory,
            principal: anonymous(),
            counted: false,
        })
        .await?;
    let chosen: HashSet<&str> = chosen(&ranking, rules)
        .filter_map(|hit| Some(visible.tools.get(hit.position)?.exposed.as_str()))
        .collect();
    let hits = question.tools.iter().filter(|tool| chosen.contains(tool.as_str())).count();
    #[allow(clippy::cast_precision_loss)] // a handful
    Ok(hits as f64 / question.tools.len() as f64)
}
