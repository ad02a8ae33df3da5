//! Client of the Prometheus servers in the operator's settings.

mod breaker;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::join_all;
use jiff::Timestamp;
use mcphub_operator_plan::probes::{Query, QueryKey, QueryResult, Series, Span};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, redirect};
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::time::{Instant as Deadline, timeout_at};
use tracing::{info, warn};
use url::Url;

use self::breaker::Breaker;
use super::body;
use crate::config;
use crate::metrics::Metrics;

/// Longest time that one query may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time until the queries of one hub are answered, with the wait for those of other hubs.
const DEADLINE: Duration = Duration::from_secs(10);
/// Prometheus returns at most about 11,000 points, which are less than 400 kB.
const LIMIT: usize = 4 << 20;
/// Concurrent queries to one server, for all hubs. A Prometheus runs 20 at a time by default, and
/// others ask it, too.
const CONCURRENT: usize = 10;

/// The servers by name.
#[derive(Debug)]
pub(crate) struct Prometheus {
    client: Client,
    servers: BTreeMap<String, Server>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct Server {
    url: Url,
    permits: Semaphore,
    breaker: Breaker,
}

impl Server {
    fn new(url: Url) -> Self {
        Self { url, permits: Semaphore::new(CONCURRENT), breaker: Breaker::default() }
    }
}

impl Prometheus {
    /// A rustls crypto provider must be installed before this is called.
    pub(crate) fn new(
        servers: &BTreeMap<String, config::PrometheusServer>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, reqwest::Error> {
        // A redirect or proxy could lead to an address that is not in the settings.
        let client = Client::builder()
            .timeout(TIMEOUT)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()?;
        let servers =
            servers.iter().map(|(name, server)| (name.clone(), Server::new(server.url.clone())));
        let servers = servers.collect();
        Ok(Self { client, servers, metrics })
    }

    /// Runs the queries. Every query has a result after [`DEADLINE`].
    pub(crate) async fn run(
        &self,
        name: &str,
        queries: &[Query],
    ) -> BTreeMap<QueryKey, QueryResult> {
        let deadline = Deadline::now() + DEADLINE;
        let run = |query: &Query| {
            let query = query.clone();
            async move {
                let result = timeout_at(deadline, self.run_one(name, &query)).await;
                let late = || QueryResult::Failed("too many queries are waiting".into());
                (query.key.clone(), result.unwrap_or_else(|_| late()))
            }
            .boxed()
        };
        join_all(queries.iter().map(run)).await.into_iter().collect()
    }

    async fn run_one(&self, name: &str, query: &Query) -> QueryResult {
        let Some(server) = self.servers.get(name) else {
            return QueryResult::Failed(format!(
                "the operator's settings have no Prometheus \"{name}\""
            ));
        };
        let Ok(_permit) = server.permits.acquire().await else {
            return QueryResult::Failed("the operator stops".into()); // nothing closes it before
        };
        if !server.breaker.admits() {
            return QueryResult::Failed("it did not answer a moment ago".into());
        }
        let since = Instant::now();
        let answer = self.ask(&server.url, query).await;
        self.metrics.observe_prometheus_query(name, since);
        // The reason is logged here, because tenants can read the status.
        let changed = server.breaker.record(!matches!(answer, Err(Failure::NoAnswer(_))));
        match answer {
            Ok(series) => {
                if changed {
                    info!(prometheus = name, "Prometheus answers again");
                }
                QueryResult::Series(series)
            }
            Err(failure) => self.failed(name, &failure, changed),
        }
    }

    fn failed(&self, name: &str, failure: &Failure, opened: bool) -> QueryResult {
        self.metrics.record_error("prometheus");
        let reason = failure.to_string();
        if opened {
            warn!(prometheus = name, reason, "Prometheus does not answer and is asked less often");
        } else {
            warn!(prometheus = name, reason, "Prometheus query failed");
        }
        QueryResult::Failed(reason)
    }

    async fn ask(&self, base: &Url, query: &Query) -> Result<Vec<Series>, Failure> {
        let (path, form) = form(query);
        let mut url = base.clone();
        url.set_path(&format!("{}/api/v1/{path}", base.path().trim_end_matches('/')));
        let request = self
            .client
            .post(url)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        let response = request.send().await;
        let response = response.map_err(|error| Failure::NoAnswer(body::message(&error)))?;
        let status = response.status();
        // Prometheus sends errors (bad query, too many samples) as JSON with an HTTP error status.
        match body::json::<Reply>(response, LIMIT).await {
            Ok(Reply::Success { data }) => data.series().map_err(Failure::Answer),
            Ok(Reply::Error { error }) => Err(Failure::Answer(error)),
            Err(_) if !status.is_success() => {
                Err(Failure::NoAnswer(format!("HTTP status {status}")))
            }
            Err(reason) => Err(Failure::NoAnswer(reason)),
        }
    }
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// Prometheus says what is wrong with the query.
    #[error("{0}")]
    Answer(String),
    /// It did not answer, or something else did.
    #[error("{0}")]
    NoAnswer(String),
}

fn form(query: &Query) -> (&'static str, String) {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("query", &query.promql);
    let path = match &query.span {
        Span::At(time) => {
            form.append_pair("time", &seconds(*time));
            "query"
        }
        Span::Range { start, end, step } => {
            form.append_pair("start", &seconds(*start)).append_pair("end", &seconds(*end));
            form.append_pair("step", &format!("{:.3}", step.as_secs_f64()));
            "query_range"
        }
    };
    (path, form.finish())
}

fn seconds(time: Timestamp) -> String {
    let millis = time.as_millisecond();
    format!("{}.{:03}", millis.div_euclid(1000), millis.rem_euclid(1000))
}

#[derive(Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
enum Reply {
    Success { data: Data },
    Error { error: String },
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Vector(Vec<Instantaneous>),
    Matrix(Vec<Ranged>),
    Scalar(Point),
    String(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct Instantaneous {
    metric: BTreeMap<String, String>,
    value: Point,
}

#[derive(Deserialize)]
struct Ranged {
    metric: BTreeMap<String, String>,
    values: Vec<Point>,
}

/// Seconds since 1970, and a number as text, which can be `NaN`, `+Inf` or `-Inf`.
#[derive(Deserialize)]
struct Point(f64, String);

impl Data {
    fn series(self) -> Result<Vec<Series>, String> {
        match self {
            Self::Vector(all) => all
                .into_iter()
                .map(|one| Ok(Series { labels: one.metric, points: vec![one.value.parse()?] }))
                .collect(),
            Self::Matrix(all) => all
                .into_iter()
                .map(|one| {
                    let points =
                        one.values.into_iter().map(Point::parse).collect::<Result<_, _>>()?;
                    Ok(Series { labels: one.metric, points })
                })
                .collect(),
            Self::Scalar(point) => {
                Ok(vec![Series { labels: BTreeMap::new(), points: vec![point.parse()?] }])
            }
            Self::String(_) => Err("the result of the query is a string, not numbers".into()),
        }
    }
}

impl Point {
    #[allow(clippy::cast_possible_truncation)] // milliseconds of real times are far below 2^53
    fn parse(self) -> Result<(Timestamp, f64), String> {
        let time = Timestamp::from_millisecond((self.0 * 1000.0).round() as i64);
        let time = time.map_err(|_| format!("{} is not a time", self.0))?;
        let value = self.1.parse().map_err(|_| format!("\"{}\" is not a number", self.1))?;
        Ok((time, value))
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::post;
    use mcphub_operator_plan::probes::QueryPurpose;
    use tokio::net::TcpListener;

    use super::*;

    /// A server with a fixed response. The real Prometheus runs in the cluster tests.
    async fn serve(status: StatusCode, answer: String) -> Prometheus {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url =
            Url::parse(&format!("http://{}/prefix/", listener.local_addr().unwrap())).unwrap();
        let echo = move || async move { (status, answer) };
        let routes = Router::new().route("/prefix/api/v1/query_range", post(echo));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        client(url)
    }

    fn client(url: Url) -> Prometheus {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let second = Duration::from_secs(1);
        let facts = mcphub_operator_plan::snapshot::PrometheusTiming {
            scrape_interval: second,
            ingest_delay: second,
        };
        let servers = [("main".to_owned(), config::PrometheusServer { url, timing: facts })].into();
        let metrics = Metrics::new([&"main".to_owned()].into_iter()).unwrap();
        Prometheus::new(&servers, Arc::new(metrics)).unwrap()
    }

    fn key() -> QueryKey {
        QueryKey { revision: "0a1b2c3d".parse().unwrap(), purpose: QueryPurpose::Presence }
    }

    fn query() -> Query {
        let start = Timestamp::from_millisecond(1_700_000_000_250).unwrap();
        let span = Span::Range { start, end: start, step: Duration::from_millis(1500) };
        Query { key: key(), promql: "a + b".into(), span }
    }

    async fn answer(prometheus: &Prometheus, name: &str) -> QueryResult {
        prometheus.run(name, &[query()]).await.remove(&key()).unwrap()
    }

    #[test]
    fn times_and_steps_are_sent_to_the_millisecond() {
        let sent = "query=a+%2B+b&start=1700000000.250&end=1700000000.250&step=1.500";
        assert_eq!(form(&query()), ("query_range", sent.to_owned()));
    }

    #[tokio::test]
    async fn a_matrix_becomes_series_with_their_nan_points() {
        let matrix = r#"{"status":"success","warnings":["w"],"data":{
            "resultType":"matrix","result":[{
                "metric":{"revision":"0a1b2c3d"},
                "values":[[1700000000.25,"0.5"],[1700000001.75,"NaN"]]}]}}"#;
        let prometheus = serve(StatusCode::OK, matrix.into()).await;
        let QueryResult::Series(series) = answer(&prometheus, "main").await else {
            panic!("series expected")
        };
        assert_eq!(series[0].labels["revision"], "0a1b2c3d");
        assert_eq!(
            series[0].points[0],
            (Timestamp::from_millisecond(1_700_000_000_250).unwrap(), 0.5)
        );
        assert!(series[0].points[1].1.is_nan());
    }

    #[tokio::test]
    async fn an_error_of_prometheus_is_reported_with_its_message() {
        let error =
            r#"{"status":"error","errorType":"bad_data","error":"parse error: unexpected end"}"#;
        let prometheus = serve(StatusCode::BAD_REQUEST, error.into()).await;
        assert_eq!(
            answer(&prometheus, "main").await,
            QueryResult::Failed("parse error: unexpected end".into())
        );
    }

    #[tokio::test]
    async fn a_response_that_is_not_prometheus_or_is_too_long_is_a_failure() {
        let proxy = serve(StatusCode::BAD_GATEWAY, "<html>".into()).await;
        assert_eq!(
            answer(&proxy, "main").await,
            QueryResult::Failed("HTTP status 502 Bad Gateway".into())
        );
        let endless = serve(StatusCode::OK, "x".repeat(LIMIT + 1)).await;
        assert_eq!(
            answer(&endless, "main").await,
            QueryResult::Failed(format!("the response is longer than {LIMIT} bytes"))
        );
    }

    // The address belongs to the administrator. Tenants who can read the status must not see it.
    #[tokio::test]
    async fn an_unreachable_prometheus_is_a_failure_without_its_address() {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let QueryResult::Failed(reason) =
            answer(&client(Url::parse(&format!("http://{free}")).unwrap()), "main").await
        else {
            panic!("nobody listens on that port")
        };
        assert!(!reason.contains(&free.to_string()), "{reason}");
        let QueryResult::Failed(reason) =
            answer(&client(Url::parse("http://127.0.0.1:1").unwrap()), "other").await
        else {
            panic!("there is no such server")
        };
        assert!(reason.contains("no Prometheus \"other\""), "{reason}");
    }
}
