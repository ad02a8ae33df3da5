//! What the selector has learned, and how much of it is used.

use sha2::{Digest as _, Sha256};

use crate::embedded::clauses;
use crate::embedded::compound;
use crate::embedded::dictionary::Dictionary;
use crate::embedded::doc::Doc;
use crate::embedded::encoder::{self, Encoder};
use crate::embedded::features;
use crate::embedded::floor::Floor;
use crate::embedded::ranker::Ranker;
use crate::embedded::table::{self, Table};
use crate::embedded::vector::Vector;
use crate::embedded::wordpiece::WordPiece;

pub(crate) static VOCABULARY: &str = include_str!("../../../models/vocab.txt");
pub(crate) static DICTIONARY: &[u8] = include_bytes!("../../../models/dictionary.bin");
static TABLE: &[u8] = include_bytes!("../../../models/static.bin");
static RANKER_STATIC: &str = include_str!("../../../models/ranker-static.json");
static RANKER_FULL: &str = include_str!("../../../models/ranker-full.json");
static FLOOR: &str = include_str!("../../../models/floor.json");
static SUMS: &str = include_str!("../../../models/SHA256SUMS");

/// What vectors of the weights in this binary are kept under: those of others lie in another space, though they may be as
/// long. The ranker and the floor make no vectors.
pub fn space() -> [u8; 8] {
    let mut hash = Sha256::new();
    SUMS.lines()
        .filter(|line| [" encoder.onnx", " static.bin"].iter().any(|file| line.ends_with(file)))
        .for_each(|line| {
            hash.update(line);
        });
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

/// A prompt of parts that has at most so many tokens is read as a whole too: what stands around a wish says what it is
/// about. Of a longer one the sum of the parts has to do; it would take twice the time.
const SHORT: usize = 24;
/// Tools whose tokens are there at once.
const READ: usize = 64;

/// A prompt as the models read it: once, for all that is compared with it.
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// All of it by the static table.
    pub(crate) table: Option<Vector>,
    /// All of it by the transformer.
    pub(crate) meaning: Option<Vector>,
    /// Each part that asks for one thing, in the order of [`clauses::of`].
    pub(crate) parts: Vec<ReadPart>,
}

/// A part of a prompt.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReadPart {
    pub(crate) table: Option<Vector>,
    pub(crate) meaning: Option<Vector>,
}

impl Read {
    /// What prompts are compared with each other by: the transformer's vector, or else the static table's.
    pub fn vector(&self) -> Option<&Vector> {
        self.meaning.as_ref().or(self.table.as_ref())
    }
}

/// The weights, ready for use.
pub struct Models {
    pub(crate) pieces: WordPiece,
    dictionary: Option<Dictionary>,
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
            dictionary: Some(Dictionary::read(DICTIONARY)?),
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
            dictionary: None,
            table: None,
            encoder: None,
            ranker: Ranker::fixed(features::FUSED),
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
        let tokens = |doc: &Doc<'_>| self.pieces.tokens(&self.head(doc), encoder::TOKENS);
        let some =
            |docs: &[Doc<'_>]| encoder.encode_tools(&docs.iter().map(tokens).collect::<Vec<_>>());
        docs.chunks(READ).flat_map(some).collect()
    }

    /// The vector of a prompt, for [`crate::embedded::Memory`]. `None` when there is nothing to read it by, or nothing in it.
    pub fn encode_query(&self, text: &str) -> Option<Vector> {
        self.read_prompt(text).vector().cloned()
    }

    /// A prompt by all that is there, for [`crate::embedded::Index::rank_read`].
    pub fn read_prompt(&self, text: &str) -> Read {
        self.read_by(self.english(text).as_deref().unwrap_or(text), true)
    }

    /// In English, word by word, what is in another language; `None` of what is in English.
    pub(crate) fn english(&self, text: &str) -> Option<String> {
        self.dictionary.as_ref().and_then(|dictionary| dictionary.english(text, &self.pieces))
    }

    /// A tool as the models read it.
    pub(crate) fn head(&self, doc: &Doc<'_>) -> String {
        let head = doc.head();
        self.english(&head).unwrap_or(head)
    }

    /// A prompt in English by the table, and by the transformer where that is wanted; nothing of what has nothing in it.
    pub(crate) fn read_by(&self, text: &str, transformer: bool) -> Read {
        let encoder = self.encoder.as_ref().filter(|_| transformer);
        if text.trim().is_empty() || (self.table.is_none() && encoder.is_none()) {
            return Read::default();
        }
        let tokens: Vec<_> = clauses::of(text)
            .into_iter()
            .map(|part| self.pieces.tokens(part, table::TOKENS))
            .collect();
        let mut read = Read { parts: vec![ReadPart::default(); tokens.len()], ..Read::default() };
        if let Some(table) = &self.table {
            let sums: Vec<_> = tokens.iter().map(|tokens| table.sum(tokens)).collect();
            read.table = Some(Vector::new(&added(&sums)));
            read.parts
                .iter_mut()
                .zip(&sums)
                .for_each(|(part, sum)| part.table = Some(Vector::new(sum)));
        }
        if let Some(encoder) = encoder {
            let whole = (tokens.len() > 1)
                .then(|| self.pieces.tokens(text, SHORT + 1))
                .filter(|whole| whole.len() <= SHORT);
            let texts: Vec<&[u32]> = tokens.iter().chain(&whole).map(Vec::as_slice).collect();
            let mut sums = encoder.encode_parts(&texts);
            let whole = whole.and_then(|_| sums.pop()).unwrap_or_else(|| added(&sums));
            read.meaning = Some(Vector::new(&whole));
            read.parts
                .iter_mut()
                .zip(&sums)
                .for_each(|(part, sum)| part.meaning = Some(Vector::new(sum)));
        }
        read
    }

    pub(crate) fn split(&self, name: &str) -> Vec<String> {
        compound::split(&self.pieces, name)
    }
}

/// The sum of some sums: its direction is that of what they were made of together.
fn added(sums: &[Vec<f32>]) -> Vec<f32> {
    let mut all = vec![0.0; sums.first().map_or(0, Vec::len)];
    for sum in sums {
        all.iter_mut().zip(sum).for_each(|(all, value)| *all += value);
    }
    all
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
        let files: [(&str, &[u8]); 3] = [
            ("encoder.onnx", encoder::WEIGHTS),
            ("static.bin", TABLE),
            ("ranker-full.json", RANKER_FULL.as_bytes()),
        ];
        for (name, content) in files {
            let sum = SUMS.lines().find_map(|line| line.strip_suffix(name)).unwrap();
            assert_eq!(sum.trim(), format!("{:x}", Sha256::digest(content)), "{name}");
        }
    }
}
