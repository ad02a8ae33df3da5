//! What each signal says of every tool that can be seen.

use crate::clauses;
use crate::index::{Ask, Inner};
use crate::lexical::{Asked, FIELDS, Norms, Scores};
use crate::models::{Models, Read};
use crate::pool::{Pool, Spread};
use crate::vector::{Matrix, Vector};
use crate::words::Terms;

/// Signals that are known of the whole pool, in the order of [`Signals::columns`].
pub const POOLED: [&str; 10] =
    ["bm25f", "name", "server", "desc", "params", "pdesc", "static_head", "static_name", "encoder", "clause"];
/// Columns by name.
pub const BM25F: usize = 0;
pub const NAME: usize = 1;
pub const STATIC_HEAD: usize = 6;
pub const STATIC_NAME: usize = 7;
pub const ENCODER: usize = 8;
pub const CLAUSE: usize = 9;

/// Most words of a prompt that are read.
const WORDS: usize = 512;
/// What each signal counts in the fixed fusion.
const FUSION: [(usize, f32); 4] = [(BM25F, 1.0), (STATIC_HEAD, 0.6), (STATIC_NAME, 0.25), (ENCODER, 2.0)];
/// The same in a part of a prompt: words, table, transformer.
const FUSED_PARTS: [f32; 3] = [1.0, 0.6, 2.0];
/// What the parts of a prompt count in it, beside the whole.
const PARTS: f32 = 0.5;

/// Every signal, and the prompt as they read it.
pub struct Signals {
    /// A column a signal, a value a tool.
    pub columns: [Vec<f32>; POOLED.len()],
    /// How each lies in the pool.
    pub spreads: [Spread; POOLED.len()],
    /// The columns in one: deviations above the mean, weighted.
    pub fused: Vec<f32>,
    /// What remembered prompts say; empty without a memory.
    pub memory: Vec<f32>,
    /// The prompt's terms.
    pub asked: Vec<Asked>,
    /// What the lexical index says.
    pub scores: Vec<Scores>,
    /// Sum of the terms' rarity.
    pub rarity: f32,
    /// How many things the prompt asks for.
    pub parts: usize,
    /// The prompt as the static table reads it.
    pub table: Option<Vector>,
}

