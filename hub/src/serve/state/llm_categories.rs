//! The categories that a language model has chosen for tools.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use mcphub_hub_catalog::category::{LlmCategories, llm_choices};
use mcphub_hub_wire::config::Filtering;
use tokio::sync::Notify;

use crate::llm::Llm;

/// The answers of the language model, and whether anybody needs them.
#[derive(Default)]
pub struct LlmCategoryStore {
    answers: ArcSwap<(Option<CategoryQuestion>, Arc<LlmCategories>)>,
    /// A caller was here. Without prewarming, the model is asked only then.
    wanted: AtomicBool,
    wake: Notify,
}

/// What the answers depend on: another model or other choices make them invalid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CategoryQuestion {
    model: String,
    /// The categories that the model may choose from.
    pub categories: Vec<String>,
}

impl CategoryQuestion {
    /// `None` if this config asks no language model about categories.
    pub fn from_config(filtering: &Filtering) -> Option<Self> {
        let categories: Vec<String> =
            llm_choices(filtering).into_iter().map(str::to_owned).collect();
        let llm = filtering.llm.as_ref().filter(|_| !categories.is_empty())?;
        Some(Self { model: Llm::identity(llm), categories })
    }
}

impl LlmCategoryStore {
    /// The answers that are valid for this config.
    pub fn get(&self, filtering: &Filtering) -> Arc<LlmCategories> {
        let answers = self.answers.load();
        let valid = answers.0.is_some() && answers.0 == CategoryQuestion::from_config(filtering);
        if valid { Arc::clone(&answers.1) } else { Arc::default() }
    }

    pub fn set(&self, question: CategoryQuestion, answers: LlmCategories) {
        self.answers.store(Arc::new((Some(question), Arc::new(answers))));
    }

    /// Notes that a caller needs categories.
    pub fn want(&self) {
        if !self.wanted.swap(true, Ordering::Relaxed) {
            self.wake.notify_one();
        }
    }

    pub fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Completes when the first caller needs categories.
    pub async fn first_want(&self) {
        self.wake.notified().await;
    }
}
