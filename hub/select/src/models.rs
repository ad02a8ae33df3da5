//! What the selector has learned, and how much of it is used.

use sha2::{Digest as _, Sha256};

use crate::clauses;
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
static SUMS: &str = include_str!("../../models/SHA256SUMS");

/// What vectors of the weights in this binary are kept under: those of others lie in another space, though they may be as
/// long. The ranker and the floor make no vectors.
pub fn space() -> [u8; 8] {
    let mut hash = Sha256::new();
    SUMS.lines().filter(|line| [" encoder.onnx", " static.bin"].iter().any(|file| line.ends_with(file))).for_each(
        |line| {
            hash.update(line);
        },
    );
    let mut space = [0; 8];
    space.copy_from_slice(&hash.finalize()[..8]);
    space
}

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

/// A prompt as the transformer reads it.
#[derive(Clone, Debug)]
pub struct Read {
    /// Of all of it.
    pub whole: Vector,
    /// Of each part that asks for one thing.
    pub(crate) parts: Vec<Vector>,
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

    /// Vectors of tools, in their order: milliseconds each. Without the transformer, none. By the transformer as it was
    /// published: only how it reads prompts was tuned.
    pub fn encode_docs(&self, docs: &[Doc<'_>]) -> Vec<Vector> {
        let Some(encoder) = &self.encoder else { return Vec::new() };
        docs.iter().map(|doc| encoder.encode_tool(&self.pieces, &doc.texts().head)).collect()
    }

    /// The vector of a prompt, for [`crate::Memory`]: the transformer's, or else the static table's. `None` when there is
    /// neither, or nothing in the text.
    pub fn encode_query(&self, text: &str) -> Option<Vector> {
        match (self.read_prompt(text), &self.table) {
            (Some(read), _) => Some(read.whole),
            (None, Some(table)) if !text.trim().is_empty() => Some(table.encode(&self.pieces, text)),
            (None, _) => None,
        }
    }

    /// A prompt by the transformer, for [`crate::Index::rank_read`]. `None` without it, or when nothing is in the text.
    pub fn read_prompt(&self, text: &str) -> Option<Read> {
        let encoder = self.encoder.as_ref().filter(|_| !text.trim().is_empty())?;
        let (whole, parts) = encoder.encode_parts(&self.pieces, &clauses::of(text));
        Some(Read { whole, parts })
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

#[cfg(test)]
mod tests {
    use super::*;

    // The sums are what the space of vectors is known by.
    #[test]
    fn the_sums_are_those_of_the_files() {
        let files: [(&str, &[u8]); 3] =
            [("encoder.onnx", encoder::WEIGHTS), ("static.bin", TABLE), ("ranker-full.json", RANKER_FULL.as_bytes())];
        for (name, content) in files {
            let sum = SUMS.lines().find_map(|line| line.strip_suffix(name)).unwrap();
            assert_eq!(sum.trim(), format!("{:x}", Sha256::digest(content)), "{name}");
        }
    }
}
