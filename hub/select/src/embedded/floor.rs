//! The calibrated floor: the probability that any tool fits the prompt.

use serde::Deserialize;

use super::error::Error;

#[derive(Deserialize)]
struct FloorFile {
    features: Vec<String>,
    mean: Vec<f32>,
    scale: Vec<f32>,
    weights: Vec<f32>,
    bias: f32,
    threshold: f32,
    #[serde(default)]
    hit: Option<[f32; 3]>,
}

/// How much remembered prompts of the first tool add to the logit, per unit of similarity above
/// [`MEMORY_REFERENCE`], if every visible tool has some. With fewer such tools it counts less.
///
/// Both numbers were chosen on `MetaTool`, the only set with many prompts per tool. There the
/// median similarity is 0.6 if the first tool is right (0.5 by the static table), and 0.47 if no
/// tool is right (0.42).
const MEMORY_WEIGHT: f32 = 6.0;
/// The similarity at which remembered prompts neither raise nor lower the probability. Range: 0 to
/// 1.
const MEMORY_REFERENCE: f32 = 0.3;

/// A logistic model over the statistics of a ranking.
pub(crate) struct Floor {
    columns: Vec<(usize, f32)>,
    bias: f32,
    threshold: f32,
    hit: [f32; 3],
}

impl Floor {
    /// A floor that every ranking passes.
    pub(crate) fn disabled() -> Self {
        Self { columns: Vec::new(), bias: 0.0, threshold: 0.0, hit: [1.0, 0.0, 0.0] }
    }

    /// Reads the part `backend` of a `floor.json`. `names` are the statistics in the order that
    /// [`Floor::fit`] gets them.
    pub(crate) fn read(file: &str, backend: &str, names: &[String]) -> Result<Self, Error> {
        let wrong = |what: String| Error::Weights(format!("floor, {backend}: {what}"));
        let mut parts: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(file).map_err(|error| wrong(error.to_string()))?;
        let Some(part) = parts.remove(backend) else { return Ok(Self::disabled()) };
        let file: FloorFile =
            serde_json::from_value(part).map_err(|error| wrong(error.to_string()))?;
        let count = file.features.len();
        if [file.mean.len(), file.scale.len(), file.weights.len()] != [count; 3] {
            return Err(wrong(format!(
                "mean, scale and weights must have {count} numbers each, as features has"
            )));
        }
        let mut bias = file.bias;
        let mut columns = Vec::with_capacity(count);
        for (i, name) in file.features.iter().enumerate() {
            let at = names.iter().position(|known| known == name);
            let at = at.ok_or_else(|| {
                wrong(format!("there is no statistic \"{name}\"; retrain the floor"))
            })?;
            let weight =
                if file.scale[i].abs() > 1e-9 { file.weights[i] / file.scale[i] } else { 0.0 };
            bias -= weight * file.mean[i];
            columns.push((at, weight));
        }
        Ok(Self {
            columns,
            bias,
            threshold: file.threshold,
            hit: file.hit.unwrap_or([1.0, 0.0, 0.0]),
        })
    }

    /// The probability that any tool fits, and whether it reaches the threshold. `memory` is the
    /// similarity of the prompt to the remembered prompts of the first tool, and the share of the
    /// visible tools that have any.
    pub(crate) fn fit(&self, statistics: &[f32], memory: [f32; 2]) -> (f32, bool) {
        let statistic = |at: usize| statistics.get(at).copied().unwrap_or_default();
        let linear: f32 = self.columns.iter().map(|&(at, weight)| weight * statistic(at)).sum();
        let [similarity, share] = memory;
        let evidence = MEMORY_WEIGHT * share * (similarity - MEMORY_REFERENCE);
        let probability = sigmoid(self.bias + linear + evidence);
        (probability, probability >= self.threshold)
    }

    /// The probability that a hit with this score fits. `log_pool` is the logarithm of the number
    /// of visible tools.
    pub(crate) fn hit_probability(&self, score: f32, log_pool: f32) -> f32 {
        sigmoid(self.hit[0] * score + self.hit[1] * log_pool + self.hit[2])
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{"static":{"features":["b"],"mean":[2.0],"scale":[2.0],"weights":[4.0],
        "bias":0.0,"threshold":0.5}}"#;

    #[test]
    fn the_mean_is_the_threshold_and_a_lower_statistic_does_not_fit() {
        let floor = Floor::read(FILE, "static", &["a".to_owned(), "b".to_owned()]).unwrap();
        assert_eq!(floor.fit(&[9.0, 2.0], [0.0; 2]), (0.5, true));
        assert!(!floor.fit(&[9.0, 1.0], [0.0; 2]).1);
    }

    #[test]
    fn a_prompt_that_is_similar_to_remembered_ones_fits_and_a_dissimilar_one_does_not() {
        let floor = Floor::read(FILE, "static", &["a".to_owned(), "b".to_owned()]).unwrap();
        assert!(floor.fit(&[9.0, 1.9], [0.7, 1.0]).1 && !floor.fit(&[9.0, 2.1], [0.2, 1.0]).1);
        assert_eq!(floor.fit(&[9.0, 2.0], [0.7, 0.0]), (0.5, true), "nothing is remembered");
    }

    #[test]
    fn with_a_backend_without_a_floor_everything_fits() {
        assert!(Floor::read(FILE, "full", &[]).unwrap().fit(&[], [0.0; 2]).1);
    }

    #[test]
    fn the_error_names_an_unknown_statistic() {
        assert!(
            Floor::read(FILE, "static", &[])
                .err()
                .unwrap()
                .to_string()
                .contains("there is no statistic \"b\"")
        );
    }
}
