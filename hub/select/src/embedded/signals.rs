//! The signals: each gives every visible tool a value for how well it fits the prompt.

use std::borrow::Cow;
use std::collections::HashMap;

use super::clauses;
use super::corpus::Corpus;
use super::feature_names::{BM25F, CLAUSE, ENCODER, SIGNALS, STATIC_HEAD};
use super::lexical::{Norms, QueryTerm, Scores};
use super::memory::Memory;
use super::models::Models;
use super::pool::{Distribution, Pool};
use super::prompt_vectors::{ClauseVectors, PromptVectors};
use super::query::Query;
use super::vector::{Matrix, Vector};
use super::words::TermExtractor;

// The weights of the fusion below are relative to each other: each signal is added in standard
// deviations above its mean. They were chosen on 700 questions of each of BFCL, MetaTool and Seal.
// Varied again later (transformer times 0.8 and 1.2, table times 0 and 0.5, clauses, positions),
// no result moved by more than 0.4 points. See "The fixed fusion" in `tests/bench/MODELS.md`.

/// The most terms of a prompt that are read.
const MAX_TERMS: usize = 512;
/// The weights of the static table and the transformer. A higher weight of the transformer helps
/// where tools and prompts use different words (`MetaTool`) and hurts where they use the same
/// (Seal).
const VECTOR_WEIGHTS: [(usize, f32); 2] = [(STATIC_HEAD, 1.0), (ENCODER, 2.5)];
/// The weights of the BM25F score and of the share of the prompt that a tool covers, before
/// [`COVERAGE_SCALE`].
const LEXICAL_WEIGHTS: [f32; 2] = [1.0, 0.9];
/// Scales the lexical weights by the best tool's coverage of the prompt, relative to `.0`, capped
/// at `.1`. Where prompts and tools use different vocabulary, shared words are noise. `.0` is
/// between 0 and 1; `.1` is at least 1.
const COVERAGE_SCALE: (f32, f32) = (0.45, 1.5);
/// The weights within one clause of the prompt: BM25F, static table, transformer.
const CLAUSE_WEIGHTS: [f32; 3] = [1.0, 0.6, 2.0];
/// The share of the clauses in the fused score. The rest is the whole prompt. Range: 0 to 1.
const CLAUSE_SHARE: f32 = 0.4;
/// A tool loses this times `ln(1 + n)`, where `n` is its position in the clause that it fits best.
/// So each clause gets tools among the first hits. With words and table alone, this is worth 3
/// points of recall at 5 on Seal.
const POSITION_PENALTY: f32 = 1.2;
/// How many tools of a clause have a position of their own. All others share the next one.
const POSITIONS: usize = 60;

pub(crate) struct Signals {
    /// A column for each signal, with a value for each tool.
    pub(crate) columns: [Vec<f32>; SIGNALS.len()],
    pub(crate) distributions: [Distribution; SIGNALS.len()],
    /// The weighted sum of the columns, each in standard deviations above its mean.
    pub(crate) fused: Vec<f32>,
    /// `None` if no visible tool has remembered prompts.
    pub(crate) memory: Option<MemorySignal>,
    /// The prompt's terms.
    pub(crate) terms: Vec<QueryTerm>,
    /// The lexical scores of each tool.
    pub(crate) scores: Vec<Scores>,
    /// The sum of the inverse document frequencies of the prompt's terms.
    pub(crate) total_idf: f32,
}

