//! The models: everything that was learned offline, ready for use.

use super::clauses;
use super::compound;
use super::dictionary::Dictionary;
use super::doc::Doc;
use super::encoder::{self, Encoder};
use super::error::Error;
use super::feature_names::{self, FUSED};
use super::floor::Floor;
use super::prompt_vectors::{ClauseVectors, PromptVectors};
use super::ranker::Ranker;
use super::static_table::{self, StaticTable};
use super::vector::Vector;
use super::weights::{DICTIONARY, VOCABULARY, Weights};
use super::wordpiece::WordPiece;

/// A prompt of several clauses is also encoded as a whole if it has at most this many tokens.
///
/// The words around a wish say what it is about, so the vector of the whole is better: on
/// `MetaTool` the sum of the clauses loses 0.5 to 0.8 points of nDCG at 5. Encoding a longer prompt
/// twice would take twice the time, so there the sum of its clauses has to do.
const MAX_WHOLE_TOKENS: usize = 24;
/// How many tools are tokenized before they are encoded. It bounds the memory of a large catalog.
const ENCODE_BATCH: usize = 64;

pub struct Models {
    pub(crate) pieces: WordPiece,
    dictionary: Option<Dictionary>,
    pub(crate) table: Option<StaticTable>,
    encoder: Option<Encoder>,
    pub(crate) ranker: Ranker,
    pub(crate) floor: Floor,
}

impl Models {
    /// The models in the binary. With `full` they include the transformer, which needs 21 MB more
    /// and some 12 ms per prompt.
    pub fn embedded(full: bool) -> Result<Self, Error> {
        Self::from_weights(&Weights::embedded(full), full)
    }

    pub fn from_weights(weights: &Weights, full: bool) -> Result<Self, Error> {
        let backend = if full { "full" } else { "static" };
        Ok(Self {
            pieces: WordPiece::new(VOCABULARY)?,
            dictionary: Some(Dictionary::read(DICTIONARY)?),
            table: Some(StaticTable::read(weights.table)?),
            encoder: if full { Some(Encoder::read(weights.encoder)?) } else { None },
            ranker: Ranker::read(weights.ranker, &feature_names::feature_names())?,
            floor: Floor::read(weights.floor, backend, &feature_names::statistic_names())?,
        })
    }

    /// Lexical scores only. The one model is the vocabulary, which compound names are split with.
    pub fn lexical() -> Result<Self, Error> {
        Ok(Self {
            pieces: WordPiece::new(VOCABULARY)?,
            dictionary: None,
            table: None,
            encoder: None,
            ranker: Ranker::single_feature(FUSED),
            floor: Floor::disabled(),
        })
    }

    /// Whether the models include the transformer.
    pub fn is_full(&self) -> bool {
        self.encoder.is_some()
    }

    /// The vectors of tools, in their order. Takes milliseconds per tool. Empty without the
    /// transformer. Tools are encoded with the published weights; only prompts use the tuned ones.
    pub fn encode_docs(&self, docs: &[Doc<'_>]) -> Vec<Vector> {
        let Some(encoder) = &self.encoder else { return Vec::new() };
        let tokens = |doc: &Doc<'_>| self.pieces.tokens(&self.head(doc), encoder::MAX_TOKENS);
        let batch =
            |docs: &[Doc<'_>]| encoder.encode_tools(&docs.iter().map(tokens).collect::<Vec<_>>());
        docs.chunks(ENCODE_BATCH).flat_map(batch).collect()
    }

    /// The vector of a prompt for [`super::Memory`]. `None` if the prompt is empty or there are no
    /// vector models.
    pub fn prompt_vector(&self, prompt: &str) -> Option<Vector> {
        self.encode_prompt(prompt).vector().cloned()
    }

    /// All vectors of a prompt, for [`super::Index::rank_encoded`].
    pub fn encode_prompt(&self, prompt: &str) -> PromptVectors {
        self.encode(self.to_english(prompt).as_deref().unwrap_or(prompt), true)
    }

    /// The text in English, translated word by word. `None` if it is in English already.
    pub(crate) fn to_english(&self, text: &str) -> Option<String> {
        self.dictionary.as_ref().and_then(|dictionary| dictionary.to_english(text, &self.pieces))
    }

    /// The head of a tool, in English.
    pub(crate) fn head(&self, doc: &Doc<'_>) -> String {
        let head = doc.head();
        self.to_english(&head).unwrap_or(head)
    }

    /// The vectors of a prompt in English. `transformer` says whether the transformer's are needed.
    pub(crate) fn encode(&self, text: &str, transformer: bool) -> PromptVectors {
        let encoder = self.encoder.as_ref().filter(|_| transformer);
        if text.trim().is_empty() || (self.table.is_none() && encoder.is_none()) {
            return PromptVectors::default();
        }
        let tokens: Vec<_> = clauses::split(text)
            .into_iter()
            .map(|clause| self.pieces.tokens(clause, static_table::MAX_TOKENS))
            .collect();
        let mut vectors = PromptVectors {
            clauses: vec![ClauseVectors::default(); tokens.len()],
            ..PromptVectors::default()
        };
        if let Some(table) = &self.table {
            let sums: Vec<_> = tokens.iter().map(|tokens| table.sum(tokens)).collect();
            vectors.table = Some(Vector::new(&total(&sums)));
            for (clause, sum) in vectors.clauses.iter_mut().zip(&sums) {
                clause.table = Some(Vector::new(sum));
            }
        }
        if let Some(encoder) = encoder {
            let whole = (tokens.len() > 1)
                .then(|| self.pieces.tokens(text, MAX_WHOLE_TOKENS + 1))
                .filter(|whole| whole.len() <= MAX_WHOLE_TOKENS);
            let texts: Vec<&[u32]> = tokens.iter().chain(&whole).map(Vec::as_slice).collect();
            let mut sums = encoder.encode_clauses(&texts);
            let whole = whole.and_then(|_| sums.pop()).unwrap_or_else(|| total(&sums));
            vectors.encoder = Some(Vector::new(&whole));
            for (clause, sum) in vectors.clauses.iter_mut().zip(&sums) {
                clause.encoder = Some(Vector::new(sum));
            }
        }
        vectors
    }

    /// The words of a compound name, see [`compound::split`].
    pub(crate) fn split(&self, name: &str) -> Vec<String> {
        compound::split(&self.pieces, name)
    }
}

/// The sum of the clauses' sums. Its direction is the mean direction of all tokens.
fn total(sums: &[Vec<f32>]) -> Vec<f32> {
    let mut total = vec![0.0; sums.first().map_or(0, Vec::len)];
    for sum in sums {
        total.iter_mut().zip(sum).for_each(|(total, value)| *total += value);
    }
    total
}

impl std::fmt::Debug for Models {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Models").field("full", &self.is_full()).finish_non_exhaustive()
    }
}
