//! The bake: time at a step in which the canary was Available and was really scraped.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::judgment::Verdict;
use super::series::{Points, points};
use crate::probes::QueryResult;
use crate::rollout::clock::{after, before, elapsed, millis};

/// Maximum number of stretches. The oldest ones are dropped first. More of them mean that scrapes
/// fail all the time.
const STRETCHES: usize = 32;

/// Observed time of one step. It never decreases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bake {
    /// When all routers obeyed the weight.
    pub began: Timestamp,
    /// Observed time in milliseconds.
    pub observed_ms: u64,
    /// Scrapes have been counted up to this instant.
    pub until: Timestamp,
    /// Observed stretches, oldest first.
    #[serde(default)]
    pub stretches: Vec<(Timestamp, Timestamp)>,
}

impl Bake {
    /// A bake without observed time.
    pub fn begin(now: Timestamp) -> Self {
        Self { began: now, observed_ms: 0, until: now, stretches: Vec::new() }
    }

    /// Observed time.
    pub fn observed(&self) -> Duration {
        Duration::from_millis(self.observed_ms)
    }

    /// Corrects times of a leader whose clock was wrong. No stretch is counted twice: a clock that
    /// went back counts nothing until it is past what was counted.
    pub(crate) fn no_later_than(&mut self, now: Timestamp) {
        if self.began > now {
            *self = Self::begin(now);
        }
        let counted = self.stretches.last().map_or(self.began, |(_, to)| *to);
        self.until = self.until.min(now.max(counted));
    }

    /// Start of the last `length` of observed time, assuming that the stretch up to `end` is
    /// observed.
    pub(crate) fn reach(&self, length: Duration, end: Timestamp) -> Timestamp {
        let mut missing = length.saturating_sub(elapsed(end, self.until));
        let mut start = before(end, length).max(self.until).min(end);
        for (from, to) in self.stretches.iter().rev() {
            if missing.is_zero() {
                break;
            }
            let stretch = elapsed(*to, *from);
            start = if stretch >= missing { before(*to, missing) } else { *from };
            missing = missing.saturating_sub(stretch);
        }
        start
    }

    /// Counts the instants after `until` at which a scrape was present. Each of them stands for the
    /// `step` before it.
    fn count(&mut self, instants: u32, step: Duration, present: impl Fn(Timestamp) -> bool) {
        for number in 1..=instants {
            let (from, to) =
                (after(self.until, step * (number - 1)), after(self.until, step * number));
            if !present(to) {
                continue;
            }
            self.observed_ms = self.observed_ms.saturating_add(millis(step));
            match self.stretches.last_mut() {
                Some((_, last)) if *last == from => *last = to,
                Some(_) | None => self.stretches.push((from, to)),
            }
        }
        self.until = after(self.until, step * instants);
        let surplus = self.stretches.len().saturating_sub(STRETCHES);
        self.stretches.drain(..surplus);
    }

    /// Counts the result of [`super::presets::presence`] at `grid`. Time in which the canary was
    /// not Available does not count.
    pub(crate) fn observe(
        &mut self,
        answer: &QueryResult,
        grid: Instants,
        available: bool,
    ) -> Verdict {
        match points(answer) {
            // The same stretch is queried again, because an outage of Prometheus is not a gap in
            // the scrapes.
            Points::Down => Verdict::ProviderDown,
            Points::Missing | Points::Ambiguous => {
                self.count(grid.number, grid.step, |_| false);
                Verdict::NoData
            }
            Points::Of(seen) => {
                // Prometheus rounds instants to milliseconds.
                let near = |point: Timestamp, at| {
                    elapsed(point, at).max(elapsed(at, point)) * 2 < grid.step
                };
                let there =
                    |at| seen.iter().any(|(point, scrapes)| near(*point, at) && *scrapes >= 1.0);
                let last_seen =
                    grid.number > 0 && there(after(self.until, grid.step * grid.number));
                self.count(grid.number, grid.step, |at| available && there(at));
                if last_seen { Verdict::Good } else { Verdict::NoData }
            }
        }
    }
}

/// Instants of a range query, after its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instants {
    pub(crate) number: u32,
    pub(crate) step: Duration,
}

/// Maximum number of points in one result. Prometheus rejects 11,000.
const MOST: u64 = 5_000;

