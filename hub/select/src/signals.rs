//! What each signal says of every tool that can be seen.

use crate::clauses;
use crate::index::{Ask, Inner};
use crate::lexical::{Asked, FIELDS, Scores};
use crate::models::Models;
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
const FUSION: [(usize, f32); 4] = [(BM25F, 1.0), (STATIC_HEAD, 0.6), (STATIC_NAME, 0.25), (ENCODER, 0.9)];

/// What the parts of a prompt count in it, beside the whole.
const PARTS: f32 = 0.4;

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
        (ask, read): (&Ask<'_>, Option<&Vector>),
        pool: &Pool,
    ) -> Self {
        let terms = Terms::default().of(ask.prompt, WORDS);
        let asked = index.lexical.ask(terms, &pool.seen, pool.ids.len());
        let scores = index.lexical.score(&asked, &pool.seen, pool.ids.len());
        let table = models.table.as_ref().map(|table| table.encode(&models.pieces, ask.prompt));
        let needs_query = models.is_full() && (vectors.rows() > 0 || ask.memory.is_some_and(|m| !m.is_empty()));
        let query = match read.filter(|_| needs_query) {
            Some(read) => Some(read.clone()),
            None if needs_query => models.encode_query(ask.prompt),
            None => table.clone(),
        };
        let mut columns: [Vec<f32>; POOLED.len()] = std::array::from_fn(|_| Vec::new());
        columns[BM25F] = scores.iter().map(|score| score.combined).collect();
        for field in 0..FIELDS {
            columns[NAME + field] = scores.iter().map(|score| score.fields[field]).collect();
        }
        columns[STATIC_HEAD] = cosines(&index.heads, table.as_ref(), pool);
        columns[STATIC_NAME] = cosines(&index.names, table.as_ref(), pool);
        columns[ENCODER] = cosines(vectors, query.as_ref().filter(|_| needs_query), pool);
        fill(&mut columns, vectors, pool);
        let parts = clauses::of(ask.prompt);
        columns[CLAUSE] = clauses(index, models, &parts, pool, [&columns[BM25F], &columns[STATIC_HEAD]]);
        let spreads = std::array::from_fn(|i| spread(&columns[i], pool));
        let mut fused = vec![0.0; pool.seen.len()];
        for (column, weight) in FUSION {
            for &id in &pool.ids {
                fused[id as usize] += weight * spreads[column].z(columns[column][id as usize]);
            }
        }
        let whole = spread(&fused, pool);
        for &id in &pool.ids {
            let id = id as usize;
            fused[id] = (1.0 - PARTS) * whole.z(fused[id]) + PARTS * spreads[CLAUSE].z(columns[CLAUSE][id]);
        }
        let memory = match (ask.memory.filter(|memory| !memory.is_empty()), &query) {
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

/// What the part of the prompt says that a tool fits best; `whole` are the two signals of the whole prompt.
fn clauses(index: &Inner, models: &Models, parts: &[&str], pool: &Pool, whole: [&Vec<f32>; 2]) -> Vec<f32> {
    let mut best: Option<Vec<f32>> = None;
    if parts.len() > 1 {
        for part in parts {
            let asked = index.lexical.ask(Terms::default().of(part, WORDS), &pool.seen, pool.ids.len());
            if asked.len() < 2 {
                continue;
            }
            let words = index.lexical.score(&asked, &pool.seen, pool.ids.len()).iter().map(|s| s.combined).collect();
            let table = models.table.as_ref().map(|table| table.encode(&models.pieces, part));
            let part = fusion([&words, &cosines(&index.heads, table.as_ref(), pool)], pool);
            match &mut best {
                Some(best) => best.iter_mut().zip(part).for_each(|(best, part)| *best = best.max(part)),
                None => best = Some(part),
            }
        }
    }
    best.unwrap_or_else(|| fusion(whole, pool))
}

/// Words and static vectors in one.
fn fusion(signals: [&Vec<f32>; 2], pool: &Pool) -> Vec<f32> {
    let [words, heads] = signals.map(|column| spread(column, pool));
    let mut fused = vec![0.0; pool.seen.len()];
    for &id in &pool.ids {
        let id = id as usize;
        fused[id] = words.z(signals[0][id]) + 0.6 * heads.z(signals[1][id]);
    }
    fused
}

/// A tool whose vector has not arrived gets from the transformer what the static table says, on its scale.
fn fill(columns: &mut [Vec<f32>; POOLED.len()], vectors: &Matrix, pool: &Pool) {
    let there = pool.ids.iter().filter(|&&id| vectors.has(id as usize)).count();
    if there == 0 || there == pool.ids.len() {
        return;
    }
    let ids = || pool.ids.iter().map(|&id| id as usize).filter(|&id| vectors.has(id));
    let mean = |column: &Vec<f32>| ids().map(|id| column[id]).sum::<f32>() / there as f32;
    let (by_encoder, by_table) = (mean(&columns[ENCODER]), mean(&columns[STATIC_HEAD]));
    for &id in &pool.ids {
        if !vectors.has(id as usize) {
            columns[ENCODER][id as usize] = by_encoder + columns[STATIC_HEAD][id as usize] - by_table;
        }
    }
}

fn spread(column: &[f32], pool: &Pool) -> Spread {
    Spread::of(pool.ids.iter().map(|&id| column[id as usize]))
}
