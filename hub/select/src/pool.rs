//! What one caller can see, and how a signal's values lie in it.

use crate::index::Ask;

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

    /// The `most` best by value, ties by number; only values above `above`.
    pub fn best(&self, values: &[f32], most: usize, above: f32) -> Vec<u32> {
        let of = |id: u32| values[id as usize];
        let mut best: Vec<u32> = self.ids.iter().copied().filter(|&id| of(id) > above).collect();
        let order = |a: &u32, b: &u32| of(*b).total_cmp(&of(*a)).then(a.cmp(b));
        if most > 0 && best.len() > most {
            best.select_nth_unstable_by(most - 1, order);
        }
        best.truncate(most);
        best.sort_unstable_by(order);
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
    pub fn of(values: impl Iterator<Item = f32> + Clone) -> Self {
        let (mut count, mut sum, mut best) = (0.0_f64, 0.0_f64, f32::MIN);
        for value in values.clone() {
            count += 1.0;
            sum += f64::from(value);
            best = best.max(value);
        }
        if count < 1.0 {
            return Self::default();
        }
        let mean = sum / count;
        let variance = values.map(|value| (f64::from(value) - mean).powi(2)).sum::<f64>() / count;
        let deviation = variance.sqrt() as f32;
        Self { mean: mean as f32, per_deviation: if deviation > 1e-6 { 1.0 / deviation } else { 0.0 }, best }
    }

    /// Deviations above the mean.
    pub fn z(&self, value: f32) -> f32 {
        (value - self.mean) * self.per_deviation
    }

    /// Share of the best.
    pub fn share(&self, value: f32) -> f32 {
        if self.best > 1e-6 { (value / self.best).max(-1.0) } else { 0.0 }
    }
}
