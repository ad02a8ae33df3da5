//! Evaluates rollback triggers from the points of a range query.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::judgment::{RuleJudgment, Verdict};
use super::series::{Points, points, whole};
use crate::probes::QueryResult;
use crate::rollout::clock::elapsed;
use crate::rollout::policy::{Threshold, Trigger};

/// The evaluation of one trigger.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TriggerReading {
    pub(crate) verdict: Verdict,
    pub(crate) firing: bool,
    pub(crate) breach_start: Option<Timestamp>,
    pub(crate) value: Option<f64>,
    pub(crate) samples: Option<f64>,
}

/// The meaning of one point.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Point {
    Good,
    Bad,
    /// Too few samples, with their number. Neither starts nor ends a breach.
    TooFew(f64),
    /// No value. Neither starts nor ends a breach.
    Gap,
}

/// The range that was queried.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grid {
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    pub(crate) step: Duration,
}

/// Evaluates one trigger. `before` is its last evaluation in the same epoch. A breach that was open
/// then is still open, unless a good point followed or a stretch was never evaluated.
pub(crate) fn read(
    trigger: &Trigger,
    min_samples: u32,
    grid: Grid,
    values: &QueryResult,
    samples: &QueryResult,
    before: Option<&RuleJudgment>,
) -> TriggerReading {
    let carried = before.and_then(|rule| rule.breach_start);
    let silent = |verdict| TriggerReading {
        verdict,
        firing: false,
        breach_start: carried,
        value: None,
        samples: None,
    };
    let (values, samples) = match (points(values), points(samples)) {
        (Points::Down, _) | (_, Points::Down) => return silent(Verdict::ProviderDown),
        (Points::Ambiguous, _) | (_, Points::Ambiguous | Points::Missing) => {
            return silent(Verdict::NoData);
        }
        (Points::Missing, Points::Of(samples)) => (&[][..], samples),
        (Points::Of(values), Points::Of(samples)) => (values, samples),
    };
    let line = merge(trigger.threshold, min_samples, values, samples);
    let unseen =
        before.and_then(|rule| rule.evaluated_until).is_some_and(|until| until < grid.start);
    let (breach_start, last_bad) = breach(&line, carried.filter(|_| !unseen));
    let firing = breach_start
        .zip(last_bad)
        .is_some_and(|(breach_start, bad)| elapsed(bad, breach_start) >= trigger.lasting);
    let verdict = match (breach_start, latest(&line, grid)) {
        (Some(since), _) => Verdict::Breach { since },
        (None, Point::Good | Point::Bad) => Verdict::Good,
        (None, Point::TooFew(have)) => Verdict::TooFew { have: whole(have), need: min_samples },
        (None, Point::Gap) => Verdict::NoData,
    };
    let number = |points: &[(Timestamp, f64)]| {
        points.last().map(|(_, value)| *value).filter(|value| value.is_finite())
    };
    TriggerReading {
        verdict,
        firing,
        breach_start,
        value: number(values),
        samples: number(samples),
    }
}

fn merge(
    threshold: Threshold,
    min_samples: u32,
    values: &[(Timestamp, f64)],
    samples: &[(Timestamp, f64)],
) -> Vec<(Timestamp, Point)> {
    let values: BTreeMap<Timestamp, f64> = values.iter().copied().collect();
    let point = |at: &Timestamp, have: f64| match values.get(at) {
        _ if !have.is_finite() => Point::Gap,
        // Rounded, because an increase is extrapolated.
        _ if have.round() < f64::from(min_samples) => Point::TooFew(have),
        Some(value) if value.is_nan() => Point::Gap,
        None => Point::Gap,
        Some(value) if threshold.is_breached_by(*value) => Point::Bad,
        Some(_) => Point::Good,
    };
    samples.iter().map(|(at, have)| (*at, point(at, *have))).collect()
}

/// Start of the breach that is open at the end of the line, and its last bad point.
fn breach(
    line: &[(Timestamp, Point)],
    carried: Option<Timestamp>,
) -> (Option<Timestamp>, Option<Timestamp>) {
    let mut breach_start = carried;
    let mut last_bad = None;
    for (at, point) in line {
        match point {
            Point::Good => (breach_start, last_bad) = (None, None),
            Point::Bad => {
                breach_start = Some(breach_start.map_or(*at, |breach_start| breach_start.min(*at)));
                last_bad = Some(*at);
            }
            Point::TooFew(_) | Point::Gap => {}
        }
    }
    (breach_start, last_bad)
}

