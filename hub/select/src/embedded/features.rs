//! What the ranker sees of a candidate, and the floor of a whole answer.

use crate::embedded::index::Inner;
use crate::embedded::lexical::Asked;
use crate::embedded::pool::Pool;
use crate::embedded::servers;
use crate::embedded::signals::{ENCODER, POOLED, STATIC_HEAD, Signals};

/// Features that are no signal.
const OTHERS: [&str; 8] =
    ["fused", "cover", "cover_name", "name_cover", "name_exact", "bigrams", "server_z", "log_pool"];
/// Positions among them.
pub const FUSED: usize = 0;
const COVER: usize = 1;
const NAME_COVER: usize = 3;
const BIGRAMS: usize = 5;

/// Most pairs of the prompt's words that are looked for.
const PAIRS: usize = 64;

/// Names of a candidate's features, in order.
pub fn names() -> Vec<String> {
    let signals = POOLED.iter().map(|signal| format!("{signal}.z"));
    OTHERS.iter().map(|&name| name.to_owned()).chain(signals).collect()
}

/// A candidate and its features.
pub struct Candidate {
    /// Its number in the index.
    pub doc: usize,
    /// In the order of [`names`].
    pub features: Vec<f32>,
}

/// The features of all candidates.
pub fn candidates(index: &Inner, signals: &Signals, pool: &Pool, ids: &[u32]) -> Vec<Candidate> {
    let asked = Wanted::new(index, &signals.asked);
    let servers = servers::standing(index, signals, pool);
    let of = |&id: &u32| {
        let doc = id as usize;
        let z = signals
            .columns
            .iter()
            .zip(&signals.spreads)
            .map(|(column, spread)| spread.z(column[doc]));
        let features =
            others(index, signals, pool, (&servers, &asked), doc).into_iter().chain(z).collect();
        Candidate { doc, features }
    };
    ids.iter().map(of).collect()
}

/// In the order of [`OTHERS`].
fn others(
    index: &Inner,
    signals: &Signals,
    pool: &Pool,
    (servers, wanted): (&[f32], &Wanted),
    doc: usize,
) -> [f32; OTHERS.len()] {
    let cover = signals.scores[doc]
        .cover
        .map(|part| if signals.rarity > 0.0 { part / signals.rarity } else { 0.0 });
    let name = index.lexical.name(doc);
    let named = name.iter().filter(|&&term| wanted.has(term)).count();
    let name_cover = if name.is_empty() { 0.0 } else { named as f32 / name.len() as f32 };
    [
        signals.fused[doc],
        cover[0],
        cover[1],
        name_cover,
        f32::from(u8::from(!name.is_empty() && named == name.len())),
        wanted.bigrams(index.lexical.head(doc)),
        servers[index.server_of[doc] as usize],
        (pool.ids.len() as f32).ln_1p(),
    ]
}

/// The prompt's terms, to be looked up.
struct Wanted {
    /// By number of a term, whether the prompt has it.
    terms: Vec<bool>,
    /// Terms that follow each other in the prompt.
    pairs: Vec<[u32; 2]>,
}

impl Wanted {
    fn new(index: &Inner, asked: &[Asked]) -> Self {
        let mut terms = vec![false; index.lexical.terms()];
        asked.iter().filter_map(|asked| asked.term).for_each(|term| terms[term as usize] = true);
        let pairs = asked
            .windows(2)
            .take(PAIRS)
            .filter_map(|pair| Some([pair[0].term?, pair[1].term?]))
            .collect();
        Self { terms, pairs }
    }

    fn has(&self, term: u32) -> bool {
        self.terms[term as usize]
    }

    /// Pairs of words that follow each other in the prompt and in the tool. A term of the prompt is there once, so no pair
    /// is there twice.
    fn bigrams(&self, head: &[u32]) -> f32 {
        let both = head.windows(2).filter(|pair| self.has(pair[0]) && self.has(pair[1]));
        let mut found: Vec<&[u32]> =
            both.filter(|pair| self.pairs.iter().any(|known| known.as_slice() == *pair)).collect();
        found.sort_unstable();
        found.dedup();
        found.len() as f32
    }
}

/// Names of an answer's statistics, in order.
const STATISTICS: [&str; 13] = [
    "fused_gap10",
    "cover1",
    "cover_best",
    "name_cover1",
    "bigrams_best",
    "static1",
    "static_best",
    "encoder1",
    "encoder_best",
    "memory_best",
    "log_pool",
    "memory1",
    "memory_share",
];

/// Names of an answer's statistics, in order.
pub fn statistics() -> Vec<String> {
    STATISTICS.map(str::to_owned).to_vec()
}

/// The statistics of an answer; `ranked` holds candidates and their scores, best first.
pub fn statistics_of(signals: &Signals, pool: &Pool, ranked: &[(Candidate, f32)]) -> Vec<f32> {
    let Some((first, _)) = ranked.first() else { return vec![0.0; STATISTICS.len()] };
    let top = &ranked[..ranked.len().min(10)];
    let last = top.last().map_or(first, |(candidate, _)| candidate);
    let best = |feature: usize| {
        top.iter().map(|(candidate, _)| candidate.features[feature]).fold(f32::MIN, f32::max)
    };
    let first_of = |signal: usize| signals.columns[signal][first.doc];
    let best_of = |signal: usize| signals.spreads[signal].best.max(-1.0);
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
        signals.memory.as_ref().map_or(0.0, |memory| memory.best),
        (pool.ids.len() as f32).ln_1p(),
        signals.memory.as_ref().and_then(|memory| memory.tools[first.doc]).unwrap_or_default(),
        signals.memory.as_ref().map_or(0.0, |memory| memory.share),
    ]
}

/// Positions of `log_pool`, `memory1` and `memory_share`.
const POOL: usize = 10;
const REMEMBERED: [usize; 2] = [11, 12];
/// Position, name and bound of what is under it when an answer is one by chance.
const FAR: [(usize, &str, f32); 4] = [
    (2, "cover_best", 1e-6),
    (6, "static_best", 0.25),
    (8, "encoder_best", 0.2),
    (9, "memory_best", 0.5),
];

/// How many tools there were to choose from, as a logarithm.
pub fn pool(statistics: &[f32]) -> f32 {
    statistics.get(POOL).copied().unwrap_or_default()
}

/// How like the prompt is to those remembered of the first tool, and of what share of the tools any are.
pub fn remembered(statistics: &[f32]) -> [f32; 2] {
    REMEMBERED.map(|at| statistics.get(at).copied().unwrap_or_default())
}

/// Whether no tool has a word of the prompt, none is near to it, and no prompt like it is remembered: whatever ranks
/// best then does so by chance. The floor, which knows what prompts are like that have words in common with tools,
/// cannot tell.
pub fn is_foreign(statistics: &[f32]) -> bool {
    FAR.iter().all(|&(at, _, bound)| statistics.get(at).is_some_and(|&value| value < bound))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_those_of_the_names() {
        let at = [FUSED, COVER, NAME_COVER, BIGRAMS].map(|at| OTHERS[at]);
        assert_eq!(at, ["fused", "cover", "name_cover", "bigrams"]);
        assert_eq!(
            [POOL, REMEMBERED[0], REMEMBERED[1]].map(|at| STATISTICS[at]),
            ["log_pool", "memory1", "memory_share"]
        );
        assert!(FAR.iter().all(|&(at, name, _)| STATISTICS[at] == name));
    }
}
