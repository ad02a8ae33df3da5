//! The tools that one caller can see, and the distribution of a signal's values among them.

use std::borrow::Cow;

use rten_simd::SimdOp as _;
use rten_vecmath::{MaxNum, Sum, SumSquareSub};

use super::query::Query;

/// How many values are compared at once, so that the compiler vectorizes the comparison.
const BLOCK: usize = 32;

/// The visible tools. Every score is computed from these alone, so that no score tells a caller
/// which hidden tools exist.
pub(crate) struct Pool {
    /// Whether a tool is visible, by its number.
    pub(crate) visible: Vec<bool>,
    /// The numbers of the visible tools, rising.
    pub(crate) ids: Vec<u32>,
}

impl Pool {
    pub(crate) fn new(tools: usize, query: &Query<'_>) -> Self {
        let visible: Vec<bool> = (0..tools).map(query.visible).collect();
        let ids =
            (0u32..).zip(&visible).filter(|(_, visible)| **visible).map(|(id, _)| id).collect();
        Self { visible, ids }
    }

    pub(crate) fn is_everything(&self) -> bool {
        self.ids.len() == self.visible.len()
    }

    /// A column of zeros, one for each tool, visible or not.
    pub(crate) fn zeros(&self) -> Vec<f32> {
        vec![0.0; self.visible.len()]
    }

    /// The values of a column that belong to visible tools.
    fn visible_values<'a>(&self, column: &'a [f32]) -> Cow<'a, [f32]> {
        if self.is_everything() {
            Cow::Borrowed(column)
        } else {
            self.ids.iter().map(|&id| column[id as usize]).collect()
        }
    }

    /// The distribution of a column's values among the visible tools.
    pub(crate) fn distribution(&self, column: &[f32]) -> Distribution {
        Distribution::new(&self.visible_values(column))
    }

    /// The `most` tools with the highest values above `above`, best first. Ties are in the order
    /// of their numbers.
    pub(crate) fn best(&self, values: &[f32], most: usize, above: f32) -> Vec<u32> {
        let order =
            |a: &u32, b: &u32| values[*b as usize].total_cmp(&values[*a as usize]).then(a.cmp(b));
        let mut best: Vec<u32> = Vec::new();
        let mut bound = above;
        let visible_values = self.visible_values(values);
        for (ids, values_of) in self.ids.chunks(BLOCK).zip(visible_values.chunks(BLOCK)) {
            // Most blocks have no value above the bound and are skipped as a whole.
            if values_of.iter().map(|&value| u32::from(value > bound)).sum::<u32>() == 0 {
                continue;
            }
            best.extend(
                ids.iter().zip(values_of).filter(|(_, value)| **value > bound).map(|(id, _)| *id),
            );
            // Numbers rise, and ties go to the lower number. So a later value must be above the
            // lowest of the best so far.
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

/// Mean, standard deviation and maximum of a signal's values. It makes signals comparable.
#[derive(Clone, Copy, Default)]
pub(crate) struct Distribution {
    mean: f32,
    /// 1 / standard deviation, or 0 if all values are equal.
    per_deviation: f32,
    pub(crate) best: f32,
}

impl Distribution {
    pub(crate) fn new(values: &[f32]) -> Self {
        if values.is_empty() {
            return Self::default();
        }
        let count = values.len() as f32;
        let mean = Sum::new(values).dispatch() / count;
        let deviation = (SumSquareSub::new(values, mean).dispatch() / count).sqrt();
        let per_deviation = if deviation > 1e-6 { 1.0 / deviation } else { 0.0 };
        Self { mean, per_deviation, best: MaxNum::new(values).dispatch() }
    }

    /// How many standard deviations a value is above the mean.
    pub(crate) fn z(&self, value: f32) -> f32 {
        (value - self.mean) * self.per_deviation
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_best_are_the_first_of_all_sorted(
            values in prop::collection::vec((-3_i8..9, any::<bool>()), 0..400), most in 0_usize..70
        ) {
            let visible: Vec<bool> = values.iter().map(|(_, visible)| *visible).collect();
            let values: Vec<f32> = values.iter().map(|(value, _)| f32::from(*value)).collect();
            let query = Query { prompt: "", visible: &|n| visible[n], limit: 0, memory: None };
            let pool = Pool::new(visible.len(), &query);
            let positive = pool.ids.iter().copied().filter(|&id| values[id as usize] > 0.0);
            let mut all: Vec<u32> = positive.collect();
            all.sort_by(|a, b| values[*b as usize].total_cmp(&values[*a as usize]));
            all.truncate(most);
            prop_assert_eq!(pool.best(&values, most, 0.0), all);
        }

        #[test]
        fn a_distribution_has_mean_deviation_and_maximum(
            values in prop::collection::vec(-9.0_f32..100.0, 1..100)
        ) {
            let count = values.len() as f32;
            let mean = values.iter().sum::<f32>() / count;
            let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f32>();
            let deviation = (squares / count).sqrt();
            let distribution = Distribution::new(&values);
            let best = values.iter().copied().fold(f32::MIN, f32::max);
            prop_assert!((distribution.best - best).abs() < 1e-9);
            prop_assert!((distribution.z(best) * deviation - (best - mean)).abs() < 1e-2);
        }
    }
}
