//! What bounds the questions: the queue, the breaker, and that equal questions are asked once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mcphub_hub::llm::{Candidate, Error, Stats};
use mcphub_hub_wire::config::Provider;
use serde_json::json;

use crate::provider::{Asked, Scripted, chooses, raw, tools};

const P: Provider = Provider::OpenAI;

/// As rollout rules see it.
fn breaker(asked: &Asked) -> char {
    let text = asked.metrics();
    let (_, value) = text.split_once("mcp_hub_circuit_breaker_state{server=\"llm\"} ").unwrap();
    value.chars().next().unwrap()
}

#[tokio::test]
async fn all_is_zero_and_every_ratio_null_before_the_first_question() {
    let server = Scripted::start(|_| chooses(P, &[])).await;
    let asked = server.llm(P);
    let text = asked.metrics();
    for outcome in ["ok", "caller_error", "tool_error", "upstream_error", "hub_error"] {
        assert_eq!(asked.metric("requests_total", &["openai", outcome]), 0);
    }
    for name in ["queue_depth 0", "cache_hits_total 0", "cache_misses_total 0", "fallbacks_total 0"]
    {
        assert!(text.contains(&format!("\nmcp_hub_llm_{name}\n")), "{name} in {text}");
    }
    assert_eq!(asked.metric("request_duration_seconds_count", &["openai"]), 0);
    assert_eq!(
        serde_json::to_value(asked.llm.stats()).unwrap(),
        json!({
            "llm": {
                "enabled": true, "provider": "openai", "model": "m-1", "queueDepth": 0, "totalCalls": 0, "successfulCalls": 0,
                "failedCalls": 0, "successRate": null, "averageLatency": null, "p95Latency": null, "p99Latency": null,
                "timeouts": 0, "totalRetries": 0, "fallbacksUsed": 0, "circuitBreakerState": "closed",
                "circuitBreakerFailures": 0, "circuitBreakerTrips": 0,
            },
            "llmCache": {
                "size": 0, "hitRate": null, "hits": 0, "misses": 0, "memoryUsageBytes": 0, "memoryUsageMB": 0.0, "ttlSeconds": 86400,
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
async fn equal_questions_at_one_time_are_asked_once() {
    let server = Scripted::gated(|_| chooses(P, &["web__fetch"])).await;
    let asked = Arc::new(server.llm(P));
    let all: Vec<_> = (0..20)
        .map(|_| {
            let asked = Arc::clone(&asked);
            tokio::spawn(async move { asked.rank("p").await })
        })
        .collect();
    asked.until("it arrives", |_| !server.seen().is_empty()).await;
    server.open(1);
    for one in all {
        assert_eq!(one.await.unwrap(), Ok(vec![1]));
    }
    assert_eq!(server.seen().len(), 1);
    let cache = asked.llm.stats().llm_cache;
    assert_eq!((cache.size, cache.hits, cache.misses, cache.hit_rate), (1, 19, 1, Some(0.95)));
}

#[tokio::test]
async fn the_order_of_candidates_does_not_make_another_question() {
    let server = Scripted::start(|_| chooses(P, &["web__fetch"])).await;
    let asked = server.llm(P);
    assert_eq!(asked.rank("p").await, Ok(vec![1]));
    let [a, b, c] = tools();
    assert_eq!(asked.llm.rank("p", &[b, c, a], 10).await, Ok(vec![0]));
    assert_eq!(server.seen().len(), 1);
    let newer = Candidate { digest: b"2", ..b };
    asked.llm.rank("p", &[newer, c, a], 10).await.unwrap();
    assert_eq!(server.seen().len(), 2, "another definition is another question");
}

#[tokio::test]
async fn no_more_than_max_concurrent_are_asked_at_a_time_and_a_full_queue_refuses() {
    let server = Scripted::gated(|_| chooses(P, &[])).await;
    let asked = Arc::new(server.llm_with(P, |llm| llm.max_concurrent = 1));
    let ask = |number: usize| {
        let asked = Arc::clone(&asked);
        tokio::spawn(async move { asked.rank(&format!("prompt {number}")).await })
    };
    let first = ask(0);
    asked.until("it arrives", |_| server.seen().len() == 1).await;
    let waiting: Vec<_> = (1..=8).map(ask).collect();
    asked.until("all wait", |asked| asked.metric("queue_depth", &[]) == 8).await;
    assert_eq!(asked.rank("one too many").await, Err(Error::QueueFull(8)));
    assert_eq!(server.seen().len(), 1);
    assert_eq!(asked.llm.stats().llm.circuit_breaker_failures, 0, "not the provider's doing");
    // Who stops waiting leaves the queue.
    waiting[0].abort();
    asked.until("one left", |asked| asked.metric("queue_depth", &[]) == 7).await;
    server.open(9);
    assert_eq!(first.await.unwrap(), Ok(vec![]));
    for one in waiting.into_iter().skip(1) {
        assert_eq!(one.await.unwrap(), Ok(vec![]));
    }
    assert_eq!(asked.metric("queue_depth", &[]), 0);
}

#[tokio::test]
async fn a_provider_that_fails_in_a_row_is_left_alone_and_found_again() {
    let up = Arc::new(AtomicBool::new(false));
    let is_up = Arc::clone(&up);
    let server = Scripted::start(move |_| {
        if is_up.load(Ordering::Relaxed) { chooses(P, &[]) } else { raw(500, &[], "") }
    })
    .await;
    let asked = server.llm_with(P, |llm| {
        llm.retry.max_retries = 0;
        llm.circuit_breaker.failure_threshold = 2;
        llm.circuit_breaker.reset_timeout_ms = 200;
    });
    for prompt in ["a", "b"] {
        assert_eq!(asked.rank(prompt).await.unwrap_err().category(), "http");
    }
    assert_eq!(asked.rank("c").await.unwrap_err().category(), "breaker_open");
    assert_eq!((server.seen().len(), breaker(&asked)), (2, '2'));
    let stats = asked.llm.stats().llm;
    assert_eq!(
        (stats.circuit_breaker_state, stats.circuit_breaker_trips, stats.failed_calls),
        (Some("open"), 1, 3)
    );
    assert_eq!(stats.fallbacks_used, 3);
    up.store(true, Ordering::Relaxed);
    let patience = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while asked.rank("d").await.is_err() {
        assert!(tokio::time::Instant::now() < patience, "found again");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(
        (asked.llm.stats().llm.circuit_breaker_state, breaker(&asked)),
        (Some("closed"), '0')
    );
}

#[tokio::test]
async fn a_caller_that_goes_away_is_counted_as_such_and_frees_its_turn() {
    let server = Scripted::gated(|_| chooses(P, &[])).await;
    let asked = Arc::new(server.llm_with(P, |llm| llm.max_concurrent = 1));
    let other = Arc::clone(&asked);
    let gone = tokio::spawn(async move { other.rank("p").await });
    asked.until("it arrives", |_| server.seen().len() == 1).await;
    gone.abort();
    asked
        .until("it is counted", |asked| asked.metric("requests_total", &["caller_error"]) == 1)
        .await;
    server.open(2);
    assert_eq!(asked.rank("p").await, Ok(vec![]));
}

#[tokio::test]
async fn a_config_that_is_read_again_takes_the_metrics_over() {
    let server = Scripted::start(|_| chooses(P, &[])).await;
    let asked = server.llm(P);
    asked.rank("p").await.unwrap();
    let config = crate::provider::config(Provider::Gemini, &server.url);
    let _other = mcphub_hub::llm::Llm::start(&config, &asked.registry).unwrap();
    assert_eq!(asked.metric("requests_total", &["gemini", "ok"]), 0);
    assert!(!asked.metrics().contains("\"openai\""));
}
