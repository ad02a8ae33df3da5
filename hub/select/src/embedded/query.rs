use super::memory::Memory;

/// What to rank tools for.
#[derive(Clone, Copy)]
pub struct Query<'a> {
    /// The prompt. Only its start is read: each reader has a bound on tokens or words.
    pub prompt: &'a str,
    /// Whether the caller can see a tool, by its position in the slice that the index was built
    /// from. A tool that the caller cannot see changes no score.
    pub visible: &'a dyn Fn(usize) -> bool,
    /// The largest number of hits.
    pub limit: usize,
    /// What was learned from earlier prompts.
    pub memory: Option<&'a Memory>,
}
