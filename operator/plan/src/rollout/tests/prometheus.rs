//! A Prometheus that evaluates. It keeps series sample by sample, as scrapes bring them, and
//! answers an expression from the samples in its window: with counter resets, with the
//! extrapolation of `rate` and `increase`, and without a series where nothing was scraped.
//!
//! It evaluates the part of PromQL that rules use and panics at the rest. `promtool` gives the same
//! numbers for the same series: see [`super::recorded`].

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use promql_parser::parser::token::{T_DIV, T_EQLC, T_MAX, T_MIN, T_SUM};
use promql_parser::parser::{
    AggregateExpr, BinaryExpr, Call, Expr, LabelModifier, MatrixSelector, VectorSelector, parse,
};

use super::simulation::instants;
use crate::probes::{Query, QueryResult, Series};
use crate::rollout::clock::before;

pub(super) type Labels = BTreeMap<String, String>;
/// What an expression is at one instant.
type Vector = Vec<(Labels, f64)>;

const NAME: &str = "__name__";

/// Samples of every series, in time order.
#[derive(Debug, Default)]
pub(super) struct Prometheus {
    series: BTreeMap<Labels, Vec<(Timestamp, f64)>>,
}

/// The samples of one series in a window, in time order and never empty.
struct Window<'a> {
    samples: &'a [(Timestamp, f64)],
    start: Timestamp,
    end: Timestamp,
}

impl Prometheus {
    /// Stores one sample of one series.
    pub(super) fn scrape(
        &mut self,
        at: Timestamp,
        name: &str,
        labels: &[(&str, &str)],
        value: f64,
    ) {
        let name = std::iter::once((NAME, name));
        let labels = name.chain(labels.iter().copied());
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let samples = self.series.entry(labels).or_default();
        assert!(samples.last().is_none_or(|(last, _)| *last < at), "scrapes come in time order");
        samples.push((at, value));
    }

    /// Answers one query as `/api/v1/query` and `/api/v1/query_range` do.
    pub(super) fn answer(&self, query: &Query) -> QueryResult {
        let expression = parse(&query.promql).unwrap_or_else(|error| {
            panic!("Prometheus would refuse {}: {error}", query.promql);
        });
        let mut series: BTreeMap<Labels, Vec<(Timestamp, f64)>> = BTreeMap::new();
        for at in instants(&query.span) {
            for (labels, value) in self.evaluate(&expression, at) {
                series.entry(labels).or_default().push((at, value));
            }
        }
        let series = series.into_iter().map(|(labels, points)| Series { labels, points });
        QueryResult::Series(series.collect())
    }

    fn evaluate(&self, expression: &Expr, at: Timestamp) -> Vector {
        match expression {
            Expr::Paren(paren) => self.evaluate(&paren.expr, at),
            Expr::NumberLiteral(number) => vec![(Labels::new(), number.val)],
            Expr::Call(call) => self.call(call, at),
            Expr::Aggregate(aggregate) => self.aggregate(aggregate, at),
            Expr::Binary(binary) => self.binary(binary, at),
            other => panic!("rules do not use {other}"),
        }
    }

