//! What the ranker sees of a candidate, and the floor of a whole answer.

use crate::index::Inner;
use crate::lexical::{Asked, FIELDS};
use crate::models::Models;
use crate::pool::{Pool, Spread};
use crate::servers;
use crate::signals::{BM25F, ENCODER, POOLED, STATIC_HEAD, STATIC_NAME, Signals};
use crate::soft::Soft;

/// Signals that are known of the candidates only.
const CLOSER: [&str; 3] = ["static_params", "soft", "soft_name"];
/// Features that are no signal.
const OTHERS: [&str; 17] = [
    "fused",
    "cover",
    "cover_name",
    "name_cover",
    "name_exact",
    "bigrams",
    "server_z",
    "twins",
    "log_len",
    "n_params",
    "q_len",
    "log_pool",
    "static_head.raw",
    "encoder.raw",
    "n_clauses",
    "fused.rank",
    "fused.gap",
];

/// Most pairs of the prompt's words that are looked for.
const PAIRS: usize = 64;

/// Names of a candidate's features, in order.
pub fn names() -> Vec<String> {
    let signals = POOLED.iter().chain(&CLOSER).flat_map(|s| [format!("{s}.z"), format!("{s}.top"), format!("{s}.gap")]);
    OTHERS.iter().map(|&name| name.to_owned()).chain(signals).collect()
}

/// A candidate and its features.
pub struct Candidate {
    /// Its number in the index.
    pub doc: usize,
    /// In the order of [`names`].
    pub features: Vec<f32>,
    closer: [f32; CLOSER.len()],
}

/// The features of all candidates.
pub fn candidates(index: &Inner, models: &Models, signals: &Signals, pool: &Pool, ids: &[u32]) -> Vec<Candidate> {
    let soft = Soft::new(index, &signals.asked, models, ids);
    let asked = Wanted::new(index, &signals.asked);
    let servers = servers::standing(index, signals, pool);
    let mut found: Vec<Candidate> = ids
        .iter()
        .map(|&id| {
            let doc = id as usize;
            let params = signals.table.as_ref().map_or(0.0, |table| index.params.cosine(doc, table));
            let [head, name] = soft.as_ref().map_or([0.0; 2], |soft| soft.scores(index, doc));
            let mut features = Vec::with_capacity(OTHERS.len() + 3 * (POOLED.len() + CLOSER.len()));
            features.extend(others(index, signals, pool, (&servers, &asked), doc));
            Candidate { doc, features, closer: [params, head, name] }
        })
        .collect();
    let best_fused = ids.iter().map(|&id| signals.fused[id as usize]).fold(f32::MIN, f32::max);
    let mut order: Vec<usize> = (0..found.len()).collect();
    order.sort_by(|&a, &b| signals.fused[found[b].doc].total_cmp(&signals.fused[found[a].doc]));
    for (rank, at) in order.into_iter().enumerate() {
        found[at].features.push((rank as f32).ln_1p());
    }
    let spreads: [Spread; CLOSER.len()] = std::array::from_fn(|i| Spread::of(found.iter().map(|c| c.closer[i])));
    for candidate in &mut found {
        candidate.features.push(signals.fused[candidate.doc] - best_fused);
        let pooled =
            signals.columns.iter().zip(&signals.spreads).map(|(column, spread)| (column[candidate.doc], spread));
        let closer = candidate.closer.iter().copied().zip(&spreads);
        for (value, spread) in pooled.chain(closer) {
            let z = spread.z(value);
            candidate.features.extend([z, spread.share(value), z - spread.z(spread.best)]);
        }
    }
    found
}

