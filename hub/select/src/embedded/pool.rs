//! What one caller can see, and how a signal's values lie in it.

use std::borrow::Cow;

use rten_simd::SimdOp as _;
use rten_vecmath::{MaxNum, Sum, SumSquareSub};

use crate::embedded::index::Ask;

/// Values that are looked through together.
const BLOCK: usize = 32;

/// The tools that can be seen. What cannot be seen moves no score: it might as well not exist.
pub struct Pool {
    /// By number of the tool.
    pub seen: Vec<bool>,
    /// Their numbers.
    pub ids: Vec<u32>,
}

impl Pool {
    /// Asks for each tool.
    pub fn new(tools: usize, ask: &Ask<'_>) -> Self {
        let seen: Vec<bool> = (0..tools).map(ask.visible).collect();
        let ids = (0u32..).zip(&seen).filter(|(_, seen)| **seen).map(|(id, _)| id).collect();
        Self { seen, ids }
    }

    /// Whether nothing is hidden.
    pub fn is_whole(&self) -> bool {
        self.ids.len() == self.seen.len()
    }

    /// A column that says nothing of any tool.
    pub fn zeros(&self) -> Vec<f32> {
        vec![0.0; self.seen.len()]
    }

    /// Of a column, what can be seen.
    fn of<'a>(&self, column: &'a [f32]) -> Cow<'a, [f32]> {
        if self.is_whole() {
            Cow::Borrowed(column)
        } else {
            self.ids.iter().map(|&id| column[id as usize]).collect()
        }
    }

    /// How a column lies in what can be seen.
    pub fn spread(&self, column: &[f32]) -> Spread {
        Spread::of(&self.of(column))
    }

    /// The `most` best by value, ties by number; only values above `above`.
    pub fn best(&self, values: &[f32], most: usize, above: f32) -> Vec<u32> {
        let order =
            |a: &u32, b: &u32| values[*b as usize].total_cmp(&values[*a as usize]).then(a.cmp(b));
        let mut best: Vec<u32> = Vec::new();
        let mut bound = above;
        for (ids, values_of) in self.ids.chunks(BLOCK).zip(self.of(values).chunks(BLOCK)) {
            // Most blocks have nothing of interest, and many are looked through at a time.
            if values_of.iter().map(|&value| u32::from(value > bound)).sum::<u32>() == 0 {
                continue;
            }
            best.extend(
                ids.iter().zip(values_of).filter(|(_, value)| **value > bound).map(|(id, _)| *id),
            );
            // Numbers rise: what comes later and is no better than the last of the best is not among them.
            if best.len() > most.saturating_mul(2) {
                best.select_nth_unstable_by(most, order);
                best.truncate(most);
                bound = best.iter().map(|&id| values[id as usize]).fold(f32::MAX, f32::min);
            }
        }
        best.sort_unstable_by(order);
        best.truncate(most);
        best
    }
}

/// Where a signal's values lie: what makes signals comparable.
#[derive(Clone, Copy, Default)]
pub struct Spread {
    mean: f32,
    per_deviation: f32,
    /// The best value.
    pub best: f32,
}

impl Spread {
    /// Of some values.
    pub fn of(values: &[f32]) -> Self {
        if values.is_empty() {
            return Self::default();
        }
        let count = values.len() as f32;
        let mean = Sum::new(values).dispatch() / count;
        let deviation = (SumSquareSub::new(values, mean).dispatch() / count).sqrt();
        let per_deviation = if deviation > 1e-6 { 1.0 / deviation } else { 0.0 };
        Self { mean, per_deviation, best: MaxNum::new(values).dispatch() }
    }

    /// Deviations above the mean.
    pub fn z(&self, value: f32) -> f32 {
        (value - self.mean) * self.per_deviation
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_best_are_the_first_of_all_in_order(
            values in prop::collection::vec((-3_i8..9, any::<bool>()), 0..400), most in 0_usize..70
        ) {
            let seen: Vec<bool> = values.iter().map(|(_, seen)| *seen).collect();
            let values: Vec<f32> = values.iter().map(|(value, _)| f32::from(*value)).collect();
            let pool = Pool::new(seen.len(), &Ask { prompt: "", visible: &|n| seen[n], limit: 0, memory: None });
            let mut all: Vec<u32> = pool.ids.iter().copied().filter(|&id| values[id as usize] > 0.0).collect();
            all.sort_by(|a, b| values[*b as usize].total_cmp(&values[*a as usize]));
            all.truncate(most);
            prop_assert_eq!(pool.best(&values, most, 0.0), all);
        }

        #[test]
        fn a_spread_is_mean_deviation_and_best(values in prop::collection::vec(-9.0_f32..100.0, 1..100)) {
            let count = values.len() as f32;
            let mean = values.iter().sum::<f32>() / count;
            let deviation = (values.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / count).sqrt();
            let spread = Spread::of(&values);
            let best = values.iter().copied().fold(f32::MIN, f32::max);
            prop_assert!((spread.best - best).abs() < 1e-9);
            prop_assert!((spread.z(best) * deviation - (best - mean)).abs() < 1e-2);
        }
    }
}
