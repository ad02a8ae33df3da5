//! The index over a catalog, and the ranking of it for a prompt.

use std::collections::HashMap;
use std::sync::Arc;

use crate::embedded::doc::{Digest, Doc};
use crate::embedded::features::{self, Candidate};
use crate::embedded::lexical::Lexical;
use crate::embedded::memory::Memory;
use crate::embedded::models::{Models, Read};
use crate::embedded::pool::Pool;
use crate::embedded::signals::{BM25F, CLAUSE, ENCODER, STATIC_HEAD, Signals};
use crate::embedded::table;
use crate::embedded::vector::{Matrix, Vector};
use crate::embedded::words;

/// Candidates by all signals together, and by each alone.
const FUSED: usize = 64;
const ALONE: usize = 16;
/// Tools of one name that are as near as this say the same, whatever their servers: the second adds nothing to the first.
const SAME: f32 = 0.85;

/// What remembered prompts count. A tool that none are remembered of counts as if those were as like the prompt as its
/// own text leads to expect, and a little more: else a tool with many prompts would push aside the right one that was
/// never asked for.
struct Remembered {
    /// What is expected of the likeness of a tool's prompts: so much whatever its text,
    chance: f32,
    /// and so much of the likeness of that.
    own: f32,
}

/// Fitted to likenesses by the transformer, and by the static table.
const REMEMBERED_FULL: Remembered = Remembered { chance: 0.12, own: 0.78 };
const REMEMBERED_STATIC: Remembered = Remembered { chance: 0.11, own: 0.68 };
/// What likeness counts, beside a deviation of the learned score.
const LIKENESS: f32 = 14.0;
/// The learned score where prompts of every tool are remembered: what people say tells more than what tools say.
const LEFT: f32 = 0.3;
/// How much more than expected is supposed of a tool that nothing is remembered of.
const SUPPOSED: f32 = 0.03;

impl Remembered {
    /// The score of a tool: by the learned score, the likeness of its text and of its prompts, where `share` of the tools
    /// have any.
    fn score(&self, learned: f32, text: f32, prompts: Option<f32>, share: f32) -> f32 {
        let expected = self.chance + self.own * text;
        let likeness = prompts.map_or(expected + SUPPOSED, |prompts| prompts.max(expected));
        let usual = self.chance + SUPPOSED + self.own * (1.0 - share) * text;
        learned * (1.0 - (1.0 - LEFT) * share * share) + LIKENESS * (likeness - usual)
    }
}

/// What is asked.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// The prompt; its start counts, what is past the bounds is not read.
    pub prompt: &'a str,
    /// Whether a tool can be seen, by its place in the slice that the index was built from. What cannot be seen moves
    /// no score.
    pub visible: &'a dyn Fn(usize) -> bool,
    /// Most hits.
    pub limit: usize,
    /// What was learned from earlier prompts.
    pub memory: Option<&'a Memory>,
}

/// A tool that may fit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Its place in the slice that the index was built from.
    pub doc: usize,
    /// How likely it fits, 0 to 1.
    pub score: f32,
}

/// The answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    /// Best first.
    pub hits: Vec<Hit>,
    /// Whether anything is likely to fit at all.
    pub fits: bool,
    /// How likely that is, 0 to 1.
    pub fit_score: f32,
}

/// What the ranker and the floor saw: what they are trained on.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// Candidates and their features, best first.
    pub candidates: Vec<(usize, Vec<f32>)>,
    /// Statistics of the answer.
    pub statistics: Vec<f32>,
}

/// What stays the same when vectors arrive.
pub(crate) struct Inner {
    pub(crate) digests: Vec<Digest>,
    pub(crate) lexical: Lexical,
    pub(crate) heads: Matrix,
    pub(crate) server_of: Vec<u32>,
    pub(crate) servers: usize,
    /// Tools whose names are spelled the same.
    pub(crate) twin_of: Vec<u32>,
    twins: Vec<Vec<u32>>,
    /// Tools whose names are the same to the letter.
    name_of: Vec<u32>,
}

impl Inner {
    fn named_as(&self, doc: usize) -> impl Iterator<Item = u32> + '_ {
        self.twins[self.twin_of[doc] as usize].iter().copied()
    }
}

/// The index: words and static vectors from the start, the transformer's as they arrive.
#[derive(Clone)]
pub struct Index {
    inner: Arc<Inner>,
    vectors: Arc<Matrix>,
}

