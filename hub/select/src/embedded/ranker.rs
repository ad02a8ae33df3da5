//! The learned ranker: a weight a feature, over what the signals say of a candidate.

use serde::Deserialize;

use crate::embedded::models::Error;

/// As the file has it.
#[derive(Deserialize)]
struct File {
    features: Vec<String>,
    linear: Vec<f32>,
}

/// Positions of features, and their weights.
pub struct Ranker(Vec<(usize, f32)>);

impl Ranker {
    /// The feature at this position as it is.
    pub fn fixed(position: usize) -> Self {
        Self(vec![(position, 1.0)])
    }

    /// Reads a file; `names` are the features in the order that [`Ranker::score`] gets them.
    pub fn read(file: &str, names: &[String]) -> Result<Self, Error> {
        let wrong = |what: String| Error::Weights(format!("ranker: {what}"));
        let file: File = serde_json::from_str(file).map_err(|error| wrong(error.to_string()))?;
        if file.linear.len() != file.features.len() {
            return Err(wrong(format!(
                "linear must have {} numbers, as features has",
                file.features.len()
            )));
        }
        let weight = |(name, weight): (&String, f32)| {
            let at = names.iter().position(|known| known == name);
            let at =
                at.ok_or_else(|| wrong(format!("there is no feature \"{name}\"; train it anew")))?;
            Ok((at, weight))
        };
        file.features.iter().zip(file.linear).map(weight).collect::<Result<_, _>>().map(Self)
    }

    /// The score of one candidate.
    pub fn score(&self, features: &[f32]) -> f32 {
        let of = |at: usize| features.get(at).copied().unwrap_or_default();
        self.0.iter().map(|&(at, weight)| weight * of(at)).sum()
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp)] // sums of small whole numbers are exact
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        vec!["a".to_owned(), "b".to_owned()]
    }

    #[test]
    fn a_weight_a_feature_is_added_up() {
        let ranker =
            Ranker::read(r#"{"features":["b","a"],"linear":[2.0,3.0]}"#, &names()).unwrap();
        assert_eq!(ranker.score(&[1.0, 10.0]), 23.0);
        assert_eq!(Ranker::fixed(1).score(&[1.0, 10.0]), 10.0);
    }

    #[test]
    fn a_file_that_does_not_fit_says_what_is_wrong() {
        let error = |file: &str| Ranker::read(file, &names()).err().unwrap().to_string();
        assert!(
            error(r#"{"features":["c"],"linear":[1.0]}"#).contains("there is no feature \"c\"")
        );
        assert!(error(r#"{"features":["a"],"linear":[]}"#).contains("linear must have 1 numbers"));
        assert!(error("{").contains("ranker: EOF"));
    }
}
