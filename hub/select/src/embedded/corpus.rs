//! The indexed tools. Everything here is known when an index is built, and stays the same when
//! vectors of the transformer arrive.

use std::collections::HashMap;

use super::doc::{Digest, Doc};
use super::lexical::Lexical;
use super::models::Models;
use super::static_table::{self, StaticTable};
use super::vector::Matrix;
use super::words;

pub(crate) struct Corpus {
    pub(crate) digests: Vec<Digest>,
    pub(crate) lexical: Lexical,
    /// The vectors of the tools' heads by the static table.
    pub(crate) heads: Matrix,
    /// The number of each tool's server.
    pub(crate) server_of: Vec<u32>,
    pub(crate) servers: usize,
    /// The number of each tool's group in `twins`.
    pub(crate) twin_of: Vec<u32>,
    /// Groups of tools whose names have the same words.
    twins: Vec<Vec<u32>>,
    /// Equal for tools whose names are equal to the letter.
    pub(crate) name_of: Vec<u32>,
}

impl Corpus {
    pub(crate) fn build(docs: &[Doc<'_>], models: &Models) -> Self {
        let dimensions = models.table.as_ref().map_or(0, StaticTable::dimensions);
        let mut heads = Matrix::new(dimensions);
        let (mut server_of, mut twin_of, mut twins) =
            (Vec::new(), Vec::new(), Vec::<Vec<u32>>::new());
        let (mut servers, mut by_name, mut names) =
            (HashMap::new(), HashMap::new(), HashMap::new());
        let mut name_of = Vec::new();
        for (number, doc) in (0u32..).zip(docs) {
            let next = servers.len() as u32;
            server_of.push(*servers.entry(doc.server).or_insert(next));
            name_of.push(*names.entry(doc.name).or_insert(number));
            let twin = *by_name.entry(words::identifier_phrase(doc.name)).or_insert_with(|| {
                twins.push(Vec::new());
                twins.len() - 1
            });
            twin_of.push(twin as u32);
            twins[twin].push(number);
            if let Some(table) = &models.table {
                let tokens = models.pieces.tokens(&models.head(doc), static_table::MAX_TOKENS);
                heads.push(&table.sum(&tokens));
            }
        }
        let lexical =
            Lexical::build(docs, |name| models.split(name), |text| models.to_english(text));
        let digests = docs.iter().map(Doc::digest).collect();
        let servers = servers.len();
        Self { digests, lexical, heads, server_of, servers, twin_of, twins, name_of }
    }

    /// The tools whose names have the same words as this one's, including itself.
    pub(crate) fn twins(&self, doc: usize) -> impl Iterator<Item = u32> + '_ {
        self.twins[self.twin_of[doc] as usize].iter().copied()
    }
}
