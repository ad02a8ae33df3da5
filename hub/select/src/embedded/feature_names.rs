//! The names and positions of signals, features and statistics. The files `ranker-*.json` and
//! `floor.json` refer to these names, so a renamed one needs retrained files.

/// The signals, in the order of `Signals::columns`. Each has a value for every visible tool.
pub(crate) const SIGNALS: [&str; 4] = ["bm25f", "static_head", "encoder", "clause"];
/// Position in [`SIGNALS`]: lexical score of all fields of a tool.
pub(crate) const BM25F: usize = 0;
/// Position in [`SIGNALS`]: cosine of prompt and tool by the static table.
pub(crate) const STATIC_HEAD: usize = 1;
/// Position in [`SIGNALS`]: cosine of prompt and tool by the transformer.
pub(crate) const ENCODER: usize = 2;
/// Position in [`SIGNALS`]: fused score of the clause of the prompt that fits the tool best.
pub(crate) const CLAUSE: usize = 3;

/// The features of a candidate that are not signals. `features::other_features` computes them.
pub(crate) const OTHER_FEATURES: [&str; 8] =
    ["fused", "cover", "cover_name", "name_cover", "name_exact", "bigrams", "server_z", "log_pool"];
/// Positions in [`OTHER_FEATURES`].
pub(crate) const FUSED: usize = 0;
pub(crate) const COVER: usize = 1;
pub(crate) const NAME_COVER: usize = 3;
pub(crate) const BIGRAMS: usize = 5;

/// The statistics of a whole ranking. `features::statistics` computes them.
pub(crate) const STATISTICS: [&str; 13] = [
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
/// Positions in [`STATISTICS`].
pub(crate) const LOG_POOL: usize = 10;
pub(crate) const MEMORY_FIRST: usize = 11;
pub(crate) const MEMORY_SHARE: usize = 12;

/// Names of a candidate's features, in the order that the ranker gets them.
pub fn feature_names() -> Vec<String> {
    let signals = SIGNALS.iter().map(|signal| format!("{signal}.z"));
    OTHER_FEATURES.iter().map(|&name| name.to_owned()).chain(signals).collect()
}

/// Names of a ranking's statistics, in the order that the floor gets them.
pub fn statistic_names() -> Vec<String> {
    STATISTICS.map(str::to_owned).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_match_names() {
        let features = [FUSED, COVER, NAME_COVER, BIGRAMS].map(|at| OTHER_FEATURES[at]);
        assert_eq!(features, ["fused", "cover", "name_cover", "bigrams"]);
        let statistics = [LOG_POOL, MEMORY_FIRST, MEMORY_SHARE].map(|at| STATISTICS[at]);
        assert_eq!(statistics, ["log_pool", "memory1", "memory_share"]);
        let signals = [BM25F, STATIC_HEAD, ENCODER, CLAUSE].map(|at| SIGNALS[at]);
        assert_eq!(signals, ["bm25f", "static_head", "encoder", "clause"]);
    }
}