/// In the order of [`OTHERS`], but the last two.
fn others(
    index: &Inner,
    signals: &Signals,
    pool: &Pool,
    (servers, wanted): (&[f32], &Wanted),
    doc: usize,
) -> [f32; OTHERS.len() - 2] {
    let cover = signals.scores[doc].cover.map(|part| if signals.rarity > 0.0 { part / signals.rarity } else { 0.0 });
    let name = index.lexical.name(doc);
    let named = name.iter().filter(|&&term| wanted.has(term)).count();
    let name_cover = if name.is_empty() { 0.0 } else { named as f32 / name.len() as f32 };
    let lengths = index.lexical.lengths(doc);
    let terms: f32 = lengths.iter().map(|&length| f32::from(length)).sum();
    [
        signals.fused[doc],
        cover[0],
        cover[1],
        name_cover,
        f32::from(u8::from(!name.is_empty() && named == name.len())),
        wanted.bigrams(index.lexical.head(doc)),
        servers[index.server_of[doc] as usize],
        index.twins(doc, &pool.seen) as f32,
        terms.ln_1p(),
        f32::from(lengths[FIELDS - 2]).ln_1p(),
        (signals.asked.len() as f32).ln_1p(),
        (pool.ids.len() as f32).ln_1p(),
        signals.columns[STATIC_HEAD][doc],
        signals.columns[ENCODER][doc],
        signals.parts as f32,
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
        let mut terms = vec![false; index.lexical.words().len()];
        asked.iter().filter_map(|asked| asked.term).for_each(|term| terms[term as usize] = true);
        let pairs = asked.windows(2).take(PAIRS).filter_map(|pair| Some([pair[0].term?, pair[1].term?])).collect();
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
pub fn statistics() -> Vec<String> {
    [
        "score1",
        "score_gap2",
        "score_gap5",
        "score_gap10",
        "score_mean10",
        "fused1",
        "fused_gap2",
        "fused_gap5",
        "fused_gap10",
        "fused_best",
        "bm25f1",
        "bm25f_z1",
        "bm25f_per_term",
        "cover1",
        "cover_best",
        "cover_name1",
        "cover_name_best",
        "name_cover1",
        "name_cover_best",
        "soft1",
        "soft_best",
        "soft_name1",
        "soft_name_best",
        "static1",
        "static_best",
        "static_z1",
        "static_gap10",
        "encoder1",
        "encoder_best",
        "encoder_z1",
        "encoder_gap10",
        "static_name_z1",
        "static_name_z_best",
        "params_best",
        "agreement",
        "unknown",
        "q_len",
        "log_pool",
        "bigrams_best",
        "memory_best",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// The statistics of an answer; `ranked` holds candidates and their scores, best first.
pub fn statistics_of(signals: &Signals, pool: &Pool, ranked: &[(Candidate, f32)]) -> Vec<f32> {
    let Some((first, score)) = ranked.first() else { return vec![0.0; statistics().len()] };
    let at = |n: usize| &ranked[n.min(ranked.len() - 1)];
    let gap = |n: usize| score - at(n).1;
    let top = &ranked[..ranked.len().min(10)];
    let best = |of: &dyn Fn(&Candidate) -> f32| top.iter().map(|(c, _)| of(c)).fold(f32::MIN, f32::max);
    let fused = |c: &Candidate| signals.fused[c.doc];
    let column = |signal: usize| move |c: &Candidate| signals.columns[signal][c.doc];
    let z = |signal: usize, c: &Candidate| signals.spreads[signal].z(signals.columns[signal][c.doc]);
    let other = |n: usize| move |c: &Candidate| c.features[n];
    let closer = |n: usize| move |c: &Candidate| c.closer[n];
    let lowest = |of: &dyn Fn(&Candidate) -> f32| top.iter().map(|(c, _)| of(c)).fold(f32::MAX, f32::min);
    let unknown: f32 = signals.asked.iter().filter(|a| a.term.is_none()).map(|a| a.idf).sum();
    let per_term = if signals.rarity > 0.0 { 1.0 / signals.rarity } else { 0.0 };
    let mean = top.iter().map(|(_, score)| score).sum::<f32>() / top.len() as f32;
    vec![
        *score,
        gap(1),
        gap(4),
        gap(9),
        score - mean,
        fused(first),
        fused(first) - fused(&at(1).0),
        fused(first) - fused(&at(4).0),
        fused(first) - fused(&at(9).0),
        best(&fused),
        column(BM25F)(first),
        z(BM25F, first),
        column(BM25F)(first) * per_term,
        other(1)(first),
        best(&other(1)),
        other(2)(first),
        best(&other(2)),
        other(3)(first),
        best(&other(3)),
        closer(1)(first),
        best(&closer(1)),
        closer(2)(first),
        best(&closer(2)),
        column(STATIC_HEAD)(first),
        signals.spreads[STATIC_HEAD].best.max(-1.0),
        z(STATIC_HEAD, first),
        signals.spreads[STATIC_HEAD].best.max(-1.0) - lowest(&column(STATIC_HEAD)),
        column(ENCODER)(first),
        signals.spreads[ENCODER].best.max(-1.0),
        z(ENCODER, first),
        signals.spreads[ENCODER].best.max(-1.0) - lowest(&column(ENCODER)),
        z(STATIC_NAME, first),
        best(&|c| z(STATIC_NAME, c)),
        best(&closer(0)),
        agreement(signals, top),
        unknown * per_term,
        (signals.asked.len() as f32).ln_1p(),
        (pool.ids.len() as f32).ln_1p(),
        best(&other(5)),
        signals.memory.iter().copied().fold(0.0, f32::max),
    ]
}

/// Position, name and bound of what is under it when an answer is one by chance.
const FAR: [(usize, &str, f32); 4] =
    [(14, "cover_best", 1e-6), (24, "static_best", 0.25), (28, "encoder_best", 0.2), (39, "memory_best", 0.5)];

/// Whether no tool has a word of the prompt, none is near to it, and no prompt like it is remembered: whatever ranks
/// best then does so by chance. The floor, which knows what prompts are like that have words in common with tools,
/// cannot tell.
pub fn is_foreign(statistics: &[f32]) -> bool {
    FAR.iter().all(|&(at, _, bound)| statistics.get(at).is_some_and(|&value| value < bound))
}

/// Of the signals, how many have the first of the answer as their best too.
fn agreement(signals: &Signals, top: &[(Candidate, f32)]) -> f32 {
    let Some((first, _)) = top.first() else { return 0.0 };
    let agrees = |signal: &&usize| {
        let value = signals.columns[**signal][first.doc];
        value > 0.0 && value >= signals.spreads[**signal].best
    };
    [BM25F, STATIC_HEAD, STATIC_NAME, ENCODER].iter().filter(agrees).count() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_far_is_looked_up_where_it_is() {
        let names = statistics();
        assert!(FAR.iter().all(|&(at, name, _)| names[at] == name));
    }
}
