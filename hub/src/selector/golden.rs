//! The result of the golden questions.

use std::sync::{Mutex, PoisonError};

/// How well the golden questions were answered.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GoldenResult {
    /// The mean share of each question's tools that were chosen.
    pub recall: f64,
    /// Tools of the questions that do not exist. They count as missed.
    pub unknown: Vec<String>,
    /// Questions that missed a tool.
    pub missed: Vec<String>,
}

/// The last result; `None` without golden questions, or before they were asked.
#[derive(Default)]
pub(super) struct LastGoldenResult(Mutex<Option<GoldenResult>>);

impl LastGoldenResult {
    pub(super) fn get(&self) -> Option<GoldenResult> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns whether it changed.
    pub(super) fn set(&self, result: Option<GoldenResult>) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = *last != result;
        *last = result;
        changed
    }
}