impl Signals {
    /// Compares the prompt with every visible tool. `encoded` holds the prompt's vectors if they
    /// are known already.
    pub(crate) fn new(
        corpus: &Corpus,
        vectors: &Matrix,
        models: &Models,
        (query, encoded): (&Query<'_>, Option<&PromptVectors>),
        pool: &Pool,
    ) -> Self {
        let mut extractor = TermExtractor::default();
        let norms = corpus.lexical.norms(pool);
        let english = models.to_english(query.prompt);
        let prompt = english.as_deref().unwrap_or(query.prompt);
        let mut words = extractor.extract(prompt, MAX_TERMS);
        if english.is_some() {
            // Tools may be described in the prompt's own language. A word that no tool has would
            // only lower the coverage of the prompt.
            let own = extractor.extract(query.prompt, MAX_TERMS);
            words.extend(own.into_iter().filter(|term| corpus.lexical.contains(term, pool)));
        }
        let terms = corpus.lexical.query_terms(words, pool);
        let scores = corpus.lexical.score(&terms, &norms, pool);
        let has_memory = query.memory.is_some_and(|memory| !memory.is_empty());
        let encoded = encoded.map_or_else(
            || Cow::Owned(models.encode(prompt, vectors.rows() > 0 || has_memory)),
            Cow::Borrowed,
        );
        let clauses = clauses::split(prompt);
        let clauses = scored_clauses(corpus, &clauses, &encoded, &mut extractor, pool);
        let mut columns: [Vec<f32>; SIGNALS.len()] = std::array::from_fn(|_| Vec::new());
        columns[BM25F] = scores.iter().map(|score| score.combined).collect();
        let tables: Vec<_> = encoded
            .table
            .iter()
            .chain(clauses.iter().filter_map(|clause| clause.vectors.table.as_ref()))
            .collect();
        let mut heads = cosines(&corpus.heads, &tables, pool).into_iter();
        columns[STATIC_HEAD] = heads.next().unwrap_or_else(|| pool.zeros());
        columns[ENCODER] =
            encoder_cosines(vectors, encoded.encoder.as_ref(), &columns[STATIC_HEAD], pool);
        let total_idf = terms.iter().map(|term| term.idf).sum();
        let mut fused = fuse_prompt(&columns, &scores, total_idf, pool);
        let by_clause = fuse_clauses(corpus, &clauses, heads, &norms, vectors, pool);
        // A prompt that asks for one thing is its own only clause.
        columns[CLAUSE] = best_clause(&by_clause).unwrap_or_else(|| fused.clone());
        let distributions: [Distribution; SIGNALS.len()] =
            std::array::from_fn(|i| pool.distribution(&columns[i]));
        let whole = pool.distribution(&fused);
        for (fused, clause) in fused.iter_mut().zip(&columns[CLAUSE]) {
            *fused = (1.0 - CLAUSE_SHARE) * whole.z(*fused)
                + CLAUSE_SHARE * distributions[CLAUSE].z(*clause);
        }
        subtract_position_penalty(&mut fused, corpus, &by_clause, pool);
        let memory = query.memory.filter(|_| has_memory).zip(encoded.vector());
        let memory =
            memory.and_then(|(memory, prompt)| MemorySignal::new(corpus, memory, prompt, pool));
        Self { columns, distributions, fused, memory, terms, scores, total_idf }
    }
}

/// The similarity of the prompt to the remembered prompts of each tool.
pub(crate) struct MemorySignal {
    /// `None` for a tool without remembered prompts.
    pub(crate) tools: Vec<Option<f32>>,
    /// The share of the visible tools that have remembered prompts.
    pub(crate) share: f32,
    /// The highest similarity.
    pub(crate) best: f32,
}

impl MemorySignal {
    /// `None` if no visible tool has remembered prompts.
    fn new(corpus: &Corpus, memory: &Memory, prompt: &Vector, pool: &Pool) -> Option<Self> {
        let mut tools = vec![None; pool.visible.len()];
        let (mut known, mut best) = (0, 0.0_f32);
        for &id in &pool.ids {
            let similarity = memory.similarity(&corpus.digests[id as usize], prompt);
            known += usize::from(similarity.is_some());
            best = best.max(similarity.unwrap_or_default());
            tools[id as usize] = similarity;
        }
        (known > 0).then(|| Self { tools, share: known as f32 / pool.ids.len() as f32, best })
    }

    /// The similarities as a column, 0 for tools without remembered prompts.
    pub(crate) fn column(&self) -> Vec<f32> {
        self.tools.iter().map(|similarity| similarity.unwrap_or_default()).collect()
    }
}

/// A clause of the prompt that is scored by itself.
struct Clause<'a> {
    terms: Vec<QueryTerm>,
    vectors: Cow<'a, ClauseVectors>,
}

/// The clauses of a prompt that have at least two terms. Empty if the prompt is one clause.
fn scored_clauses<'a>(
    corpus: &Corpus,
    clauses: &[&str],
    encoded: &'a PromptVectors,
    extractor: &mut TermExtractor,
    pool: &Pool,
) -> Vec<Clause<'a>> {
    let mut scored = Vec::new();
    for (number, clause) in clauses.iter().enumerate().filter(|_| clauses.len() > 1) {
        let terms = corpus.lexical.query_terms(extractor.extract(clause, MAX_TERMS), pool);
        if terms.len() >= 2 {
            let vectors = encoded.clauses.get(number).map_or_else(Cow::default, Cow::Borrowed);
            scored.push(Clause { terms, vectors });
        }
    }
    scored
}