impl Index {
    /// Reads the tools: milliseconds a hundred.
    pub fn build(docs: &[Doc<'_>], models: &Models) -> Self {
        let dimensions = models.table.as_ref().map_or(0, crate::embedded::table::Table::dimensions);
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
            let twin = *by_name.entry(words::spelled(doc.name)).or_insert_with(|| {
                twins.push(Vec::new());
                twins.len() - 1
            });
            twin_of.push(twin as u32);
            twins[twin].push(number);
            if let Some(table) = &models.table {
                let sum = |text: &str| table.sum(&models.pieces.tokens(text, table::TOKENS));
                heads.push(&sum(&models.head(doc)));
            }
        }
        let lexical = Lexical::build(docs, |name| models.split(name), |text| models.english(text));
        let digests = docs.iter().map(Doc::digest).collect();
        let servers = servers.len();
        let inner = Inner { digests, lexical, heads, server_of, servers, twin_of, twins, name_of };
        Self { inner: Arc::new(inner), vectors: Arc::new(Matrix::default()) }
    }

    /// Tools.
    pub fn len(&self) -> usize {
        self.inner.digests.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.inner.digests.is_empty()
    }

    /// What identifies each tool, in order.
    pub fn digests(&self) -> &[Digest] {
        &self.inner.digests
    }

    /// The same with the transformer's vectors that are there by now.
    #[must_use]
    pub fn with_vectors(&self, vectors: impl Fn(&Digest) -> Option<Arc<Vector>>) -> Self {
        let found: Vec<_> = self.inner.digests.iter().map(vectors).collect();
        let dimensions =
            found.iter().flatten().map(|vector| vector.dimensions()).max().unwrap_or_default();
        let mut matrix = Matrix::new(dimensions);
        if dimensions > 0 {
            for vector in &found {
                matrix.push_vector(vector.as_deref());
            }
        }
        Self { inner: Arc::clone(&self.inner), vectors: Arc::new(matrix) }
    }

    /// How many tools have a vector of the transformer.
    pub fn vectors(&self) -> usize {
        (0..self.vectors.rows()).filter(|&row| self.vectors.has(row)).count()
    }

    /// How alike two tools are, by the transformer where both have its vectors, else by the static table.
    pub fn alike(&self, one: usize, other: usize) -> f32 {
        let vectors = if self.vectors.has(one) && self.vectors.has(other) {
            &self.vectors
        } else {
            &self.inner.heads
        };
        vectors.between(one, other)
    }

    /// The tools that fit best, and whether any is likely to. The same input has the same answer.
    pub fn rank(&self, models: &Models, ask: &Ask<'_>) -> Ranked {
        self.answer(models, ask, None)
    }

    /// The same, of a prompt that [`Models::read_prompt`] has read.
    pub fn rank_read(&self, models: &Models, ask: &Ask<'_>, prompt: &Read) -> Ranked {
        self.answer(models, ask, Some(prompt))
    }

    fn answer(&self, models: &Models, ask: &Ask<'_>, prompt: Option<&Read>) -> Ranked {
        let (ranked, statistics) = self.ranked(models, ask, prompt);
        let (fit_score, fits) = models.floor.fit(&statistics, features::remembered(&statistics));
        let pool = features::pool(&statistics);
        let hits = self.apart(&ranked, ask.limit);
        let hits = hits
            .into_iter()
            .map(|(doc, score)| Hit { doc, score: models.floor.hit(score, pool) })
            .collect();
        let fits = fits && !ranked.is_empty() && !features::is_foreign(&statistics);
        Ranked { hits, fits, fit_score }
    }

    /// What the ranker and the floor see.
    pub fn trace(&self, models: &Models, ask: &Ask<'_>, prompt: &Read) -> Trace {
        let (ranked, statistics) = self.ranked(models, ask, Some(prompt));
        Trace {
            candidates: ranked.into_iter().map(|(c, _)| (c.doc, c.features)).collect(),
            statistics,
        }
    }

