//! The bounds on questions: the queue, the circuit breaker, and the sharing of equal questions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mcphub_hub::llm::{Candidate, Error, Stats};
use mcphub_hub_wire::config::Provider;
use serde_json::json;

use crate::provider::{ScriptedProvider, TestLlm, chooses, raw, tools};

const P: Provider = Provider::OpenAI;

/// The value of the metric, which rollout rules read.
fn breaker(llm: &TestLlm) -> char {
    let text = llm.metrics();
    let (_, value) = text.split_once("mcp_hub_circuit_breaker_state{server=\"llm\"} ").unwrap();
    value.chars().next().unwrap()
}

#[tokio::test]
async fn before_the_first_question_counters_are_0_and_ratios_are_null() {
    let server = ScriptedProvider::start(|_| chooses(P, &[])).await;
    let llm = server.llm(P);
    let text = llm.metrics();
    for outcome in ["ok", "caller_error", "tool_error", "upstream_error", "hub_error"] {
        assert_eq!(llm.metric("requests_total", &["openai", outcome]), 0);
    }
    for name in ["queue_depth 0", "cache_hits_total 0", "cache_misses_total 0", "fallbacks_total 0"]
    {
        assert!(text.contains(&format!("\nmcp_hub_llm_{name}\n")), "{name} in {text}");
    }
    assert_eq!(llm.metric("request_duration_seconds_count", &["openai"]), 0);
    assert_eq!(
        serde_json::to_value(llm.client.stats()).unwrap(),
        json!({
            "llm": {
                "enabled": true, "provider": "openai", "model": "m-1", "queueDepth": 0,
                "totalCalls": 0, "successfulCalls": 0, "failedCalls": 0, "successRate": null,
                "averageLatency": null, "p95Latency": null, "p99Latency": null, "timeouts": 0,
                "totalRetries": 0, "fallbacksUsed": 0, "circuitBreakerState": "closed",
                "circuitBreakerFailures": 0, "circuitBreakerTrips": 0,
            },
            "llmCache": {
                "size": 0, "hitRate": null, "hits": 0, "misses": 0, "memoryUsageBytes": 0,
                "memoryUsageMB": 0.0, "ttlSeconds": 86400,
            },
        })
    );
    let disabled = serde_json::to_value(Stats::disabled()).unwrap();
    assert_eq!(
        (&disabled["llm"]["enabled"], &disabled["llm"]["provider"]),
        (&json!(false), &json!(null))
    );
}

#[tokio::test]
async fn equal_concurrent_questions_are_sent_once() {
    let server = ScriptedProvider::gated(|_| chooses(P, &["web__fetch"])).await;
    let llm = Arc::new(server.llm(P));
    let all: Vec<_> = (0..20)
        .map(|_| {
            let llm = Arc::clone(&llm);
            tokio::spawn(async move { llm.rank("p").await })
        })
        .collect();
    llm.until("it arrives", |_| !server.requests().is_empty()).await;
    server.open(1);
    for one in all {
        assert_eq!(one.await.unwrap(), Ok(vec![1]));
    }
    assert_eq!(server.requests().len(), 1);
    let cache = llm.client.stats().llm_cache;
    assert_eq!((cache.size, cache.hits, cache.misses, cache.hit_rate), (1, 19, 1, Some(0.95)));
}

#[tokio::test]
async fn the_same_candidates_in_another_order_are_the_same_question() {
    let server = ScriptedProvider::start(|_| chooses(P, &["web__fetch"])).await;
    let llm = server.llm(P);
    assert_eq!(llm.rank("p").await, Ok(vec![1]));
    let [a, b, c] = tools();
    assert_eq!(llm.client.rank("p", &[b, c, a], 10).await, Ok(vec![0]));
    assert_eq!(server.requests().len(), 1);
    let newer = Candidate { digest: b"2", ..b };
    llm.client.rank("p", &[newer, c, a], 10).await.unwrap();
    assert_eq!(server.requests().len(), 2, "another definition is another question");
}

