//! Words that mean nearly the same: each of the prompt's finds the nearest in the tool.

use std::collections::HashMap;

use crate::lexical::{Asked, Lexical};
use crate::models::Models;
use crate::vector::{Matrix, Vector};

/// Most of the prompt's terms that are compared, the rarest first.
const TERMS: usize = 20;
/// Likeness below this is chance.
const CHANCE: f32 = 0.25;

/// The prompt's terms as vectors, and what they were compared with so far.
pub struct Soft<'a> {
    words: &'a Matrix,
    terms: Vec<(Option<u32>, Vector, f32)>,
    known: HashMap<u32, Vec<f32>>,
    total: f32,
}

impl<'a> Soft<'a> {
    /// Takes the prompt's terms.
    pub fn new(words: &'a Matrix, asked: &[Asked], models: &Models) -> Option<Self> {
        let table = models.table.as_ref()?;
        let mut rarest: Vec<&Asked> = asked.iter().collect();
        rarest.sort_by(|a, b| b.idf.total_cmp(&a.idf));
        rarest.truncate(TERMS);
        let terms: Vec<_> = rarest.iter().map(|a| (a.term, table.encode(&models.pieces, &a.word), a.idf)).collect();
        let total = terms.iter().map(|(_, _, idf)| idf).sum();
        Some(Self { words, terms, known: HashMap::new(), total })
    }

    /// How much of the prompt the tool's head and its name say, nearly.
    pub fn scores(&mut self, lexical: &Lexical, doc: usize) -> [f32; 2] {
        [lexical.head(doc), lexical.name(doc)].map(|terms| self.score(terms))
    }

    fn score(&mut self, doc: &[u32]) -> f32 {
        if self.total <= 0.0 {
            return 0.0;
        }
        let mut best = vec![0.0_f32; self.terms.len()];
        for &term in doc {
            let (words, terms) = (self.words, &self.terms);
            let likeness = self.known.entry(term).or_insert_with(|| {
                let like = |(own, vector, _): &(Option<u32>, Vector, f32)| {
                    if *own == Some(term) { 1.0 } else { words.cosine(term as usize, vector) }
                };
                terms.iter().map(|t| ((like(t) - CHANCE) / (1.0 - CHANCE)).max(0.0)).collect()
            });
            for (best, like) in best.iter_mut().zip(likeness.iter()) {
                *best = best.max(*like);
            }
        }
        best.iter().zip(&self.terms).map(|(like, (_, _, idf))| like * idf).sum::<f32>() / self.total
    }
}
