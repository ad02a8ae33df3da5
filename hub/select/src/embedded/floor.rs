//! The calibrated floor: how likely it is that anything fits at all.

use serde::Deserialize;

use crate::embedded::models::Error;

/// As the file has it.
#[derive(Deserialize)]
struct File {
    features: Vec<String>,
    mean: Vec<f32>,
    scale: Vec<f32>,
    weights: Vec<f32>,
    bias: f32,
    threshold: f32,
    #[serde(default)]
    hit: Option<[f32; 3]>,
}

/// What a likeness above [`LIKE`] of the prompts remembered of the first tool says for it, where some of every tool are.
/// Chosen on one set, as only one has many prompts a tool: where the tool is right they are like a new prompt by 0.6 (by
/// the static table 0.5) in the median, where nothing is by 0.47 (0.42).
const REMEMBERED: f32 = 6.0;
const LIKE: f32 = 0.3;

/// A logistic model of what the signals say of the whole answer.
pub struct Floor {
    columns: Vec<(usize, f32)>,
    bias: f32,
    threshold: f32,
    hit: [f32; 3],
}

impl Floor {
    /// Lets everything through.
    pub fn none() -> Self {
        Self { columns: Vec::new(), bias: 0.0, threshold: 0.0, hit: [1.0, 0.0, 0.0] }
    }

    /// Reads the part `backend` of a file; `names` are the statistics in the order that [`Floor::fit`] gets them.
    pub fn read(file: &str, backend: &str, names: &[String]) -> Result<Self, Error> {
        let wrong = |what: String| Error::Weights(format!("floor, {backend}: {what}"));
        let mut parts: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(file).map_err(|error| wrong(error.to_string()))?;
        let Some(part) = parts.remove(backend) else { return Ok(Self::none()) };
        let file: File = serde_json::from_value(part).map_err(|error| wrong(error.to_string()))?;
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
            let at = at
                .ok_or_else(|| wrong(format!("there is no statistic \"{name}\"; train it anew")))?;
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

    /// How likely it is that anything fits, and whether that is enough. `remembered`: how like the prompt is to those
    /// remembered of the first tool, and of what share of the tools any are.
    pub fn fit(&self, statistics: &[f32], remembered: [f32; 2]) -> (f32, bool) {
        let of = |at: usize| statistics.get(at).copied().unwrap_or_default();
        let linear: f32 = self.columns.iter().map(|&(at, weight)| weight * of(at)).sum();
        let [likeness, share] = remembered;
        let likely = sigmoid(self.bias + linear + REMEMBERED * share * (likeness - LIKE));
        (likely, likely >= self.threshold)
    }

    /// The score of a hit among so many tools (as a logarithm), 0 to 1.
    pub fn hit(&self, score: f32, pool: f32) -> f32 {
        sigmoid(self.hit[0] * score + self.hit[1] * pool + self.hit[2])
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{"static":{"features":["b"],"mean":[2.0],"scale":[2.0],"weights":[4.0],"bias":0.0,"threshold":0.5}}"#;

    #[test]
    fn the_mean_is_half_way_and_less_does_not_fit() {
        let floor = Floor::read(FILE, "static", &["a".to_owned(), "b".to_owned()]).unwrap();
        assert_eq!(floor.fit(&[9.0, 2.0], [0.0; 2]), (0.5, true));
        assert!(!floor.fit(&[9.0, 1.0], [0.0; 2]).1);
    }

    #[test]
    fn a_prompt_like_those_remembered_fits_and_one_unlike_them_does_not() {
        let floor = Floor::read(FILE, "static", &["a".to_owned(), "b".to_owned()]).unwrap();
        assert!(floor.fit(&[9.0, 1.9], [0.7, 1.0]).1 && !floor.fit(&[9.0, 2.1], [0.2, 1.0]).1);
        assert_eq!(floor.fit(&[9.0, 2.0], [0.7, 0.0]), (0.5, true), "nothing is remembered");
    }

    #[test]
    fn a_backend_without_a_floor_lets_everything_through() {
        assert!(Floor::read(FILE, "full", &[]).unwrap().fit(&[], [0.0; 2]).1);
    }

    #[test]
    fn a_statistic_that_is_not_there_is_named() {
        assert!(
            Floor::read(FILE, "static", &[])
                .err()
                .unwrap()
                .to_string()
                .contains("there is no statistic \"b\"")
        );
    }
}
