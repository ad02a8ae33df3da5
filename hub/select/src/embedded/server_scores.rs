//! A score for each server. A tool is likelier to fit if other tools of its server fit too.

use super::corpus::Corpus;
use super::pool::{Distribution, Pool};
use super::signals::Signals;

/// How many of a server's best tools its score is the mean of. No measurement of other values is
/// recorded.
const TOP: usize = 3;

/// The score of each server, in standard deviations above the mean of the servers. All are 0 if
/// there is only one server.
pub(crate) fn server_scores(corpus: &Corpus, signals: &Signals, pool: &Pool) -> Vec<f32> {
    let mut best = vec![[f32::MIN; TOP]; corpus.servers];
    let mut counts = vec![0usize; corpus.servers];
    for &id in &pool.ids {
        let server = corpus.server_of[id as usize] as usize;
        counts[server] += 1;
        let mut value = signals.fused[id as usize];
        if value <= best[server][TOP - 1] {
            continue;
        }
        for place in &mut best[server] {
            if value > *place {
                std::mem::swap(place, &mut value);
            }
        }
    }
    let means: Vec<Option<f32>> = best
        .iter()
        .zip(&counts)
        .map(|(best, &count)| {
            let known = count.min(TOP);
            (known > 0).then(|| best[..known].iter().sum::<f32>() / known as f32)
        })
        .collect();
    let distribution = Distribution::new(&means.iter().copied().flatten().collect::<Vec<_>>());
    means.iter().map(|mean| mean.map_or(0.0, |mean| distribution.z(mean))).collect()
}