/// The newest point; a gap if the series ends too early.
fn latest(line: &[(Timestamp, Point)], grid: Grid) -> Point {
    match line.last() {
        Some((at, point)) if elapsed(grid.end, *at) < grid.step * 2 => *point,
        Some(_) | None => Point::Gap,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes::Series;
    use crate::rollout::tests::at;

    /// One point every 10 s from 0 to 120, with 100 samples each; `None` is a gap.
    fn read_values(values: &[(i64, Option<f64>)], lasting: u64) -> TriggerReading {
        let there =
            values.iter().filter_map(|(second, value)| value.map(|value| (at(*second), value)));
        let points: Vec<_> = there.collect();
        let samples = points.iter().map(|(at, _)| (*at, 100.0)).collect();
        read_series(points, samples, lasting, None)
    }

    fn read_series(
        values: Vec<(Timestamp, f64)>,
        samples: Vec<(Timestamp, f64)>,
        lasting: u64,
        before: Option<&RuleJudgment>,
    ) -> TriggerReading {
        let one = |points| QueryResult::Series(vec![Series { labels: BTreeMap::new(), points }]);
        let trigger =
            Trigger { threshold: Threshold::Above(0.1), lasting: Duration::from_secs(lasting) };
        let grid = Grid { start: at(0), end: at(120), step: Duration::from_secs(10) };
        read(&trigger, 20, grid, &one(values), &one(samples), before)
    }

    fn every_ten(value: impl Fn(i64) -> Option<f64>) -> Vec<(i64, Option<f64>)> {
        (0..=12).map(|at| (at * 10, value(at * 10))).collect()
    }

    #[test]
    fn a_breach_as_long_as_for_fires_from_its_first_bad_point() {
        let reading = read_values(&every_ten(|at| Some(if at >= 60 { 0.2 } else { 0.0 })), 60);
        assert_eq!((reading.verdict, reading.firing), (Verdict::Breach { since: at(60) }, true));
    }

    #[test]
    fn a_breach_one_point_shorter_than_for_does_not_fire() {
        let reading = read_values(&every_ten(|at| Some(if at >= 70 { 0.2 } else { 0.0 })), 60);
        assert_eq!((reading.verdict, reading.firing), (Verdict::Breach { since: at(70) }, false));
    }

    // Flagger's failedChecks is never reset: a canary with one bad minute per hour is rolled back
    // in the end.
    #[test]
    fn one_good_point_ends_a_breach() {
        let reading = read_values(&every_ten(|at| Some(if at == 60 { 0.0 } else { 0.2 })), 60);
        assert_eq!((reading.verdict, reading.firing), (Verdict::Breach { since: at(70) }, false));
    }

    #[test]
    fn a_gap_neither_starts_nor_resets_a_breach() {
        let reading = read_values(&every_ten(|at| (!(30..90).contains(&at)).then_some(0.2)), 100);
        assert_eq!((reading.verdict, reading.firing), (Verdict::Breach { since: at(0) }, true));
    }

    #[test]
    fn a_breach_that_only_a_gap_follows_stays_open_and_does_not_grow() {
        let reading = read_values(&every_ten(|at| (at <= 20).then_some(0.2)), 60);
        assert_eq!((reading.verdict, reading.firing), (Verdict::Breach { since: at(0) }, false));
    }

    #[test]
    fn no_points_are_no_data_and_never_good() {
        assert_eq!(read_values(&[], 60).verdict, Verdict::NoData);
    }

    #[test]
    fn a_series_that_ended_is_no_data() {
        assert_eq!(
            read_values(&every_ten(|at| (at <= 60).then_some(0.0)), 60).verdict,
            Verdict::NoData
        );
    }

    #[test]
    fn bad_values_on_too_few_samples_are_no_breach() {
        let line = |value: f64| (0..=12).map(|step| (at(step * 10), value)).collect::<Vec<_>>();
        let reading = read_series(line(1.0), line(19.4), 60, None);
        assert_eq!(
            (reading.verdict, reading.firing),
            (Verdict::TooFew { have: 19, need: 20 }, false)
        );
    }

    // The value is 0/0. A hub without traffic is not a hub without errors.
    #[test]
    fn no_traffic_is_too_few_samples() {
        let line = |value: f64| (0..=12).map(|step| (at(step * 10), value)).collect::<Vec<_>>();
        assert_eq!(
            read_series(line(f64::NAN), line(0.0), 60, None).verdict,
            Verdict::TooFew { have: 0, need: 20 }
        );
    }

    #[test]
    fn several_series_are_no_data_and_an_error_is_provider_down() {
        let trigger = Trigger { threshold: Threshold::Above(0.1), lasting: Duration::from_mins(1) };
        let grid = Grid { start: at(0), end: at(120), step: Duration::from_secs(10) };
        let series = || Series { labels: BTreeMap::new(), points: vec![(at(120), 0.5)] };
        let (two, one) =
            (QueryResult::Series(vec![series(), series()]), QueryResult::Series(vec![series()]));
        let down = QueryResult::Failed("connection refused".into());
        assert_eq!(read(&trigger, 0, grid, &two, &one, None).verdict, Verdict::NoData);
        assert_eq!(read(&trigger, 0, grid, &down, &one, None).verdict, Verdict::ProviderDown);
        assert_eq!(read(&trigger, 0, grid, &one, &down, None).verdict, Verdict::ProviderDown);
    }

    fn opened(breach_start: i64, evaluated_until: i64) -> RuleJudgment {
        RuleJudgment {
            name: "errors".into(),
            dry_run: false,
            value: None,
            stable_value: None,
            samples: None,
            trigger: None,
            firing: false,
            gate: None,
            gate_value: None,
            breach_start: Some(at(breach_start)),
            evaluated_until: Some(at(evaluated_until)),
            failing_tools: Vec::new(),
        }
    }

    #[test]
    fn a_breach_older_than_the_range_keeps_its_start_across_an_outage() {
        let bad: Vec<_> = (10..=12).map(|step| (at(step * 10), 0.2)).collect();
        let samples: Vec<_> = bad.iter().map(|(at, _)| (*at, 100.0)).collect();
        let reading = read_series(bad, samples, 110, Some(&opened(-40, 5)));
        assert_eq!((reading.verdict, reading.firing), (Verdict::Breach { since: at(-40) }, true));
    }

    #[test]
    fn a_breach_is_not_carried_over_a_stretch_that_nobody_looked_at() {
        let bad: Vec<_> = (10..=12).map(|step| (at(step * 10), 0.2)).collect();
        let samples: Vec<_> = bad.iter().map(|(at, _)| (*at, 100.0)).collect();
        let reading = read_series(bad, samples, 110, Some(&opened(-400, -300)));
        assert_eq!((reading.verdict, reading.firing), (Verdict::Breach { since: at(100) }, false));
    }
}
