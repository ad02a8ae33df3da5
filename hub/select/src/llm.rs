//! Asking a language model: what is asked, how each provider wants it put, and what of an answer counts.
//!
//! * [`question`]: the text, and the key under which its answer is kept. [`providers`]: the providers' formats.
//! * [`answer`]: an answer is text by a stranger: of it only what was offered is taken.
//! * [`breaker`]: when a model is not asked any more. [`answer_cache`]: answers that outlive a process, as bytes.

pub mod answer;
pub mod answer_cache;
pub mod breaker;
pub mod providers;
pub mod question;

/// Most tools in one question, whatever is asked for: descriptions cost tokens, and positions are kept as bytes.
pub const MAX_CANDIDATES: usize = 50;
/// Most categories that a model chooses from.
pub const MAX_CATEGORIES: usize = 100;

/// A tool that a model is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// Its exposed name: unique, and with its server's prefix.
    pub id: &'a str,
    /// What it says of itself. Nobody vouches for it.
    pub description: &'a str,
    /// Changes with its definition.
    pub digest: &'a [u8],
}
