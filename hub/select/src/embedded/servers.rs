//! Which servers fit: a tool in a server whose other tools fit too is likelier.

use crate::embedded::index::Inner;
use crate::embedded::pool::{Pool, Spread};
use crate::embedded::signals::Signals;

/// Best tools of a server that count.
const TOP: usize = 3;

/// The standing of each server; all zero when there is one only.
pub fn standing(index: &Inner, signals: &Signals, pool: &Pool) -> Vec<f32> {
    let mut best = vec![[f32::MIN; TOP]; index.servers];
    let mut counts = vec![0usize; index.servers];
    for &id in &pool.ids {
        let server = index.server_of[id as usize] as usize;
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
    let spread = Spread::of(&means.iter().copied().flatten().collect::<Vec<_>>());
    means.iter().map(|mean| mean.map_or(0.0, |mean| spread.z(mean))).collect()
}
