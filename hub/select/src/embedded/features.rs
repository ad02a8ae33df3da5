//! The features of a candidate for the ranker, and the statistics of a whole ranking for the floor.

use super::corpus::Corpus;
use super::feature_names::{
    BIGRAMS, COVER, ENCODER, LOG_POOL, MEMORY_FIRST, MEMORY_SHARE, NAME_COVER, OTHER_FEATURES,
    STATIC_HEAD, STATISTICS,
};
use super::lexical::QueryTerm;
use super::pool::Pool;
use super::server_scores::server_scores;
use super::signals::Signals;

/// The most word pairs of a prompt that are looked for in a tool. It bounds the time of a long
/// prompt.
const MAX_PAIRS: usize = 64;

pub(crate) struct CandidateFeatures {
    /// The position of the tool in the index.
    pub(crate) doc: usize,
    /// In the order of `feature_names()`.
    pub(crate) features: Vec<f32>,
}

pub(crate) fn candidates(
    corpus: &Corpus,
    signals: &Signals,
    pool: &Pool,
    ids: &[u32],
) -> Vec<CandidateFeatures> {
    let terms = TermLookup::new(corpus, &signals.terms);
    let servers = server_scores(corpus, signals, pool);
    let candidate = |&id: &u32| {
        let doc = id as usize;
        let z = signals
            .columns
            .iter()
            .zip(&signals.distributions)
            .map(|(column, distribution)| distribution.z(column[doc]));
        let others = other_features(corpus, signals, pool, (&servers, &terms), doc);
        CandidateFeatures { doc, features: others.into_iter().chain(z).collect() }
    };
    ids.iter().map(candidate).collect()
}

/// In the order of [`OTHER_FEATURES`].
fn other_features(
    corpus: &Corpus,
    signals: &Signals,
    pool: &Pool,
    (servers, terms): (&[f32], &TermLookup),
    doc: usize,
) -> [f32; OTHER_FEATURES.len()] {
    let cover = signals.scores[doc]
        .cover
        .map(|part| if signals.total_idf > 0.0 { part / signals.total_idf } else { 0.0 });
    let name = corpus.lexical.name(doc);
    let in_prompt = name.iter().filter(|&&term| terms.contains(term)).count();
    let name_cover = if name.is_empty() { 0.0 } else { in_prompt as f32 / name.len() as f32 };
    [
        signals.fused[doc],
        cover[0],
        cover[1],
        name_cover,
        f32::from(u8::from(!name.is_empty() && in_prompt == name.len())),
        terms.bigrams(corpus.lexical.head(doc)),
        servers[corpus.server_of[doc] as usize],
        (pool.ids.len() as f32).ln_1p(),
    ]
}

/// The prompt's terms, for lookups.
struct TermLookup {
    /// Whether the prompt has a term, by the number of the term.
    terms: Vec<bool>,
    /// Terms that follow each other in the prompt.
    pairs: Vec<[u32; 2]>,
}

impl TermLookup {
    fn new(corpus: &Corpus, query_terms: &[QueryTerm]) -> Self {
        let mut terms = vec![false; corpus.lexical.terms()];
        query_terms.iter().filter_map(|query| query.term).for_each(|t| terms[t as usize] = true);
        let pairs = query_terms
            .windows(2)
            .take(MAX_PAIRS)
            .filter_map(|pair| Some([pair[0].term?, pair[1].term?]))
            .collect();
        Self { terms, pairs }
    }

    fn contains(&self, term: u32) -> bool {
        self.terms[term as usize]
    }

    /// The number of different word pairs that are in the prompt and in this head of a tool.
    fn bigrams(&self, head: &[u32]) -> f32 {
        let both = head.windows(2).filter(|pair| self.contains(pair[0]) && self.contains(pair[1]));
        let mut found: Vec<&[u32]> =
            both.filter(|pair| self.pairs.iter().any(|known| known.as_slice() == *pair)).collect();
        found.sort_unstable();
        found.dedup();
        found.len() as f32
    }
}

/// The statistics of a ranking, in the order of [`STATISTICS`]. `ranked` holds the candidates and
/// their scores, best first.
pub(crate) fn statistics(
    signals: &Signals,
    pool: &Pool,
    ranked: &[(CandidateFeatures, f32)],
) -> Vec<f32> {
    let Some((first, _)) = ranked.first() else { return vec![0.0; STATISTICS.len()] };
    let top = &ranked[..ranked.len().min(10)];
    let last = top.last().map_or(first, |(candidate, _)| candidate);
    let best = |feature: usize| {
        top.iter().map(|(candidate, _)| candidate.features[feature]).fold(f32::MIN, f32::max)
    };
    let first_of = |signal: usize| signals.columns[signal][first.doc];
    let best_of = |signal: usize| signals.distributions[signal].best.max(-1.0);
    let memory = signals.memory.as_ref();
    vec![
        signals.fused[first.doc] - signals.fused[last.doc],
        first.features[COVER],
        best(COVER),
        first.features[NAME_COVER],
        best(BIGRAMS),
        first_of(STATIC_HEAD),
        best_of(STATIC_HEAD),
        first_of(ENCODER),
        best_of(ENCODER),
        memory.map_or(0.0, |memory| memory.best),
        (pool.ids.len() as f32).ln_1p(),
        memory.and_then(|memory| memory.tools[first.doc]).unwrap_or_default(),
        memory.map_or(0.0, |memory| memory.share),
    ]
}

/// Statistics that are all below their bound if nothing in the catalog is related to the prompt:
/// position, name, bound. How the bounds were chosen is not recorded.
const UNRELATED: [(usize, &str, f32); 4] = [
    (2, "cover_best", 1e-6),
    (6, "static_best", 0.25),
    (8, "encoder_best", 0.2),
    (9, "memory_best", 0.5),
];

/// The logarithm of the number of visible tools.
pub(crate) fn log_pool(statistics: &[f32]) -> f32 {
    statistics.get(LOG_POOL).copied().unwrap_or_default()
}

/// The similarity of the prompt to the remembered prompts of the first tool, and the share of the
/// visible tools that have any.
pub(crate) fn memory_evidence(statistics: &[f32]) -> [f32; 2] {
    [MEMORY_FIRST, MEMORY_SHARE].map(|at| statistics.get(at).copied().unwrap_or_default())
}

/// Whether the ranking is chance: no tool has a word of the prompt, none is close to it, and no
/// similar prompt is remembered. The floor cannot tell, because it was trained on prompts that have
/// words in common with tools.
pub(crate) fn is_unrelated(statistics: &[f32]) -> bool {
    UNRELATED.iter().all(|&(at, _, bound)| statistics.get(at).is_some_and(|&value| value < bound))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_unrelated_prompts_match_the_names_of_statistics() {
        assert!(UNRELATED.iter().all(|&(at, name, _)| STATISTICS[at] == name));
    }
}
