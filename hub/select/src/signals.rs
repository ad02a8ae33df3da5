//! What each signal says of every tool that can be seen.

use crate::clauses;
use crate::index::{Ask, Inner};
use crate::lexical::{Asked, FIELDS, Scores};
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
        let terms = Terms::default().of(ask.prompt, WORDS);
        let asked = index.lexical.ask(terms, &pool.seen, pool.ids.len());
        let scores = index.lexical.score(&asked, &pool.seen, pool.ids.len());
        let table = models.table.as_ref().map(|table| table.encode(&models.pieces, ask.prompt));
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
        columns[STATIC_HEAD] = cosines(&index.heads, table.as_ref(), pool);
        columns[STATIC_NAME] = cosines(&index.names, table.as_ref(), pool);
        columns[ENCODER] = meanings(vectors, whole, &columns[STATIC_HEAD], pool);
        let mut fused = fusion(FUSION.map(|(column, weight)| (&columns[column], weight)), pool);
        let parts = clauses::of(ask.prompt);
        let part_vectors = read.as_ref().map_or(&[][..], |read| &read.parts);
        // A prompt that asks for one thing is its only part.
        columns[CLAUSE] =
            clauses(index, models, &parts, (vectors, part_vectors), pool).unwrap_or_else(|| fused.clone());
        let spreads: [Spread; POOLED.len()] = std::array::from_fn(|i| spread(&columns[i], pool));
        let together = spread(&fused, pool);
        for &id in &pool.ids {
            let id = id as usize;
            fused[id] = (1.0 - PARTS) * together.z(fused[id]) + PARTS * spreads[CLAUSE].z(columns[CLAUSE][id]);
        }
        let memory = match (ask.memory.filter(|memory| !memory.is_empty()), whole.or(table.as_ref())) {
            (Some(memory), Some(query)) => {
                let mut column = vec![0.0; pool.seen.len()];
                for &id in &pool.ids {
                    column[id as usize] = memory.score(&index.digests[id as usize], query).unwrap_or_default();
                }
                column
            }
            _ => Vec::new(),
        };
        let rarity = asked.iter().map(|asked| asked.idf).sum();
        Self { columns, spreads, fused, memory, asked, scores, rarity, table, parts: parts.len() }
    }
}

fn cosines(matrix: &Matrix, vector: Option<&Vector>, pool: &Pool) -> Vec<f32> {
    let mut column = vec![0.0; pool.seen.len()];
    if let Some(vector) = vector {
        for &id in &pool.ids {
            column[id as usize] = matrix.cosine(id as usize, vector);
        }
    }
    column
}

/// What the part of the prompt says that a tool fits best; `None` when there is one part only.
fn clauses(
    index: &Inner,
    models: &Models,
    parts: &[&str],
    (vectors, read): (&Matrix, &[Vector]),
    pool: &Pool,
) -> Option<Vec<f32>> {
    let mut best: Option<Vec<f32>> = None;
    for (number, part) in parts.iter().enumerate().filter(|_| parts.len() > 1) {
        let asked = index.lexical.ask(Terms::default().of(part, WORDS), &pool.seen, pool.ids.len());
        if asked.len() < 2 {
            continue;
        }
        let words = index.lexical.score(&asked, &pool.seen, pool.ids.len()).iter().map(|s| s.combined).collect();
        let table = models.table.as_ref().map(|table| table.encode(&models.pieces, part));
        let heads = cosines(&index.heads, table.as_ref(), pool);
        let meanings = meanings(vectors, read.get(number), &heads, pool);
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
    let mut fused = vec![0.0; pool.seen.len()];
    for (column, weight) in signals {
        let spread = spread(column, pool);
        for &id in &pool.ids {
            fused[id as usize] += weight * spread.z(column[id as usize]);
        }
    }
    fused
}

/// The transformer's cosines. A tool whose vector has not arrived gets what the static table says, on their scale.
fn meanings(vectors: &Matrix, read: Option<&Vector>, heads: &[f32], pool: &Pool) -> Vec<f32> {
    let mut column = cosines(vectors, read, pool);
    let there = pool.ids.iter().filter(|&&id| vectors.has(id as usize)).count();
    if read.is_none() || there == 0 || there == pool.ids.len() {
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

fn spread(column: &[f32], pool: &Pool) -> Spread {
    Spread::of(pool.ids.iter().map(|&id| column[id as usize]))
}
