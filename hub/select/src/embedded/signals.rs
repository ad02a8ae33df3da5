//! What each signal says of every tool that can be seen.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::embedded::clauses;
use crate::embedded::index::{Ask, Inner};
use crate::embedded::lexical::{Asked, Norms, Scores};
use crate::embedded::memory::Memory;
use crate::embedded::models::{Models, Read, ReadPart};
use crate::embedded::pool::{Pool, Spread};
use crate::embedded::vector::{Matrix, Vector};
use crate::embedded::words::Terms;

/// Signals that are known of the whole pool, in the order of [`Signals::columns`].
pub const POOLED: [&str; 4] = ["bm25f", "static_head", "encoder", "clause"];
/// Columns by name.
pub const BM25F: usize = 0;
pub const STATIC_HEAD: usize = 1;
pub const ENCODER: usize = 2;
pub const CLAUSE: usize = 3;

/// Most words of a prompt that are read.
const WORDS: usize = 512;
/// What each signal counts in the fixed fusion.
const FUSION: [(usize, f32); 2] = [(STATIC_HEAD, 1.0), (ENCODER, 2.5)];
/// What words count in it: their score, and the share of the prompt that they are.
const WORDS_FUSED: [f32; 2] = [1.0, 0.9];
/// They count so much where some tool has this share of the prompt, less where none has, and more to a bound where one
/// has more: when tools are put in other words than prompts, the words they have in common are chance.
const SAID: (f32, f32) = (0.45, 1.5);
/// The same in a part of a prompt: words, table, transformer.
const FUSED_PARTS: [f32; 3] = [1.0, 0.6, 2.0];
/// What the parts of a prompt count in it, beside the whole.
const PARTS: f32 = 0.4;
/// What it costs a tool to be behind others in the part that it fits best: each part has tools among the first.
const BEHIND: f32 = 1.2;
/// How many of a part have a place; all others are one behind them.
const PLACES: usize = 60;

/// Every signal, and the prompt as they read it.
pub struct Signals {
    /// A column a signal, a value a tool.
    pub columns: [Vec<f32>; POOLED.len()],
    /// How each lies in the pool.
    pub spreads: [Spread; POOLED.len()],
    /// The columns in one: deviations above the mean, weighted.
    pub fused: Vec<f32>,
    /// What remembered prompts say, where there are some of a tool that can be seen.
    pub memory: Option<Likeness>,
    /// The prompt's terms.
    pub asked: Vec<Asked>,
    /// What the lexical index says.
    pub scores: Vec<Scores>,
    /// Sum of the terms' rarity.
    pub rarity: f32,
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
        let english = models.english(ask.prompt);
        let prompt = english.as_deref().unwrap_or(ask.prompt);
        let mut words = terms.of(prompt, WORDS);
        if english.is_some() {
            // Tools may be described in the prompt's own language. Where none is, its words say nothing.
            words.extend(
                terms
                    .of(ask.prompt, WORDS)
                    .into_iter()
                    .filter(|term| index.lexical.knows(term, pool)),
            );
        }
        let asked = index.lexical.ask(words, pool);
        let scores = index.lexical.score(&asked, &norms, pool);
        let remembers = ask.memory.is_some_and(|memory| !memory.is_empty());
        let read = known.map_or_else(
            || Cow::Owned(models.read_by(prompt, vectors.rows() > 0 || remembers)),
            Cow::Borrowed,
        );
        let clauses = clauses::of(prompt);
        let parts = parts(index, &clauses, &read, &mut terms, pool);
        let mut columns: [Vec<f32>; POOLED.len()] = std::array::from_fn(|_| Vec::new());
        columns[BM25F] = scores.iter().map(|score| score.combined).collect();
        let tables: Vec<_> = read
            .table
            .iter()
            .chain(parts.iter().filter_map(|part| part.read.table.as_ref()))
            .collect();
        let mut heads = cosines(&index.heads, &tables, pool).into_iter();
        columns[STATIC_HEAD] = heads.next().unwrap_or_else(|| pool.zeros());
        columns[ENCODER] = meanings(vectors, read.meaning.as_ref(), &columns[STATIC_HEAD], pool);
        let rarity = asked.iter().map(|asked| asked.idf).sum();
        let mut fused = whole_prompt(&columns, &scores, rarity, pool);
        let by_part = by_part(index, &parts, heads, &norms, vectors, pool);
        // A prompt that asks for one thing is its only part.
        columns[CLAUSE] = best_of(&by_part).unwrap_or_else(|| fused.clone());
        let spreads: [Spread; POOLED.len()] = std::array::from_fn(|i| pool.spread(&columns[i]));
        let together = pool.spread(&fused);
        for (fused, clause) in fused.iter_mut().zip(&columns[CLAUSE]) {
            *fused = (1.0 - PARTS) * together.z(*fused) + PARTS * spreads[CLAUSE].z(*clause);
        }
        put_behind(&mut fused, index, &by_part, pool);
        let memory = ask.memory.filter(|_| remembers).zip(read.vector());
        let memory = memory.and_then(|(memory, prompt)| Likeness::new(index, memory, prompt, pool));
        Self { columns, spreads, fused, memory, asked, scores, rarity }
    }
}

