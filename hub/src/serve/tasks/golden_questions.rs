//! Asks the golden questions, whose tools are known, whenever rankings may have changed. Their
//! recall shows whether a change of filtering is good before it reaches everybody.

use std::collections::HashSet;
use std::sync::Arc;

use mcphub_hub_catalog::visibility::VisibleTools;
use mcphub_hub_wire::config::GoldenQuestion;

use crate::selector::{Ask, Error, GoldenResult, hits_to_add};
use crate::serve::state::hub::Hub;
use crate::serve::state::snapshot::HubSnapshot;

pub(super) async fn run(hub: Arc<Hub>) {
    loop {
        hub.selector.rankings_changed().await;
        let snapshot = hub.snapshot();
        let result = if snapshot.config.filtering.golden_questions.is_empty() {
            None
        } else {
            ask_all(&hub, &snapshot).await
        };
        if hub.selector.set_golden_result(result.clone()) {
            result.iter().for_each(log);
        }
    }
}

fn log(result: &GoldenResult) {
    tracing::info!(recall = result.recall, "golden questions answered");
    if !result.unknown.is_empty() {
        let tools = result.unknown.join(", ");
        tracing::warn!(tools, "tools of golden questions do not exist and count as missed");
    }
    for question in &result.missed {
        tracing::warn!(question, "golden question missed a tool");
    }
}

/// `None` if a question could not be asked, so that the recall is unknown.
async fn ask_all(hub: &Hub, snapshot: &HubSnapshot) -> Option<GoldenResult> {
    let visible = Arc::clone(&snapshot.lists.without_view(&hub.principal).visible);
    let questions = &snapshot.config.filtering.golden_questions;
    let mut sum = 0.0;
    let mut missed = Vec::new();
    for question in questions {
        let recall = match recall(hub, &visible, question).await {
            Ok(recall) => recall,
            Err(error) => {
                tracing::warn!(%error, "failed to ask a golden question");
                return None;
            }
        };
        sum += recall;
        missed.extend((recall < 1.0).then(|| question.query.clone()));
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
    Some(GoldenResult { recall, unknown, missed })
}

/// The share of the question's tools that would be chosen.
async fn recall(
    hub: &Hub,
    visible: &Arc<VisibleTools>,
    question: &GoldenQuestion,
) -> Result<f64, Error> {
    if question.tools.is_empty() {
        return Ok(1.0); // nothing can be missed
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
            principal: hub.principal.hash(),
            counted: false,
        })
        .await?;
    let chosen: HashSet<&str> = hits_to_add(&ranking, rules)
        .filter_map(|hit| Some(visible.tools.get(hit.position)?.exposed.as_str()))
        .collect();
    let hits = question.tools.iter().filter(|tool| chosen.contains(tool.as_str())).count();
    #[allow(clippy::cast_precision_loss)] // a handful of tools
    Ok(hits as f64 / question.tools.len() as f64)
}
