//! The search index over a catalog, and the ranking of its tools for a prompt.

use std::sync::Arc;

use super::corpus::Corpus;
use super::doc::{Digest, Doc};
use super::feature_names::{BM25F, CLAUSE, ENCODER, STATIC_HEAD, STATISTICS};
use super::features::{self, CandidateFeatures};
use super::models::Models;
use super::pool::Pool;
use super::prompt_vectors::PromptVectors;
use super::query::Query;
use super::signals::Signals;
use super::vector::{Matrix, Vector};

/// How many tools become candidates for the ranker by the fused score. It bounds the time of a
/// ranking. At least twice the limit of the query is taken. No measurement of other values is
/// recorded.
const FUSED_CANDIDATES: usize = 64;
/// How many tools become candidates by each single signal, so that a tool that one signal alone
/// finds is not lost in the fusion. No measurement of other values is recorded.
const SIGNAL_CANDIDATES: usize = 16;
/// The most twins of one candidate that become candidates too.
const MAX_TWINS: usize = 8;
/// Two tools of different servers count as duplicates if their names have the same words and the
/// cosine of their static vectors is above this. Range: -1 to 1. The lower it is, the more tools
/// are moved behind the others.
const DUPLICATE_COSINE: f32 = 0.85;

/// How remembered prompts change the score of a tool.
///
/// Most tools have no remembered prompts. Without a correction, a tool with many of them would
/// push aside the right tool that nobody has asked for yet. So the prompts of a tool count only by
/// how much more similar they are to the prompt than the tool's own text leads to expect. The
/// expected similarity is `intercept + slope * text`, where `text` is the cosine of prompt and
/// tool.
///
/// The form was chosen among some 55 on `MetaTool`, see "Remembered prompts" in
/// `tests/bench/MODELS.md`.
struct MemoryBlend {
    intercept: f32,
    slope: f32,
}

/// Fitted to similarities by the transformer.
const MEMORY_FULL: MemoryBlend = MemoryBlend { intercept: 0.12, slope: 0.78 };
/// Fitted to similarities by the static table.
const MEMORY_STATIC: MemoryBlend = MemoryBlend { intercept: 0.11, slope: 0.68 };
/// The weight of the similarity, which lies between 0 and 1, against the learned score, which is
/// in standard deviations.
const MEMORY_WEIGHT: f32 = 14.0;
/// The weight of the learned score if every tool has remembered prompts. It falls from 1 with the
/// square of the share of such tools. Range: 0 (memory alone decides) to 1 (no change).
const LEARNED_SHARE: f32 = 0.3;
/// How much above the expected similarity a tool without remembered prompts is rated. At 0, every
/// tool with an average history would rank above it.
const UNKNOWN_BONUS: f32 = 0.03;

impl MemoryBlend {
    /// The score of a tool. `text` is the similarity of the prompt to the tool's own text,
    /// `prompts` the similarity to its remembered prompts (`None` if there are none), and `share`
    /// the share of visible tools that have any.
    fn score(&self, learned: f32, text: f32, prompts: Option<f32>, share: f32) -> f32 {
        let expected = self.intercept + self.slope * text;
        let similarity = prompts.map_or(expected + UNKNOWN_BONUS, |prompts| prompts.max(expected));
        let usual = self.intercept + UNKNOWN_BONUS + self.slope * (1.0 - share) * text;
        learned * (1.0 - (1.0 - LEARNED_SHARE) * share * share)
            + MEMORY_WEIGHT * (similarity - usual)
    }
}

/// A tool that may fit the prompt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// The position in the slice that the index was built from.
    pub doc: usize,
    /// The estimated probability that the tool fits, 0 to 1.
    pub score: f32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ToolRanking {
    /// Best first.
    pub hits: Vec<Hit>,
    /// Whether any tool is likely to fit.
    pub fits: bool,
    /// The estimated probability that any tool fits, 0 to 1.
    pub fit_score: f32,
}

/// The inputs of the ranker and the floor for one query. They are trained on these.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// Positions of the candidates and their features, best first.
    pub candidates: Vec<(usize, Vec<f32>)>,
    /// Statistics of the ranking.
    pub statistics: Vec<f32>,
}

/// The search index. It has words and static vectors from the start. Vectors of the transformer
/// are added as they arrive.
#[derive(Clone)]
pub struct Index {
    corpus: Arc<Corpus>,
    vectors: Arc<Matrix>,
}