    fn call(&self, call: &Call, at: Timestamp) -> Vector {
        let argument = |number: usize| call.args.args[number].as_ref();
        let over = |read: fn(&Window<'_>) -> Option<f64>| self.over(argument(0), at, read);
        match call.func.name {
            "rate" => over(|window| {
                Some(extrapolated_increase(window)? / seconds(window.end, window.start))
            }),
            "increase" => over(extrapolated_increase),
            "count_over_time" => {
                over(|window| Some(f64::from(u32::try_from(window.samples.len()).unwrap())))
            }
            "max_over_time" => over(|window| window.values().reduce(f64::max)),
            "avg_over_time" => over(|window| {
                let number = f64::from(u32::try_from(window.samples.len()).unwrap());
                Some(window.values().sum::<f64>() / number)
            }),
            "round" => {
                let Expr::NumberLiteral(nearest) = argument(1) else {
                    panic!("the recorded values are rounded to a constant")
                };
                let round = |value: f64| (value / nearest.val + 0.5).floor() * nearest.val;
                self.evaluate(argument(0), at)
                    .into_iter()
                    .map(|(labels, value)| (labels, round(value)))
                    .collect()
            }
            "histogram_quantile" => {
                let Expr::NumberLiteral(quantile) = argument(0) else {
                    panic!("rules ask for a constant quantile")
                };
                histogram_quantile(quantile.val, self.evaluate(argument(1), at))
            }
            other => panic!("rules do not use {other}()"),
        }
    }

    /// Applies a function to the window of every series that a range selector selects.
    fn over(&self, selector: &Expr, at: Timestamp, read: fn(&Window<'_>) -> Option<f64>) -> Vector {
        let Expr::MatrixSelector(MatrixSelector { vs, range }) = selector else {
            panic!("a rule reads a window, never an instant: {selector}")
        };
        assert!(vs.offset.is_none() && vs.at.is_none(), "rules use neither offset nor @: {vs}");
        let matching = self.series.iter().filter(|(labels, _)| matches(vs, labels));
        matching
            .filter_map(|(labels, samples)| {
                let window = Window::new(samples, *range, at)?;
                let mut labels = labels.clone();
                labels.remove(NAME);
                Some((labels, read(&window)?))
            })
            .collect()
    }

    fn aggregate(&self, aggregate: &AggregateExpr, at: Timestamp) -> Vector {
        let join = match aggregate.op.id() {
            T_SUM => |left: f64, right: f64| left + right,
            T_MIN => f64::min,
            T_MAX => f64::max,
            _ => panic!("rules do not use {aggregate}"),
        };
        let by = match &aggregate.modifier {
            None => Vec::new(),
            Some(LabelModifier::Include(names)) => names.labels.clone(),
            Some(LabelModifier::Exclude(_)) => panic!("rules do not use without: {aggregate}"),
        };
        let mut groups = BTreeMap::<Labels, f64>::new();
        for (mut labels, value) in self.evaluate(&aggregate.expr, at) {
            labels.retain(|name, _| by.contains(name));
            let group = groups.entry(labels);
            group.and_modify(|joined| *joined = join(*joined, value)).or_insert(value);
        }
        groups.into_iter().collect()
    }

    fn binary(&self, binary: &BinaryExpr, at: Timestamp) -> Vector {
        let compares_as_bool =
            binary.modifier.as_ref().is_some_and(|modifier| modifier.return_bool);
        let operation = match binary.op.id() {
            T_DIV => |left: f64, right: f64| left / right,
            T_EQLC if compares_as_bool => {
                |left: f64, right: f64| if left.total_cmp(&right).is_eq() { 1.0 } else { 0.0 }
            }
            _ => panic!("rules do not use {binary}"),
        };
        let left = self.evaluate(&binary.lhs, at);
        if let Expr::NumberLiteral(number) = binary.rhs.as_ref() {
            return left
                .into_iter()
                .map(|(labels, value)| (labels, operation(value, number.val)))
                .collect();
        }
        let right: BTreeMap<_, _> = self.evaluate(&binary.rhs, at).into_iter().collect();
        let pairs = left.into_iter().filter_map(|(labels, value)| {
            let other = *right.get(&labels)?;
            Some((labels, operation(value, other)))
        });
        pairs.collect()
    }
}

fn matches(selector: &VectorSelector, labels: &Labels) -> bool {
    let of = |name: &str| labels.get(name).map_or("", String::as_str);
    selector.name.as_deref().is_none_or(|name| of(NAME) == name)
        && selector.matchers.matchers.iter().all(|matcher| matcher.is_match(of(&matcher.name)))
}

impl<'a> Window<'a> {
    /// The samples of `range` before `end`, both ends included, as Prometheus 2 reads them.
    fn new(samples: &'a [(Timestamp, f64)], range: Duration, end: Timestamp) -> Option<Self> {
        let start = before(end, range);
        let from = samples.partition_point(|(at, _)| *at < start);
        let to = samples.partition_point(|(at, _)| *at <= end);
        (from < to).then(|| Self { samples: &samples[from..to], start, end })
    }

    fn values(&self) -> impl Iterator<Item = f64> + '_ {
        self.samples.iter().map(|(_, value)| *value)
    }
}

/// The increase of a counter, extrapolated to the window's ends: `extrapolatedRate` in
/// `promql/functions.go` of Prometheus.
fn extrapolated_increase(window: &Window<'_>) -> Option<f64> {
    let [(first_at, first), .., (last_at, _)] = window.samples else { return None };
    let pairs = window.samples.windows(2);
    let increase: f64 = pairs
        .map(|pair| {
            let (earlier, later) = (pair[0].1, pair[1].1);
            // A counter that falls was reset, and counts from 0 again.
            if later < earlier { later } else { later - earlier }
        })
        .sum();
    let sampled = seconds(*last_at, *first_at);
    let average = sampled / f64::from(u32::try_from(window.samples.len() - 1).unwrap());
    let reach = |gap: f64| if gap >= average * 1.1 { average / 2.0 } else { gap };
    let mut to_start = reach(seconds(*first_at, window.start));
    if increase > 0.0 && *first >= 0.0 {
        // A counter cannot have been below 0.
        to_start = to_start.min(sampled * (first / increase));
    }
    let to_end = reach(seconds(window.end, *last_at));
    Some(increase * (sampled + to_start + to_end) / sampled)
}

fn seconds(later: Timestamp, earlier: Timestamp) -> f64 {
    later.duration_since(earlier).as_secs_f64()
}

/// `bucketQuantile` in `promql/quantile.go` of Prometheus, for one histogram without other labels.
fn histogram_quantile(quantile: f64, buckets: Vector) -> Vector {
    let mut buckets: Vec<(f64, f64)> = buckets
        .into_iter()
        .map(|(labels, count)| (labels["le"].replace("+Inf", "inf").parse().unwrap(), count))
        .collect();
    buckets.sort_by(|left, right| left.0.total_cmp(&right.0));
    let Some((bound, all)) = buckets.last().copied() else { return Vec::new() };
    let value = if !bound.is_infinite() || buckets.len() < 2 || all == 0.0 {
        f64::NAN
    } else {
        let rank = quantile * all;
        let number = buckets.iter().position(|(_, count)| *count >= rank).unwrap();
        if number == buckets.len() - 1 {
            buckets[number - 1].0
        } else {
            let (lower, under) = if number == 0 { (0.0, 0.0) } else { buckets[number - 1] };
            let (upper, count) = buckets[number];
            lower + (upper - lower) * (rank - under) / (count - under)
        }
    };
    vec![(Labels::new(), value)]
}