    fn ranked(
        &self,
        models: &Models,
        ask: &Ask<'_>,
        prompt: Option<&Read>,
    ) -> (Vec<(Candidate, f32)>, Vec<f32>) {
        let pool = Pool::new(self.len(), ask);
        if ask.prompt.trim().is_empty() || pool.ids.is_empty() {
            return (Vec::new(), vec![0.0; features::statistics().len()]);
        }
        let signals = Signals::new(&self.inner, &self.vectors, models, (ask, prompt), &pool);
        let ids = self.candidates(&signals, &pool, ask.limit);
        let found = features::candidates(&self.inner, &signals, &pool, &ids);
        let (remembered, texts) = if models.is_full() {
            (REMEMBERED_FULL, &signals.columns[ENCODER])
        } else {
            (REMEMBERED_STATIC, &signals.columns[STATIC_HEAD])
        };
        let mut ranked: Vec<(Candidate, f32)> = found
            .into_iter()
            .map(|candidate| {
                let doc = candidate.doc;
                let learned = models.ranker.score(&candidate.features);
                let score = match &signals.memory {
                    Some(memory) => {
                        remembered.score(learned, texts[doc], memory.tools[doc], memory.share)
                    }
                    None => learned,
                };
                (candidate, score)
            })
            .collect();
        ranked.sort_by(|(a, x), (b, y)| y.total_cmp(x).then(a.doc.cmp(&b.doc)));
        let statistics = features::statistics_of(&signals, &pool, &ranked);
        (ranked, statistics)
    }

    /// Tools that any signal puts among its best, and their twins.
    fn candidates(&self, signals: &Signals, pool: &Pool, limit: usize) -> Vec<u32> {
        let mut ids = pool.best(&signals.fused, FUSED.max(limit.saturating_mul(2)), f32::MIN);
        for column in [BM25F, STATIC_HEAD, ENCODER, CLAUSE] {
            ids.extend(pool.best(&signals.columns[column], ALONE, 0.0));
        }
        if let Some(memory) = &signals.memory {
            ids.extend(pool.best(&memory.column(), ALONE, 0.0));
        }
        let twins: Vec<u32> = ids
            .iter()
            .flat_map(|&id| {
                self.inner.named_as(id as usize).filter(|&twin| pool.seen[twin as usize]).take(8)
            })
            .collect();
        ids.extend(twins);
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The first `limit`: what says the same as one above it comes after the others.
    fn apart(&self, ranked: &[(Candidate, f32)], limit: usize) -> Vec<(usize, f32)> {
        let mut first: Vec<(usize, f32)> = Vec::new();
        let mut after = Vec::new();
        for (candidate, score) in ranked {
            if first.len() >= limit {
                break;
            }
            let doc = candidate.doc;
            // A server has one tool of a name: two are versions of it. What it names otherwise, if only by a dot, is
            // another tool.
            let same = |&(other, _): &(usize, f32)| {
                if self.inner.server_of[doc] == self.inner.server_of[other] {
                    self.inner.name_of[doc] == self.inner.name_of[other]
                } else {
                    self.inner.twin_of[doc] == self.inner.twin_of[other]
                        && self.inner.heads.between(doc, other) > SAME
                }
            };
            if first.iter().any(same) { &mut after } else { &mut first }.push((doc, *score));
        }
        first.extend(after);
        first.truncate(limit);
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f32, b: f32) -> bool {
        (a - b).abs() < 1e-4
    }

    // Else what somebody asked for once would hide what nobody asked for yet.
    #[test]
    fn a_tool_that_nothing_is_remembered_of_stands_a_little_above_one_whose_prompts_are_as_like_as_its_text()
     {
        let score = |prompts| REMEMBERED_FULL.score(5.0, 0.5, prompts, 0.5);
        let expected = REMEMBERED_FULL.chance + REMEMBERED_FULL.own * 0.5;
        assert!(near(score(None), score(Some(expected + SUPPOSED))));
        assert!(score(None) > score(Some(expected)) && score(None) < score(Some(expected + 0.1)));
    }

    #[test]
    fn prompts_that_are_unlike_take_nothing_from_what_a_tools_own_text_says() {
        let score = |prompts| REMEMBERED_FULL.score(5.0, 0.5, Some(prompts), 0.5);
        assert!(near(score(0.0), score(0.3)));
    }

    #[test]
    fn the_more_tools_have_prompts_the_less_the_learned_score_counts() {
        let gained = |share| {
            REMEMBERED_FULL.score(6.0, 0.5, None, share)
                - REMEMBERED_FULL.score(5.0, 0.5, None, share)
        };
        assert!(
            near(gained(0.0), 1.0) && gained(0.5) < 0.9 && near(gained(1.0), LEFT),
            "{}",
            gained(0.5)
        );
    }
}
