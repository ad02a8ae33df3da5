use super::vector::Vector;

/// The vectors of a prompt. They are computed once for everything that the prompt is compared with.
#[derive(Clone, Debug, Default)]
pub struct PromptVectors {
    /// The whole prompt by the static table.
    pub(crate) table: Option<Vector>,
    /// The whole prompt by the transformer.
    pub(crate) encoder: Option<Vector>,
    /// Each clause of the prompt, in the order of `clauses::split`.
    pub(crate) clauses: Vec<ClauseVectors>,
}

/// The vectors of one clause of a prompt.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClauseVectors {
    pub(crate) table: Option<Vector>,
    pub(crate) encoder: Option<Vector>,
}

impl PromptVectors {
    /// The vector that prompts are compared with each other by: the transformer's, or else the
    /// static table's. `None` if the prompt is empty or there are no models.
    pub fn vector(&self) -> Option<&Vector> {
        self.encoder.as_ref().or(self.table.as_ref())
    }
}