impl Signals {
    /// Reads the prompt, unless its vector is known, and compares it with the pool.
    pub fn new(
        index: &Inner,
        vectors: &Matrix,
        models: &Models,
        (ask, known): (&Ask<'_>, Option<&Read>),
        pool: &Pool,
    ) -> Self {
        let mut terms = Terms::default();
        let norms = index.lexical.norms(pool);
        let asked = index.lexical.ask(terms.of(ask.prompt, WORDS), pool);
        let scores = index.lexical.score(&asked, &norms, pool);
        let table = models.table.as_ref().map(|table| table.encode(&models.pieces, ask.prompt));
        let clauses = clauses::of(ask.prompt);
        let parts = parts(index, models, &clauses, &mut terms, pool);
        let needs_query = models.is_full() && (vectors.rows() > 0 || ask.memory.is_some_and(|m| !m.is_empty()));
        let read = match known {
            Some(read) if needs_query => Some(read.clone()),
            _ if needs_query => models.read_prompt(ask.prompt),
            _ => None,
        };
        let whole = read.as_ref().map(|read| &read.whole);
        let mut columns: [Vec<f32>; POOLED.len()] = std::array::from_fn(|_| Vec::new());
        columns[BM25F] = scores.iter().map(|score| score.combined).collect();
        for field in 0..FIELDS {
            columns[NAME + field] = scores.iter().map(|score| score.fields[field]).collect();
        }
        let tables: Vec<_> = table.iter().chain(parts.iter().filter_map(|part| part.table.as_ref())).collect();
        let mut heads = cosines(&index.heads, &tables, pool).into_iter();
        columns[STATIC_HEAD] = heads.next().unwrap_or_else(|| pool.zeros());
        columns[STATIC_NAME] = cosine(&index.names, table.as_ref(), pool);
        columns[ENCODER] = meanings(vectors, whole, &columns[STATIC_HEAD], pool);
        let mut fused = fusion(FUSION.map(|(column, weight)| (&columns[column], weight)), pool);
        let together = pool.spread(&fused);
        let part_vectors = read.as_ref().map_or(&[][..], |read| &read.parts);
        let best = best_of(index, &parts, heads, &norms, (vectors, part_vectors), pool);
        // A prompt that asks for one thing is its only part.
        columns[CLAUSE] = best.unwrap_or_else(|| fused.clone());
        let spreads: [Spread; POOLED.len()] = std::array::from_fn(|i| pool.spread(&columns[i]));
        for (fused, clause) in fused.iter_mut().zip(&columns[CLAUSE]) {
            *fused = (1.0 - PARTS) * together.z(*fused) + PARTS * spreads[CLAUSE].z(*clause);
        }
        let memory = match (ask.memory.filter(|memory| !memory.is_empty()), whole.or(table.as_ref())) {
            (Some(memory), Some(query)) => {
                let mut column = pool.zeros();
                for &id in &pool.ids {
                    column[id as usize] = memory.score(&index.digests[id as usize], query).unwrap_or_default();
                }
                column
            }
            _ => Vec::new(),
        };
        let rarity = asked.iter().map(|asked| asked.idf).sum();
        Self { columns, spreads, fused, memory, asked, scores, rarity, table, parts: clauses.len() }
    }
}

/// A part of the prompt that says something of its own.
struct Part {
    /// Its place among all.
    number: usize,
    asked: Vec<Asked>,
    table: Option<Vector>,
}

/// The parts of a prompt; none when there is one part only.
fn parts(index: &Inner, models: &Models, clauses: &[&str], terms: &mut Terms, pool: &Pool) -> Vec<Part> {
    let mut parts = Vec::new();
    for (number, clause) in clauses.iter().enumerate().filter(|_| clauses.len() > 1) {
        let asked = index.lexical.ask(terms.of(clause, WORDS), pool);
        if asked.len() >= 2 {
            let table = models.table.as_ref().map(|table| table.encode(&models.pieces, clause));
            parts.push(Part { number, asked, table });
        }
    }
    parts
}

/// What the part of the prompt says that a tool fits best; `None` without parts.
fn best_of(
    index: &Inner,
    parts: &[Part],
    mut heads: impl Iterator<Item = Vec<f32>>,
    norms: &[Norms],
    (vectors, read): (&Matrix, &[Vector]),
    pool: &Pool,
) -> Option<Vec<f32>> {
    let mut best: Option<Vec<f32>> = None;
    for part in parts {
        let words = index.lexical.combined(&part.asked, norms, pool);
        let heads = heads.next().unwrap_or_else(|| pool.zeros());
        let meanings = meanings(vectors, read.get(part.number), &heads, pool);
        let [of_words, of_heads, of_meanings] = FUSED_PARTS;
        let part = fusion([(&words, of_words), (&heads, of_heads), (&meanings, of_meanings)], pool);
        match &mut best {
            Some(best) => best.iter_mut().zip(part).for_each(|(best, part)| *best = best.max(part)),
            None => best = Some(part),
        }
    }
    best
}

/// Signals in one: deviations above the mean, weighted.
fn fusion<const N: usize>(signals: [(&Vec<f32>, f32); N], pool: &Pool) -> Vec<f32> {
    let mut fused = pool.zeros();
    for (column, weight) in signals {
        let spread = pool.spread(column);
        for (fused, value) in fused.iter_mut().zip(column) {
            *fused += weight * spread.z(*value);
        }
    }
    fused
}

/// A column for each vector, the matrix read once.
fn cosines(matrix: &Matrix, vectors: &[&Vector], pool: &Pool) -> Vec<Vec<f32>> {
    let mut columns = vec![pool.zeros(); vectors.len()];
    matrix.cosines(&pool.ids, vectors, |place, vector, value| columns[vector][pool.ids[place] as usize] = value);
    columns
}

fn cosine(matrix: &Matrix, vector: Option<&Vector>, pool: &Pool) -> Vec<f32> {
    cosines(matrix, vector.as_slice(), pool).pop().unwrap_or_else(|| pool.zeros())
}

/// The transformer's cosines. A tool whose vector has not arrived gets what the static table says, on their scale.
fn meanings(vectors: &Matrix, read: Option<&Vector>, heads: &[f32], pool: &Pool) -> Vec<f32> {
    let mut column = cosine(vectors, read, pool);
    if read.is_none() {
        return column;
    }
    let there = pool.ids.iter().filter(|&&id| vectors.has(id as usize)).count();
    if there == 0 || there == pool.ids.len() {
        return column;
    }
    let ids = || pool.ids.iter().map(|&id| id as usize).filter(|&id| vectors.has(id));
    let mean = |column: &[f32]| ids().map(|id| column[id]).sum::<f32>() / there as f32;
    let (by_encoder, by_table) = (mean(&column), mean(heads));
    for &id in &pool.ids {
        if !vectors.has(id as usize) {
            column[id as usize] = by_encoder + heads[id as usize] - by_table;
        }
    }
    column
}
