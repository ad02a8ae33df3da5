//! The pure part of asking a language model.
//!
//! * [`question`] writes the questions and the keys of their answers. [`providers`] converts them
//!   to the providers' formats.
//! * [`answer`] parses the output. Only ids and categories from the question are accepted.
//! * [`answer_cache`] serializes cached answers.

pub mod answer;
pub mod answer_cache;
pub mod providers;
pub mod question;

/// The most tools in one question. Descriptions cost tokens, and cached positions are single bytes.
pub const MAX_CANDIDATES: usize = 50;
/// The most categories in one question.
pub const MAX_CATEGORIES: usize = 100;

/// A tool in a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// The exposed name. It is unique and has the prefix of the server.
    pub id: &'a str,
    /// Text of the server, which is not trusted.
    pub description: &'a str,
    /// Changes with the definition of the tool.
    pub digest: &'a [u8],
}