impl Index {
    /// Indexes the tools. Takes milliseconds per hundred tools.
    pub fn build(docs: &[Doc<'_>], models: &Models) -> Self {
        let corpus = Corpus::build(docs, models);
        Self { corpus: Arc::new(corpus), vectors: Arc::new(Matrix::default()) }
    }

    /// The number of tools.
    pub fn len(&self) -> usize {
        self.corpus.digests.len()
    }

    pub fn is_empty(&self) -> bool {
        self.corpus.digests.is_empty()
    }

    /// The digest of each tool, in order.
    pub fn digests(&self) -> &[Digest] {
        &self.corpus.digests
    }

    /// The same index with these vectors of the transformer. Tools without one are ranked by the
    /// static table.
    #[must_use]
    pub fn with_vectors(&self, vectors: impl Fn(&Digest) -> Option<Arc<Vector>>) -> Self {
        let found: Vec<_> = self.corpus.digests.iter().map(vectors).collect();
        let dimensions =
            found.iter().flatten().map(|vector| vector.dimensions()).max().unwrap_or_default();
        let mut matrix = Matrix::new(dimensions);
        if dimensions > 0 {
            for vector in &found {
                matrix.push_vector(vector.as_deref());
            }
        }
        Self { corpus: Arc::clone(&self.corpus), vectors: Arc::new(matrix) }
    }

    /// The number of tools that have a vector of the transformer.
    pub fn vectors(&self) -> usize {
        (0..self.vectors.rows()).filter(|&row| self.vectors.has(row)).count()
    }

    /// The cosine of two tools, by the transformer if both have its vectors, else by the static
    /// table.
    pub fn similarity(&self, one: usize, other: usize) -> f32 {
        let vectors = if self.vectors.has(one) && self.vectors.has(other) {
            &self.vectors
        } else {
            &self.corpus.heads
        };
        vectors.between(one, other)
    }

    /// Ranks the visible tools. The same input always gives the same ranking.
    pub fn rank(&self, models: &Models, query: &Query<'_>) -> ToolRanking {
        self.rank_with(models, query, None)
    }

    /// Like [`Self::rank`], with the prompt's vectors from [`Models::encode_prompt`].
    pub fn rank_encoded(
        &self,
        models: &Models,
        query: &Query<'_>,
        prompt: &PromptVectors,
    ) -> ToolRanking {
        self.rank_with(models, query, Some(prompt))
    }

    fn rank_with(
        &self,
        models: &Models,
        query: &Query<'_>,
        prompt: Option<&PromptVectors>,
    ) -> ToolRanking {
        let (ranked, statistics) = self.score(models, query, prompt);
        let (fit_score, fits) =
            models.floor.fit(&statistics, features::memory_evidence(&statistics));
        let log_pool = features::log_pool(&statistics);
        let hits = self.demote_duplicates(&ranked, query.limit);
        let hits = hits
            .into_iter()
            .map(|(doc, score)| Hit { doc, score: models.floor.hit_probability(score, log_pool) })
            .collect();
        let fits = fits && !ranked.is_empty() && !features::is_unrelated(&statistics);
        ToolRanking { hits, fits, fit_score }
    }

    pub fn trace(&self, models: &Models, query: &Query<'_>, prompt: &PromptVectors) -> Trace {
        let (ranked, statistics) = self.score(models, query, Some(prompt));
        Trace {
            candidates: ranked.into_iter().map(|(c, _)| (c.doc, c.features)).collect(),
            statistics,
        }
    }

    /// The candidates with their scores, best first, and the statistics of the ranking.
    fn score(
        &self,
        models: &Models,
        query: &Query<'_>,
        prompt: Option<&PromptVectors>,
    ) -> (Vec<(CandidateFeatures, f32)>, Vec<f32>) {
        let pool = Pool::new(self.len(), query);
        if query.prompt.trim().is_empty() || pool.ids.is_empty() {
            return (Vec::new(), vec![0.0; STATISTICS.len()]);
        }
        let signals = Signals::new(&self.corpus, &self.vectors, models, (query, prompt), &pool);
        let ids = self.candidates(&signals, &pool, query.limit);
        let candidates = features::candidates(&self.corpus, &signals, &pool, &ids);
        let (blend, texts) = if models.is_full() {
            (MEMORY_FULL, &signals.columns[ENCODER])
        } else {
            (MEMORY_STATIC, &signals.columns[STATIC_HEAD])
        };
        let mut ranked: Vec<(CandidateFeatures, f32)> = candidates
            .into_iter()
            .map(|candidate| {
                let doc = candidate.doc;
                let learned = models.ranker.score(&candidate.features);
                let score = match &signals.memory {
                    Some(memory) => {
                        blend.score(learned, texts[doc], memory.tools[doc], memory.share)
                    }
                    None => learned,
                };
                (candidate, score)
            })
            .collect();
        ranked.sort_by(|(a, x), (b, y)| y.total_cmp(x).then(a.doc.cmp(&b.doc)));
        let statistics = features::statistics(&signals, &pool, &ranked);
        (ranked, statistics)
    }

    /// The tools that any signal puts among its best, and their twins.
    fn candidates(&self, signals: &Signals, pool: &Pool, limit: usize) -> Vec<u32> {
        let mut ids =
            pool.best(&signals.fused, FUSED_CANDIDATES.max(limit.saturating_mul(2)), f32::MIN);
        for column in [BM25F, STATIC_HEAD, ENCODER, CLAUSE] {
            ids.extend(pool.best(&signals.columns[column], SIGNAL_CANDIDATES, 0.0));
        }
        if let Some(memory) = &signals.memory {
            ids.extend(pool.best(&memory.column(), SIGNAL_CANDIDATES, 0.0));
        }
        let twins: Vec<u32> = ids
            .iter()
            .flat_map(|&id| {
                let twins = self.corpus.twins(id as usize);
                twins.filter(|&twin| pool.visible[twin as usize]).take(MAX_TWINS)
            })
            .collect();
        ids.extend(twins);
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The first `limit` tools. A duplicate of a better tool comes after all others.
    fn demote_duplicates(
        &self,
        ranked: &[(CandidateFeatures, f32)],
        limit: usize,
    ) -> Vec<(usize, f32)> {
        let corpus = &self.corpus;
        let mut first: Vec<(usize, f32)> = Vec::new();
        let mut duplicates = Vec::new();
        for (candidate, score) in ranked {
            if first.len() >= limit {
                break;
            }
            let doc = candidate.doc;
            // Two tools of one server are duplicates only if their names are equal: then they are
            // versions of one tool. If the names differ, even in a dot, the server means two
            // tools.
            let is_duplicate = |&(other, _): &(usize, f32)| {
                if corpus.server_of[doc] == corpus.server_of[other] {
                    corpus.name_of[doc] == corpus.name_of[other]
                } else {
                    corpus.twin_of[doc] == corpus.twin_of[other]
                        && corpus.heads.between(doc, other) > DUPLICATE_COSINE
                }
            };
            let list = if first.iter().any(is_duplicate) { &mut duplicates } else { &mut first };
            list.push((doc, *score));
        }
        first.extend(duplicates);
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

    // Otherwise a tool that was asked for once would hide a better one that nobody asked for yet.
    #[test]
    fn a_tool_without_remembered_prompts_ranks_a_little_above_one_whose_prompts_are_as_expected() {
        let score = |prompts| MEMORY_FULL.score(5.0, 0.5, prompts, 0.5);
        let expected = MEMORY_FULL.intercept + MEMORY_FULL.slope * 0.5;
        assert!(near(score(None), score(Some(expected + UNKNOWN_BONUS))));
        assert!(score(None) > score(Some(expected)) && score(None) < score(Some(expected + 0.1)));
    }

    #[test]
    fn dissimilar_remembered_prompts_do_not_lower_a_score() {
        let score = |prompts| MEMORY_FULL.score(5.0, 0.5, Some(prompts), 0.5);
        assert!(near(score(0.0), score(0.3)));
    }

    #[test]
    fn the_learned_score_counts_less_the_more_tools_have_remembered_prompts() {
        let gained = |share| {
            MEMORY_FULL.score(6.0, 0.5, None, share) - MEMORY_FULL.score(5.0, 0.5, None, share)
        };
        assert!(
            near(gained(0.0), 1.0) && gained(0.5) < 0.9 && near(gained(1.0), LEARNED_SHARE),
            "{}",
            gained(0.5)
        );
    }
}
