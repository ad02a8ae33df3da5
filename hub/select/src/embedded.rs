//! Ranks tools for a prompt in the hub's own process: by words, by vectors and by a learned ranker.
//!
//! A prompt goes through these steps:
//!
//! 1. The [`dictionary`] translates it into English, [`clauses`] splits it, [`words`] extracts its
//!    terms and [`wordpiece`] its tokens.
//! 2. Each signal gives every visible tool a value ([`signals`]): the [`lexical`] index, the
//!    [`static_table`] and the transformer ([`encoder`]).
//! 3. The best tools by any signal become candidates ([`index`]). The learned [`ranker`] scores
//!    them by their [`features`].
//! 4. Remembered prompts ([`Memory`]) change the scores, if there are any.
//! 5. The [`floor`] estimates the probability that any tool fits.
//!
//! Imports go one way: `index` → `features` → `signals` → `corpus` → `models` → single models.

// Scores are approximate, and the numbers of tools and terms fit in 32 bits.
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]

mod clauses;
mod compound;
mod corpus;
mod dictionary;
mod doc;
mod encoder;
mod error;
pub mod evaluation;
mod feature_names;
mod features;
mod floor;
mod index;
mod lexical;
mod memory;
mod models;
mod pool;
mod prompt_vectors;
mod query;
mod ranker;
mod server_scores;
mod signals;
mod static_table;
mod stop_words;
mod vector;
mod weights;
mod wordpiece;
mod words;

pub use doc::{Digest, Doc};
pub use error::Error;
pub use feature_names::{feature_names, statistic_names};
pub use index::{Hit, Index, ToolRanking, Trace};
pub use memory::Memory;
pub use models::Models;
pub use prompt_vectors::PromptVectors;
pub use query::Query;
pub use vector::Vector;
pub use weights::Weights;