#[tokio::test]
async fn max_concurrent_bounds_the_questions_in_flight_and_a_full_queue_rejects_more() {
    let server = ScriptedProvider::gated(|_| chooses(P, &[])).await;
    let llm = Arc::new(server.llm_with(P, |llm| llm.max_concurrent = 1));
    let ask = |number: usize| {
        let llm = Arc::clone(&llm);
        tokio::spawn(async move { llm.rank(&format!("prompt {number}")).await })
    };
    let first = ask(0);
    llm.until("it arrives", |_| server.requests().len() == 1).await;
    let waiting: Vec<_> = (1..=8).map(ask).collect();
    llm.until("all wait", |llm| llm.metric("queue_depth", &[]) == 8).await;
    assert_eq!(llm.rank("one too many").await, Err(Error::QueueFull(8)));
    assert_eq!(server.requests().len(), 1);
    assert_eq!(llm.client.stats().llm.circuit_breaker_failures, 0, "not the provider's doing");
    // A caller that stops waiting leaves the queue.
    waiting[0].abort();
    llm.until("one left", |llm| llm.metric("queue_depth", &[]) == 7).await;
    server.open(9);
    assert_eq!(first.await.unwrap(), Ok(vec![]));
    for one in waiting.into_iter().skip(1) {
        assert_eq!(one.await.unwrap(), Ok(vec![]));
    }
    assert_eq!(llm.metric("queue_depth", &[]), 0);
}

#[tokio::test]
async fn after_consecutive_failures_the_breaker_opens_and_a_probe_closes_it_again() {
    let up = Arc::new(AtomicBool::new(false));
    let is_up = Arc::clone(&up);
    let server = ScriptedProvider::start(move |_| {
        if is_up.load(Ordering::Relaxed) { chooses(P, &[]) } else { raw(500, &[], "") }
    })
    .await;
    let llm = server.llm_with(P, |llm| {
        llm.retry.max_retries = 0;
        llm.circuit_breaker.failure_threshold = 2;
        llm.circuit_breaker.reset_timeout_ms = 200;
    });
    for prompt in ["a", "b"] {
        assert_eq!(llm.rank(prompt).await.unwrap_err().category(), "http");
    }
    assert_eq!(llm.rank("c").await.unwrap_err().category(), "breaker_open");
    assert_eq!((server.requests().len(), breaker(&llm)), (2, '2'));
    let stats = llm.client.stats().llm;
    assert_eq!(
        (stats.circuit_breaker_state, stats.circuit_breaker_trips, stats.failed_calls),
        (Some("open"), 1, 3)
    );
    assert_eq!(stats.fallbacks_used, 3);
    up.store(true, Ordering::Relaxed);
    let patience = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while llm.rank("d").await.is_err() {
        assert!(tokio::time::Instant::now() < patience, "found again");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(
        (llm.client.stats().llm.circuit_breaker_state, breaker(&llm)),
        (Some("closed"), '0')
    );
}

#[tokio::test]
async fn a_caller_that_goes_away_is_counted_and_its_permit_is_released() {
    let server = ScriptedProvider::gated(|_| chooses(P, &[])).await;
    let llm = Arc::new(server.llm_with(P, |llm| llm.max_concurrent = 1));
    let other = Arc::clone(&llm);
    let gone = tokio::spawn(async move { other.rank("p").await });
    llm.until("it arrives", |_| server.requests().len() == 1).await;
    gone.abort();
    llm.until("it is counted", |llm| llm.metric("requests_total", &["caller_error"]) == 1).await;
    server.open(2);
    assert_eq!(llm.rank("p").await, Ok(vec![]));
}

#[tokio::test]
async fn the_model_of_a_reloaded_config_replaces_the_metrics() {
    let server = ScriptedProvider::start(|_| chooses(P, &[])).await;
    let llm = server.llm(P);
    llm.rank("p").await.unwrap();
    let config = crate::provider::config(Provider::Gemini, &server.url);
    let _other = mcphub_hub::llm::Llm::start(&config, &llm.registry).unwrap();
    assert_eq!(llm.metric("requests_total", &["gemini", "ok"]), 0);
    assert!(!llm.metrics().contains("\"openai\""));
}
