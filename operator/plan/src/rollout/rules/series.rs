//! Reads a query result that should be one series.

use jiff::Timestamp;

use crate::probes::QueryResult;

/// One series of numbers, or why there is none.
pub(crate) enum Points<'a> {
    /// In time order, with NaN points.
    Of(&'a [(Timestamp, f64)]),
    /// There is no series.
    Missing,
    /// There are several series, and nobody can say which one counts.
    Ambiguous,
    /// Prometheus did not answer.
    Down,
}

/// Reads a result that must be one series.
pub(crate) fn points(answer: &QueryResult) -> Points<'_> {
    match answer {
        QueryResult::Failed(_) => Points::Down,
        QueryResult::Series(series) => match series.as_slice() {
            [] => Points::Missing,
            [one] => Points::Of(&one.points),
            [_, _, ..] => Points::Ambiguous,
        },
    }
}

/// The newest number of a result that must be one series; `None` if it is NaN.
pub(crate) fn newest(answer: Option<&QueryResult>) -> Option<f64> {
    match points(answer?) {
        Points::Of(points) => {
            points.last().map(|(_, value)| *value).filter(|value| value.is_finite())
        }
        Points::Missing | Points::Ambiguous | Points::Down => None,
    }
}

/// Rounds a number of samples. An increase is extrapolated and therefore has a fraction.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
pub(crate) fn whole(samples: f64) -> u64 {
    samples.round() as u64
}
