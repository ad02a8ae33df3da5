//! The expressions of the metrics over recorded series. `metrics.test.yaml` has the form of
//! `promtool test rules`, which evaluates the same file with a real Prometheus in `make test`.

use std::collections::BTreeSet;
use std::time::Duration;

use mcphub_crds::rollout::Metric;
use mcphub_hub_wire::dataplane::Revision;
use serde::Deserialize;

use super::at;
use super::prometheus::Prometheus;
use crate::probes::{Query, QueryKey, QueryPurpose, QueryResult, Span};
use crate::rollout::rules::presets;

const RECORDED: &str = include_str!("metrics.test.yaml");

#[derive(Deserialize)]
struct File {
    tests: [Test; 1],
}

#[derive(Deserialize)]
struct Test {
    input_series: Vec<InputSeries>,
    promql_expr_test: Vec<ExpressionTest>,
}

#[derive(Deserialize)]
struct InputSeries {
    series: String,
    values: String,
}

#[derive(Deserialize)]
struct ExpressionTest {
    expr: String,
    eval_time: String,
    exp_samples: Vec<Sample>,
}

#[derive(Deserialize)]
struct Sample {
    value: f64,
}

fn recorded() -> Test {
    let File { tests: [test] } = serde_yaml_ng::from_str(RECORDED).unwrap();
    test
}

/// `name{label="value",…}`
fn name_and_labels(series: &str) -> (&str, Vec<(&str, &str)>) {
    let (name, labels) = series.strip_suffix('}').unwrap().split_once('{').unwrap();
    let labels = labels.split(',').map(|label| label.split_once('=').unwrap());
    (name, labels.map(|(label, value)| (label, value.trim_matches('"'))).collect())
}

/// promtool's notation: `a+bxn` is `a` and `n` more values, `axn` repeats it, `_` is no sample.
fn values(text: &str) -> Vec<Option<f64>> {
    let number = |text: &str| text.parse::<f64>().unwrap();
    let expand = |part: &str| match part.split_once('x') {
        None if part == "_" => vec![None],
        None => vec![Some(number(part))],
        Some((start, times)) => {
            let (start, step) = start.split_once('+').unwrap_or((start, "0"));
            let (start, step) = (number(start), number(step));
            let times: u32 = times.parse().unwrap();
            (0..=times).map(|time| Some(start + step * f64::from(time))).collect()
        }
    };
    text.split_whitespace().flat_map(expand).collect()
}

fn seconds(text: &str) -> i64 {
    let (minutes, seconds) = text.strip_suffix('s').unwrap().split_once('m').unwrap();
    minutes.parse::<i64>().unwrap() * 60 + seconds.parse::<i64>().unwrap()
}

#[test]
fn the_test_worlds_prometheus_evaluates_recorded_series_as_promtool_does() {
    let test = recorded();
    let mut prometheus = Prometheus::default();
    for InputSeries { series, values: text } in &test.input_series {
        let (name, labels) = name_and_labels(series);
        for (second, value) in (0..).step_by(15).zip(values(text)) {
            let Some(value) = value else { continue };
            prometheus.scrape(at(second), name, &labels, value);
        }
    }
    for ExpressionTest { expr, eval_time, exp_samples } in &test.promql_expr_test {
        let revision: Revision = "0a1b2c3d".parse().unwrap();
        let key = QueryKey { revision, purpose: QueryPurpose::Presence };
        let query = Query { key, promql: expr.clone(), span: Span::At(at(seconds(eval_time))) };
        let QueryResult::Series(series) = prometheus.answer(&query) else { unreachable!() };
        let values: Vec<_> = series.iter().flat_map(|series| &series.points).collect();
        assert_eq!(values.len(), exp_samples.len(), "{expr} at {eval_time}: {values:?}");
        for ((_, value), expected) in values.into_iter().zip(exp_samples) {
            let same = (value - expected.value).abs() < 1e-9
                || (value.is_nan() && expected.value.is_nan());
            assert!(same, "{expr} at {eval_time} is {value}, not {}", expected.value);
        }
    }
}

#[test]
fn every_expression_of_a_metric_is_recorded() {
    let revision: Revision = "0a1b2c3d".parse().unwrap();
    let window = Duration::from_mins(1);
    let metrics = [
        Metric::HubErrorRate,
        Metric::ToolErrorRate,
        Metric::UpstreamErrorRate,
        Metric::Availability,
        Metric::HubLatencyP95,
        Metric::LlmSuccessRate,
        Metric::LlmLatencyP95,
        Metric::CircuitBreakerOpen,
        Metric::SelectionRecall,
    ];
    let mut expressions: BTreeSet<_> = metrics
        .into_iter()
        .flat_map(|metric| {
            [presets::expression, presets::samples]
                .map(|part| part(metric, "ai", "team", &revision, window).unwrap())
        })
        .collect();
    expressions.insert(presets::presence("ai", "team", &revision, window));
    let rounded = |expression: String| format!("round({expression}, 0.0001)");
    let expressions: BTreeSet<_> = expressions.into_iter().map(rounded).collect();
    let recorded: BTreeSet<_> =
        recorded().promql_expr_test.into_iter().map(|test| test.expr).collect();
    assert_eq!(recorded, expressions);
}
