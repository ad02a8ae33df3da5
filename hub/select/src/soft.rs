//! Words that mean nearly the same: each of the prompt's finds the nearest in the tool.

use crate::index::Inner;
use crate::lexical::Asked;
use crate::models::Models;
use crate::vector::Vector;

/// Most of the prompt's terms that are compared, the rarest first.
const TERMS: usize = 20;
/// Likeness below this is chance.
const CHANCE: f32 = 0.25;
/// Place of a term that is like none of the prompt's.
const UNLIKE: u32 = u32::MAX;

/// How like the prompt's terms are to those of some tools.
pub struct Soft {
    /// Rarity of the prompt's terms.
    idf: [f32; TERMS],
    total: f32,
    /// By number of a tool's term, its place in `likeness`.
    places: Vec<u32>,
    likeness: Vec<[f32; TERMS]>,
}

impl Soft {
    /// Compares the prompt's terms with those of the tools `ids`.
    pub fn new(index: &Inner, asked: &[Asked], models: &Models, ids: &[u32]) -> Option<Self> {
        let table = models.table.as_ref()?;
        let mut rarest: Vec<&Asked> = asked.iter().collect();
        rarest.sort_by(|a, b| b.idf.total_cmp(&a.idf));
        rarest.truncate(TERMS);
        let mut idf = [0.0; TERMS];
        idf.iter_mut().zip(&rarest).for_each(|(idf, asked)| *idf = asked.idf);
        let total = rarest.iter().map(|asked| asked.idf).sum();
        let vectors: Vec<Vector> = rarest
            .iter()
            .map(|asked| vector(index, asked).unwrap_or_else(|| table.encode(&models.pieces, &asked.word)))
            .collect();
        let (terms, mut places) = terms(index, ids);
        let mut likeness = vec![[0.0; TERMS]; terms.len()];
        let like = |cosine: f32| ((cosine - CHANCE) / (1.0 - CHANCE)).max(0.0);
        index.words.cosines(&terms, &vectors.iter().collect::<Vec<_>>(), |place, number, cosine| {
            likeness[place][number] = like(cosine);
        });
        for (number, asked) in rarest.iter().enumerate() {
            if let Some(&place) =
                asked.term.and_then(|term| places.get(term as usize)).filter(|&&place| place != UNLIKE)
            {
                likeness[place as usize][number] = like(1.0);
            }
        }
        for (&term, likeness) in terms.iter().zip(&likeness) {
            if likeness.iter().all(|&like| like <= 0.0) {
                places[term as usize] = UNLIKE;
            }
        }
        Some(Self { idf, total, places, likeness })
    }

    /// How much of the prompt the tool's head and its name say, nearly.
    pub fn scores(&self, index: &Inner, doc: usize) -> [f32; 2] {
        [index.lexical.head(doc), index.lexical.name(doc)].map(|terms| self.score(terms))
    }

    fn score(&self, doc: &[u32]) -> f32 {
        if self.total <= 0.0 {
            return 0.0;
        }
        let mut best = [0.0_f32; TERMS];
        for &term in doc {
            let place = self.places[term as usize];
            if place != UNLIKE {
                for (best, &like) in best.iter_mut().zip(&self.likeness[place as usize]) {
                    *best = if like > *best { like } else { *best };
                }
            }
        }
        best.iter().zip(&self.idf).map(|(like, idf)| like * idf).sum::<f32>() / self.total
    }
}

/// The vector of a prompt's term that is written as the index has it.
fn vector(index: &Inner, asked: &Asked) -> Option<Vector> {
    let term = asked.term? as usize;
    if *index.lexical.words().get(term)? == asked.word { index.words.vector(term) } else { None }
}

/// The terms of some tools, each once, and the place of each among them.
fn terms(index: &Inner, ids: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let mut places = vec![UNLIKE; index.lexical.words().len()];
    let mut terms = Vec::new();
    for &id in ids {
        let doc = id as usize;
        for &term in index.lexical.head(doc).iter().chain(index.lexical.name(doc)) {
            let place = &mut places[term as usize];
            if *place == UNLIKE {
                *place = terms.len() as u32;
                terms.push(term);
            }
        }
    }
    (terms, places)
}