/// The fixed fusion of the signals for the whole prompt.
fn fuse_prompt(
    columns: &[Vec<f32>; SIGNALS.len()],
    scores: &[Scores],
    total_idf: f32,
    pool: &Pool,
) -> Vec<f32> {
    let share = if total_idf > 0.0 { 1.0 / total_idf } else { 0.0 };
    let cover: Vec<f32> = scores.iter().map(|score| score.cover[0] * share).collect();
    let (reference, cap) = COVERAGE_SCALE;
    let best_cover = pool.ids.iter().map(|&id| cover[id as usize]).fold(0.0, f32::max);
    let scale = (best_cover / reference).min(cap);
    let [bm25f, coverage] = LEXICAL_WEIGHTS.map(|weight| weight * scale);
    let [heads, encoder] = VECTOR_WEIGHTS.map(|(column, weight)| (&columns[column], weight));
    fuse([(&columns[BM25F], bm25f), (&cover, coverage), heads, encoder], pool)
}

/// A column for each clause, in standard deviations. `heads` are the clauses' cosines by the
/// static table.
fn fuse_clauses(
    corpus: &Corpus,
    clauses: &[Clause<'_>],
    mut heads: impl Iterator<Item = Vec<f32>>,
    norms: &[Norms],
    vectors: &Matrix,
    pool: &Pool,
) -> Vec<Vec<f32>> {
    let column = |clause: &Clause<'_>| {
        let words = corpus.lexical.combined(&clause.terms, norms, pool);
        let heads = heads.next().unwrap_or_else(|| pool.zeros());
        let encoder = encoder_cosines(vectors, clause.vectors.encoder.as_ref(), &heads, pool);
        let [of_words, of_heads, of_encoder] = CLAUSE_WEIGHTS;
        let mut fused =
            fuse([(&words, of_words), (&heads, of_heads), (&encoder, of_encoder)], pool);
        let distribution = pool.distribution(&fused);
        for value in &mut fused {
            *value = distribution.z(*value);
        }
        fused
    };
    clauses.iter().map(column).collect()
}

/// The value of each tool in the clause that it fits best. `None` without clauses.
fn best_clause(by_clause: &[Vec<f32>]) -> Option<Vec<f32>> {
    let best = |mut best: Vec<f32>, clause: Vec<f32>| {
        best.iter_mut().zip(clause).for_each(|(best, clause)| *best = best.max(clause));
        best
    };
    by_clause.iter().cloned().reduce(best)
}

/// Subtracts [`POSITION_PENALTY`] by each tool's position in the clause that it fits best. Twins
/// share a position.
fn subtract_position_penalty(
    fused: &mut [f32],
    corpus: &Corpus,
    by_clause: &[Vec<f32>],
    pool: &Pool,
) {
    if by_clause.is_empty() {
        return;
    }
    let mut positions = vec![POSITIONS; fused.len()];
    for clause in by_clause {
        let sums: Vec<f32> =
            clause.iter().zip(&*fused).map(|(clause, whole)| clause + whole).collect();
        let mut taken = HashMap::new();
        for id in pool.best(&sums, POSITIONS, f32::MIN) {
            let next = taken.len();
            let position = *taken.entry(corpus.twin_of[id as usize]).or_insert(next);
            positions[id as usize] = positions[id as usize].min(position);
        }
    }
    for (fused, position) in fused.iter_mut().zip(positions) {
        *fused -= POSITION_PENALTY * (position as f32).ln_1p();
    }
}

/// The weighted sum of signals, each in standard deviations above its mean.
fn fuse<const N: usize>(signals: [(&Vec<f32>, f32); N], pool: &Pool) -> Vec<f32> {
    let mut fused = pool.zeros();
    for (column, weight) in signals {
        let distribution = pool.distribution(column);
        for (fused, value) in fused.iter_mut().zip(column) {
            *fused += weight * distribution.z(*value);
        }
    }
    fused
}

/// A column of cosines for each vector. Reads the matrix once for all of them.
fn cosines(matrix: &Matrix, vectors: &[&Vector], pool: &Pool) -> Vec<Vec<f32>> {
    let mut columns = vec![pool.zeros(); vectors.len()];
    matrix.cosines(&pool.ids, vectors, |place, vector, value| {
        columns[vector][pool.ids[place] as usize] = value;
    });
    columns
}

fn cosine(matrix: &Matrix, vector: Option<&Vector>, pool: &Pool) -> Vec<f32> {
    cosines(matrix, vector.as_slice(), pool).pop().unwrap_or_else(|| pool.zeros())
}

/// The transformer's cosines. A tool whose vector has not arrived yet gets its cosine by the static
/// table (`heads`), shifted to the mean of the transformer's.
fn encoder_cosines(
    vectors: &Matrix,
    prompt: Option<&Vector>,
    heads: &[f32],
    pool: &Pool,
) -> Vec<f32> {
    let mut column = cosine(vectors, prompt, pool);
    if prompt.is_none() {
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