/// How like the prompt is to those that are remembered of each tool.
pub struct Likeness {
    /// `None` where none are.
    pub tools: Vec<Option<f32>>,
    /// Share of the tools that can be seen of which some are.
    pub share: f32,
    /// The greatest.
    pub best: f32,
}

impl Likeness {
    fn new(index: &Inner, memory: &Memory, prompt: &Vector, pool: &Pool) -> Option<Self> {
        let mut tools = vec![None; pool.seen.len()];
        let (mut known, mut best) = (0, 0.0_f32);
        for &id in &pool.ids {
            let of = memory.score(&index.digests[id as usize], prompt);
            known += usize::from(of.is_some());
            best = best.max(of.unwrap_or_default());
            tools[id as usize] = of;
        }
        (known > 0).then(|| Self { tools, share: known as f32 / pool.ids.len() as f32, best })
    }

    /// As a signal: nothing where none are remembered.
    pub fn column(&self) -> Vec<f32> {
        self.tools.iter().map(|likeness| likeness.unwrap_or_default()).collect()
    }
}

/// A part of the prompt that says something of its own.
struct Part<'a> {
    asked: Vec<Asked>,
    read: Cow<'a, ReadPart>,
}

/// The parts of a prompt; none when there is one part only.
fn parts<'a>(
    index: &Inner,
    clauses: &[&str],
    read: &'a Read,
    terms: &mut Terms,
    pool: &Pool,
) -> Vec<Part<'a>> {
    let mut parts = Vec::new();
    for (number, clause) in clauses.iter().enumerate().filter(|_| clauses.len() > 1) {
        let asked = index.lexical.ask(terms.of(clause, WORDS), pool);
        if asked.len() >= 2 {
            parts.push(Part {
                asked,
                read: read.parts.get(number).map_or_else(Cow::default, Cow::Borrowed),
            });
        }
    }
    parts
}

/// The fixed fusion of what is said of the whole prompt.
fn whole_prompt(
    columns: &[Vec<f32>; POOLED.len()],
    scores: &[Scores],
    rarity: f32,
    pool: &Pool,
) -> Vec<f32> {
    let share = if rarity > 0.0 { 1.0 / rarity } else { 0.0 };
    let cover: Vec<f32> = scores.iter().map(|score| score.cover[0] * share).collect();
    let (half, most) = SAID;
    let said = (pool.ids.iter().map(|&id| cover[id as usize]).fold(0.0, f32::max) / half).min(most);
    let [of_words, of_cover] = WORDS_FUSED.map(|weight| weight * said);
    let [heads, meanings] = FUSION.map(|(column, weight)| (&columns[column], weight));
    fusion([(&columns[BM25F], of_words), (&cover, of_cover), heads, meanings], pool)
}

/// What each part of the prompt says of each tool, in deviations; nothing without parts.
fn by_part(
    index: &Inner,
    parts: &[Part<'_>],
    mut heads: impl Iterator<Item = Vec<f32>>,
    norms: &[Norms],
    vectors: &Matrix,
    pool: &Pool,
) -> Vec<Vec<f32>> {
    let of = |part: &Part<'_>| {
        let words = index.lexical.combined(&part.asked, norms, pool);
        let heads = heads.next().unwrap_or_else(|| pool.zeros());
        let meanings = meanings(vectors, part.read.meaning.as_ref(), &heads, pool);
        let [of_words, of_heads, of_meanings] = FUSED_PARTS;
        let mut part =
            fusion([(&words, of_words), (&heads, of_heads), (&meanings, of_meanings)], pool);
        let spread = pool.spread(&part);
        for value in &mut part {
            *value = spread.z(*value);
        }
        part
    };
    parts.iter().map(of).collect()
}

/// What the part says that a tool fits best; `None` without parts.
fn best_of(parts: &[Vec<f32>]) -> Option<Vec<f32>> {
    let best = |mut best: Vec<f32>, part: Vec<f32>| {
        best.iter_mut().zip(part).for_each(|(best, part)| *best = best.max(part));
        best
    };
    parts.iter().cloned().reduce(best)
}

/// Takes from each tool for the others that are before it in the part that it fits best; twins share a place.
fn put_behind(fused: &mut [f32], index: &Inner, parts: &[Vec<f32>], pool: &Pool) {
    if parts.is_empty() {
        return;
    }
    let mut places = vec![PLACES; fused.len()];
    for part in parts {
        let fits: Vec<f32> = part.iter().zip(&*fused).map(|(part, whole)| part + whole).collect();
        let mut taken = HashMap::new();
        for id in pool.best(&fits, PLACES, f32::MIN) {
            let next = taken.len();
            let place = *taken.entry(index.twin_of[id as usize]).or_insert(next);
            places[id as usize] = places[id as usize].min(place);
        }
    }
    for (fused, place) in fused.iter_mut().zip(places) {
        *fused -= BEHIND * (place as f32).ln_1p();
    }
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
    matrix.cosines(&pool.ids, vectors, |place, vector, value| {
        columns[vector][pool.ids[place] as usize] = value
    });
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
