//! What the selector has learned, and how much of it is used.

use crate::compound;
use crate::doc::Doc;
use crate::encoder::{self, Encoder};
use crate::features;
use crate::floor::Floor;
use crate::ranker::Ranker;
use crate::table::Table;
use crate::vector::Vector;
use crate::wordpiece::WordPiece;

static VOCABULARY: &str = include_str!("../../models/vocab.txt");
static TABLE: &[u8] = include_bytes!("../../models/static.bin");
static RANKER_STATIC: &str = include_str!("../../models/ranker-static.json");
static RANKER_FULL: &str = include_str!("../../models/ranker-full.json");
static FLOOR: &str = include_str!("../../models/floor.json");

/// Why the weights cannot be used: a fault of the build.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of weights is not what it should be.
    #[error("weights in the binary cannot be read: {0}; build it anew from `hub/models`")]
    Weights(String),
}

/// The files that weights are read from: those in the binary, or others that are to be measured.
#[derive(Clone, Copy)]
pub struct Weights {
    /// The static table.
    pub table: &'static [u8],
    /// The transformer.
    pub encoder: &'static [u8],
    /// The ranker.
    pub ranker: &'static str,
    /// The floor.
    pub floor: &'static str,
}

impl Weights {
    /// Those in the binary.
    pub fn embedded(full: bool) -> Self {
        let ranker = if full { RANKER_FULL } else { RANKER_STATIC };
        Self { table: TABLE, encoder: encoder::WEIGHTS, ranker, floor: FLOOR }
    }
}

/// The weights, ready for use.
pub struct Models {
    pub(crate) pieces: WordPiece,
    pub(crate) table: Option<Table>,
    encoder: Option<Encoder>,
    pub(crate) ranker: Ranker,
    pub(crate) floor: Floor,
}

impl Models {
    /// What lies in the binary; `full` with the transformer, which costs memory and milliseconds a prompt.
    pub fn embedded(full: bool) -> Result<Self, Error> {
        Self::read(&Weights::embedded(full), full)
    }

    /// From other files.
    pub fn read(weights: &Weights, full: bool) -> Result<Self, Error> {
        let backend = if full { "full" } else { "static" };
        Ok(Self {
            pieces: WordPiece::new(VOCABULARY)?,
            table: Some(Table::read(weights.table)?),
            encoder: if full { Some(Encoder::read(weights.encoder)?) } else { None },
            ranker: Ranker::read(weights.ranker, &features::names())?,
            floor: Floor::read(weights.floor, backend, &features::statistics())?,
        })
    }

    /// Words only: nothing learned but the vocabulary that compounds are cut with.
    pub fn lexical() -> Result<Self, Error> {
        Ok(Self {
            pieces: WordPiece::new(VOCABULARY)?,
            table: None,
            encoder: None,
            ranker: Ranker::fixed(),
            floor: Floor::none(),
        })
    }

    /// Whether the transformer is there.
    pub fn is_full(&self) -> bool {
        self.encoder.is_some()
    }

    /// Vectors of tools, in their order: milliseconds each. Without the transformer, none.
    pub fn encode_docs(&self, docs: &[Doc<'_>]) -> Vec<Vector> {
        let Some(encoder) = &self.encoder else { return Vec::new() };
        docs.iter().map(|doc| encoder.encode(&self.pieces, &doc.texts().head)).collect()
    }

    /// Whether the transformer was tuned: if not, [`Models::encode_docs`] and [`Models::encode_docs_base`] are the same.
    pub fn is_tuned(&self) -> bool {
        self.encoder.as_ref().is_some_and(Encoder::is_tuned)
    }

    /// Vectors by the transformer as it was before it was tuned: what tools are called alike by in measurements.
    pub fn encode_docs_base(&self, docs: &[Doc<'_>]) -> Vec<Vector> {
        let Some(encoder) = &self.encoder else { return Vec::new() };
        docs.iter().map(|doc| encoder.encode_base(&self.pieces, &doc.texts().head)).collect()
    }

    /// The vector of a prompt, for [`crate::Ask`] and [`crate::Memory`]: the transformer's, or else the static
    /// table's. `None` when there is neither, or nothing in the text.
    pub fn encode_query(&self, text: &str) -> Option<Vector> {
        if text.trim().is_empty() {
            return None;
        }
        match (&self.encoder, &self.table) {
            (Some(encoder), _) => Some(encoder.encode(&self.pieces, text)),
            (None, Some(table)) => Some(table.encode(&self.pieces, text)),
            (None, None) => None,
        }
    }

    pub(crate) fn split(&self, name: &str) -> Vec<String> {
        compound::split(&self.pieces, name)
    }
}

impl std::fmt::Debug for Models {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Models").field("full", &self.is_full()).finish_non_exhaustive()
    }
}