/// Instants between `start` and `end`, one scrape interval apart, or further apart if there would
/// be too many.
pub(crate) fn instants(start: Timestamp, end: Timestamp, scrape: Duration) -> Instants {
    let span = millis(elapsed(end, start));
    let scrape = millis(scrape).max(1);
    let step = scrape.max(span.div_ceil(MOST));
    Instants {
        number: u32::try_from(span / step).unwrap_or(u32::MAX),
        step: Duration::from_millis(step),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes::Series;
    use crate::rollout::tests::at;

    const SECOND: Duration = Duration::from_secs(1);

    fn scraped(seconds: impl Iterator<Item = i64>) -> QueryResult {
        let points = seconds.map(|second| (at(second), 2.0)).collect();
        QueryResult::Series(vec![Series { labels: std::collections::BTreeMap::new(), points }])
    }

    #[test]
    fn only_scraped_time_counts_and_a_gap_is_left_out() {
        let mut bake = Bake::begin(at(0));
        let grid = instants(at(0), at(100), SECOND * 10);
        let verdict = bake.observe(&scraped([10, 20, 30, 80, 90, 100].into_iter()), grid, true);
        assert_eq!((bake.observed(), verdict), (SECOND * 60, Verdict::Good));
        assert_eq!(bake.stretches, vec![(at(0), at(30)), (at(70), at(100))]);
    }

    // Argo Rollouts pauses by the wall clock: after an outage that is longer than the bake it
    // continues at once.
    #[test]
    fn an_operator_that_was_away_counts_what_was_scraped_meanwhile_and_no_more() {
        let mut bake = Bake::begin(at(0));
        let grid = instants(at(0), at(3_600), SECOND * 10);
        bake.observe(&scraped((1..=6).map(|step| step * 10)), grid, true);
        assert_eq!((bake.observed(), bake.until), (SECOND * 60, at(3_600)));
    }

    #[test]
    fn an_unreachable_prometheus_postpones_the_count_instead_of_losing_it() {
        let mut bake = Bake::begin(at(0));
        let down = QueryResult::Failed("refused".into());
        assert_eq!(
            bake.observe(&down, instants(at(0), at(30), SECOND * 10), true),
            Verdict::ProviderDown
        );
        bake.observe(
            &scraped((1..=6).map(|step| step * 10)),
            instants(at(0), at(60), SECOND * 10),
            true,
        );
        assert_eq!(bake.observed(), SECOND * 60);
    }

    #[test]
    fn time_without_an_available_canary_does_not_count() {
        let mut bake = Bake::begin(at(0));
        bake.observe(
            &scraped((1..=6).map(|step| step * 10)),
            instants(at(0), at(60), SECOND * 10),
            false,
        );
        assert_eq!((bake.observed(), bake.until), (Duration::ZERO, at(60)));
    }

    #[test]
    fn a_clock_that_went_back_counts_nothing_twice() {
        let mut bake = Bake::begin(at(0));
        bake.observe(
            &scraped((1..=6).map(|step| step * 10)),
            instants(at(0), at(60), SECOND * 10),
            true,
        );
        bake.no_later_than(at(20));
        assert_eq!((bake.until, bake.observed()), (at(60), SECOND * 60));
    }

    // A leader whose clock was an hour ahead saw an hour without scrapes.
    #[test]
    fn a_clock_that_was_ahead_does_not_stop_the_bake_until_it_is_reached() {
        let mut bake = Bake::begin(at(0));
        bake.observe(
            &scraped((1..=6).map(|step| step * 10)),
            instants(at(0), at(3_600), SECOND * 10),
            true,
        );
        bake.no_later_than(at(70));
        assert_eq!((bake.until, bake.observed()), (at(70), SECOND * 60));
    }

    #[test]
    fn a_week_is_asked_for_in_no_more_points_than_prometheus_gives() {
        let grid = instants(at(0), at(7 * 86_400), SECOND);
        assert!(grid.number <= 5_000, "{grid:?}");
    }

    #[test]
    fn the_last_bake_of_observed_time_reaches_back_over_a_gap() {
        let bake = Bake {
            began: at(0),
            observed_ms: 60_000,
            until: at(100),
            stretches: vec![(at(0), at(30)), (at(70), at(100))],
        };
        assert_eq!(bake.reach(SECOND * 10, at(110)), at(100));
        assert_eq!(bake.reach(SECOND * 30, at(110)), at(80));
        assert_eq!(bake.reach(SECOND * 50, at(110)), at(20));
        assert_eq!(bake.reach(SECOND * 500, at(110)), at(0));
    }
}
