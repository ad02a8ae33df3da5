//! The learned ranker: a linear model over the features of a candidate.

use serde::Deserialize;

use super::error::Error;

#[derive(Deserialize)]
struct RankerFile {
    features: Vec<String>,
    linear: Vec<f32>,
}

/// The positions of features, and their weights.
pub(crate) struct Ranker(Vec<(usize, f32)>);

impl Ranker {
    /// Ranks by the feature at this position alone.
    pub(crate) fn single_feature(position: usize) -> Self {
        Self(vec![(position, 1.0)])
    }

    /// Reads the content of a `ranker-*.json`. `names` are the features in the order that
    /// [`Ranker::score`] gets them.
    pub(crate) fn read(file: &str, names: &[String]) -> Result<Self, Error> {
        let wrong = |what: String| Error::Weights(format!("ranker: {what}"));
        let file: RankerFile =
            serde_json::from_str(file).map_err(|error| wrong(error.to_string()))?;
        if file.linear.len() != file.features.len() {
            return Err(wrong(format!(
                "linear must have {} numbers, as features has",
                file.features.len()
            )));
        }
        let weight = |(name, weight): (&String, f32)| {
            let at = names.iter().position(|known| known == name);
            let at = at.ok_or_else(|| {
                wrong(format!("there is no feature \"{name}\"; retrain the ranker"))
            })?;
            Ok((at, weight))
        };
        file.features.iter().zip(file.linear).map(weight).collect::<Result<_, _>>().map(Self)
    }

    /// The score of one candidate, of any sign. It is close to standard deviations.
    pub(crate) fn score(&self, features: &[f32]) -> f32 {
        let feature = |at: usize| features.get(at).copied().unwrap_or_default();
        self.0.iter().map(|&(at, weight)| weight * feature(at)).sum()
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
    fn a_score_is_the_weighted_sum_of_the_features() {
        let ranker =
            Ranker::read(r#"{"features":["b","a"],"linear":[2.0,3.0]}"#, &names()).unwrap();
        assert_eq!(ranker.score(&[1.0, 10.0]), 23.0);
        assert_eq!(Ranker::single_feature(1).score(&[1.0, 10.0]), 10.0);
    }

    #[test]
    fn a_file_that_does_not_match_is_rejected_with_the_reason() {
        let error = |file: &str| Ranker::read(file, &names()).err().unwrap().to_string();
        assert!(
            error(r#"{"features":["c"],"linear":[1.0]}"#).contains("there is no feature \"c\"")
        );
        assert!(error(r#"{"features":["a"],"linear":[]}"#).contains("linear must have 1 numbers"));
        assert!(error("{").contains("ranker: EOF"));
    }
}
