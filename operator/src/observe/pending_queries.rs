//! The queries of hubs, and what a Prometheus answered. No reconcile waits for an answer: it plans
//! with what is there, and the hub is reconciled again when the answer has come.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mcphub_operator_plan::probes::{PrometheusAnswers, PrometheusQueries};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::prometheus::Prometheus;
use crate::stores::HubName;

/// The last queries of each hub.
#[derive(Debug)]
pub(crate) struct PendingQueries {
    prometheus: Prometheus,
    hubs: Mutex<HashMap<HubName, Pending>>,
}

#[derive(Debug)]
struct Pending {
    queries: PrometheusQueries,
    answers: Option<PrometheusAnswers>,
    /// Asks. It ends with this value.
    _task: AbortOnDropHandle<()>,
}

impl PendingQueries {
    pub(crate) fn new(prometheus: Prometheus) -> Self {
        Self { prometheus, hubs: Mutex::default() }
    }

    /// The answers to the last queries of the hub; `None` if nothing was asked or the answers have
    /// not come yet.
    pub(crate) fn answers(&self, hub: &HubName) -> Option<PrometheusAnswers> {
        self.lock().get(hub)?.answers.clone()
    }

    /// Asks, unless the same is being asked already. When the answers have come, the hub is sent to
    /// `answered`. They come in bounded time, because a Prometheus that does not answer is an
    /// answer, too.
    pub(crate) fn ask(
        self: &Arc<Self>,
        hub: &HubName,
        queries: PrometheusQueries,
        answered: &mpsc::Sender<HubName>,
    ) {
        let mut hubs = self.lock();
        let waits = hubs.get(hub).is_some_and(|pending| {
            pending.answers.is_none() && asks_the_same(&pending.queries, &queries)
        });
        if waits {
            return;
        }
        let (this, name, asked) = (self.clone(), hub.clone(), queries.clone());
        let answered = answered.clone();
        let task = tokio::spawn(async move {
            let PrometheusQueries { server, at, queries } = asked;
            let results = this.prometheus.run(&server, &queries).await;
            let answers = PrometheusAnswers { at, queries, results };
            // Another question may have taken its place in this moment.
            if let Some(pending) = this.lock().get_mut(&name).filter(|other| other.queries.at == at)
            {
                pending.answers = Some(answers);
            }
            // The queue is gone only at shutdown.
            let _ = answered.send(name).await;
        });
        let task = AbortOnDropHandle::new(task);
        hubs.insert(hub.clone(), Pending { queries, answers: None, _task: task });
    }

    /// Forgets the queries of a hub, because they are answered and used, or because they are not
    /// needed any more.
    pub(crate) fn forget(&self, hub: &HubName) {
        self.lock().remove(hub);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<HubName, Pending>> {
        self.hubs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the queries differ only in their time.
fn asks_the_same(a: &PrometheusQueries, b: &PrometheusQueries) -> bool {
    let keys = |queries: &PrometheusQueries| {
        queries.queries.iter().map(|query| query.key.clone()).collect::<Vec<_>>()
    };
    a.server == b.server && keys(a) == keys(b)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use jiff::Timestamp;
    use mcphub_operator_plan::probes::{Query, QueryKey, QueryPurpose, QueryResult, Span};
    use mcphub_operator_plan::snapshot::PrometheusTiming;
    use tokio::net::TcpListener;

    use super::*;
    use crate::config::PrometheusServer;
    use crate::metrics::Metrics;

    /// It accepts connections and never answers.
    async fn hanging() -> (TcpListener, Arc<PendingQueries>) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let second = Duration::from_secs(1);
        let timing = PrometheusTiming { scrape_interval: second, ingest_delay: second };
        let servers = [("main".to_owned(), PrometheusServer { url, timing })].into();
        let metrics = Metrics::new([&"main".to_owned()].into_iter()).unwrap();
        let prometheus = Prometheus::new(&servers, Arc::new(metrics)).unwrap();
        (listener, Arc::new(PendingQueries::new(prometheus)))
    }

    fn hub() -> HubName {
        HubName { namespace: "ai".into(), name: "team".into() }
    }

    fn queries(second: i64, rules: &[&str]) -> PrometheusQueries {
        let at = Timestamp::from_second(second).unwrap();
        let query = |rule: &&str| Query {
            key: QueryKey {
                revision: "0a1b2c3d".parse().unwrap(),
                purpose: QueryPurpose::Comparison((*rule).to_owned()),
            },
            promql: "a".into(),
            span: Span::At(at),
        };
        PrometheusQueries { server: "main".into(), at, queries: rules.iter().map(query).collect() }
    }

    // The time is paused, so it passes as soon as nothing else can happen.
    #[tokio::test(start_paused = true)]
    async fn a_prometheus_that_hangs_has_failed_in_bounded_time_and_the_hub_is_woken() {
        let (_listener, pending) = hanging().await;
        let (answered, mut hubs) = mpsc::channel(1);
        let rules: Vec<_> = (0..40).map(|number| format!("rule-{number}")).collect();
        let rules: Vec<_> = rules.iter().map(String::as_str).collect();
        pending.ask(&hub(), queries(7, &rules), &answered);
        assert_eq!(pending.answers(&hub()), None, "nobody waits for it");
        assert_eq!(hubs.recv().await, Some(hub()));
        let answers = pending.answers(&hub()).unwrap();
        assert_eq!((answers.at.as_second(), answers.results.len()), (7, 40));
        let failed = |result: &QueryResult| matches!(result, QueryResult::Failed(_));
        assert!(answers.results.values().all(failed));
        pending.forget(&hub());
        assert_eq!(pending.answers(&hub()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_being_asked_is_not_asked_again_and_another_question_takes_its_place() {
        let (_listener, pending) = hanging().await;
        let (answered, mut hubs) = mpsc::channel(1);
        pending.ask(&hub(), queries(1, &["a"]), &answered);
        pending.ask(&hub(), queries(2, &["a"]), &answered);
        hubs.recv().await;
        assert_eq!(pending.answers(&hub()).unwrap().at.as_second(), 1);

        pending.ask(&hub(), queries(3, &["a"]), &answered);
        pending.ask(&hub(), queries(4, &["a", "b"]), &answered);
        hubs.recv().await;
        let answers = pending.answers(&hub()).unwrap();
        assert_eq!((answers.at.as_second(), answers.results.len()), (4, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hub_on_an_unknown_prometheus_gets_an_answer() {
        let (_listener, pending) = hanging().await;
        let (answered, mut hubs) = mpsc::channel(1);
        let other = PrometheusQueries { server: "other".into(), ..queries(1, &["a"]) };
        pending.ask(&hub(), other, &answered);
        hubs.recv().await;
        let results: BTreeMap<_, _> = pending.answers(&hub()).unwrap().results;
        assert!(matches!(results.values().next(), Some(QueryResult::Failed(_))));
    }
}
