//! The router in front of real HTTP servers on loopback. The list of pods comes from a channel
//! instead of EndpointSlices.

#![allow(
    unreachable_pub,
    clippy::unnecessary_wraps,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail the test"
)]

mod api;
mod process;
mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::http::HeaderMap;
use futures::StreamExt as _;
use support::{
    HubPod, NEW, OLD, PATIENCE, TestRouter, dataplane, listed, session_of, two_revisions,
};
use tokio::time::timeout;

const REQUESTS: &str = "mcp_router_requests_total";

#[tokio::test(flavor = "multi_thread")]
async fn a_rising_weight_moves_no_session_and_new_sessions_follow_the_weight() {
    let (_old, _new, pods) = two_revisions().await;
    let router =
        TestRouter::start(dataplane(1, &[(OLD, "stable", 90), (NEW, "canary", 10)]), pods).await;
    let mut sessions = Vec::new();
    for (generation, weight, bounds) in
        [(2, 10, 50..=150), (3, 50, 420..=580), (4, 100, 1000..=1000)]
    {
        router
            .set(dataplane(generation, &[(OLD, "stable", 100 - weight), (NEW, "canary", weight)]))
            .await;
        let mut opened = Vec::new();
        for _ in 0..1000 {
            opened.push(router.initialize().await);
        }
        let on_canary = opened.iter().filter(|(_, pod)| pod == "new-0").count();
        assert!(bounds.contains(&on_canary), "{on_canary} of 1000 sessions at weight {weight}");
        sessions.extend(opened.into_iter().take(100));
        for (id, pod) in &sessions {
            assert_eq!(router.call(id).await, (200, pod.clone()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_revision_gets_no_requests_and_its_sessions_get_404() {
    let (_old, new, pods) = two_revisions().await;
    let router =
        TestRouter::start(dataplane(1, &[(OLD, "stable", 0), (NEW, "canary", 100)]), pods).await;
    let (id, pod) = router.initialize().await;
    assert_eq!(pod, "new-0");
    router.set(dataplane(2, &[(OLD, "stable", 100), (NEW, "failed", 0)])).await;
    let failed_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let before = new.requests();
    assert_eq!(router.call(&id).await.0, 404);
    for _ in 0..50 {
        assert_eq!(router.initialize().await.1, "old-0");
    }
    assert_eq!(new.requests(), before);
    let last = router.metric("mcp_router_last_forward_timestamp_seconds", &[NEW]).await.unwrap();
    assert!(last > 0.0 && last <= failed_at, "{last} is after the failure at {failed_at}");
    router.counts("mcp_router_rejected_total", &["revision_failed"], 1.0).await;
}

// The grace is real time, so this test takes ten seconds.
#[tokio::test(flavor = "multi_thread")]
async fn requests_in_flight_on_a_failed_revision_end_after_the_grace() {
    let (_old, _new, pods) = two_revisions().await;
    let router =
        TestRouter::start(dataplane(1, &[(OLD, "stable", 0), (NEW, "canary", 100)]), pods).await;
    let slow = tokio::spawn(router.http.post(router.url("/slow")).send());
    let of_session =
        router.http.post(router.url("/slow")).header("mcp-session-id", session_of(NEW, "new-0"));
    let of_session = tokio::spawn(of_session.send());
    let stream = router.http.get(router.url("/stream")).send().await.unwrap();
    router.counts("mcp_router_requests_in_flight", &[], 3.0).await;
    let since = Instant::now();
    router.set(dataplane(2, &[(OLD, "stable", 100), (NEW, "failed", 0)])).await;
    let body = stream.text().await.expect("an event stream ends whole");
    assert!(body.starts_with("data: 0\n\ndata: 1\n\n"), "{body}");
    assert_eq!(slow.await.unwrap().unwrap().status(), 502);
    // A client whose session gets 404 initializes again by itself.
    assert_eq!(of_session.await.unwrap().unwrap().status(), 404);
    let seconds = since.elapsed().as_secs_f64();
    assert!((9.5..60.0).contains(&seconds), "ended after {seconds} s");
    router.counts("mcp_router_requests_in_flight", &[], 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_requests_avoid_a_dead_pod_and_its_sessions_get_404_and_count_as_its_error() {
    let (dead, alive) = (HubPod::start(OLD, "dead").await, HubPod::start(OLD, "alive").await);
    let pods = listed(&[(OLD, vec![dead.upstream(true), alive.upstream(true)])]);
    let router = TestRouter::start(dataplane(1, &[(OLD, "stable", 100)]), pods).await;
    dead.serving.abort();
    assert!(dead.serving.await.unwrap_err().is_cancelled());
    for _ in 0..40 {
        assert_eq!(router.initialize().await.1, "alive");
    }
    router.counts(REQUESTS, &[OLD, "\"ok\""], 40.0).await;
    assert_eq!(router.call(&session_of(OLD, "dead")).await.0, 404);
    router.counts(REQUESTS, &[OLD, "hub_error"], 1.0).await;
}

// A 503 has Retry-After. A client would show a 502 without it to its user as an error.
#[tokio::test(flavor = "multi_thread")]
async fn when_no_pod_takes_a_connection_a_new_request_gets_503_and_is_counted_once() {
    let mut pods = Vec::new();
    for name in ["one", "two", "three", "four"] {
        let pod = HubPod::start(OLD, name).await;
        pods.push(pod.upstream(true));
        pod.serving.abort();
        pod.serving.await.unwrap_err();
    }
    let router =
        TestRouter::start(dataplane(1, &[(OLD, "stable", 100)]), listed(&[(OLD, pods)])).await;
    let response = router.http.post(router.url("/mcp")).body("{}").send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), response.headers()["retry-after"].to_str().unwrap()),
        (503, "1")
    );
    router.counts(REQUESTS, &[OLD, "hub_error"], 1.0).await;
    router.counts("mcp_router_rejected_total", &["no_pod"], 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_drawn_revision_has_no_pod_another_one_serves_and_a_failover_is_counted() {
    let (_old, _new, pods) = two_revisions().await;
    let router =
        TestRouter::start(dataplane(1, &[(OLD, "stable", 0), (NEW, "canary", 100)]), pods.clone())
            .await;
    let only_old =
        Some(pods.unwrap().into_iter().filter(|(service, _)| service.contains(OLD)).collect());
    router.pods.send_replace(only_old);
    let failed_over = async { while router.initialize().await.1 != "old-0" {} };
    timeout(PATIENCE, failed_over).await.expect("the other revision serves");
    assert!(router.metric("mcp_router_failovers_total", &[]).await.unwrap() >= 1.0);
    router.pods.send_replace(Some(BTreeMap::new()));
    let refused = async {
        loop {
            let response = router.http.post(router.url("/mcp")).send().await.unwrap();
            if response.status() != 200 {
                break response;
            }
        }
    };
    let response = timeout(PATIENCE, refused).await.expect("no pod is left");
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminating_pod_keeps_its_sessions() {
    let (leaving, staying) =
        (HubPod::start(OLD, "leaving").await, HubPod::start(OLD, "staying").await);
    let pods = listed(&[(OLD, vec![leaving.upstream(false), staying.upstream(true)])]);
    let router = TestRouter::start(dataplane(1, &[(OLD, "stable", 100)]), pods).await;
    let id = session_of(OLD, "leaving");
    for _ in 0..20 {
        assert_eq!(router.call(&id).await, (200, "leaving".into()));
        assert_eq!(router.initialize().await.1, "staying");
    }
    assert_eq!(router.call(&session_of(OLD, "long-gone")).await.0, 404);
    assert_eq!(router.call("not-an-id").await.0, 404);
    leaving.serving.abort();
    assert!(leaving.serving.await.unwrap_err().is_cancelled());
    assert_eq!(router.call(&id).await.0, 404);
    assert_eq!(router.metric(REQUESTS, &[OLD, "hub_error"]).await, Some(0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_series_of_a_revision_exist_as_0_while_the_data_plane_state_names_it() {
    let (_old, _new, pods) = two_revisions().await;
    let router = TestRouter::start(dataplane(1, &[(OLD, "stable", 100)]), pods).await;
    assert_eq!(router.metric(REQUESTS, &[NEW]).await, None);
    router.set(dataplane(2, &[(OLD, "stable", 100), (NEW, "canary", 0)])).await;
    for outcome in ["\"ok\"", "caller_error", "hub_error"] {
        let labels = [NEW, outcome, r#"hub="demo""#, r#"namespace="ns""#];
        assert_eq!(router.metric(REQUESTS, &labels).await, Some(0.0), "{outcome}");
    }
    for name in [
        "mcp_router_sessions_total",
        "mcp_router_request_duration_seconds_count",
        "mcp_router_last_forward_timestamp_seconds",
    ] {
        assert_eq!(router.metric(name, &[NEW]).await, Some(0.0), "{name}");
    }
    assert_eq!(router.metric("mcp_router_generation", &[]).await, Some(2.0));
    router.set(dataplane(3, &[(OLD, "stable", 100)])).await;
    assert!(!router.metrics().await.contains(NEW));
}

// Dashboards, alerts and rollout rules query these names and labels.
#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_has_served_nothing_exposes_exactly_these_series() {
    let (_old, _new, pods) = two_revisions().await;
    let router = TestRouter::start(dataplane(1, &[(OLD, "stable", 100)]), pods).await;
    let of_hub = r#"hub="demo",namespace="ns""#;
    let mut expected = Vec::new();
    let single =
        ["admin_connections", "connections", "failovers_total", "generation", "requests_in_flight"];
    for name in single {
        expected.push(format!("mcp_router_{name}{{{of_hub}}}"));
    }
    for reason in ["full", "idle", "slow_head"] {
        for port in ["", "admin_"] {
            let name = format!("mcp_router_{port}connections_limited_total");
            expected.push(format!("{name}{{{of_hub},reason=\"{reason}\"}}"));
        }
    }
    for name in [
        "connect_failures_total",
        "last_forward_timestamp_seconds",
        "request_duration_seconds_count",
        "request_duration_seconds_sum",
        "sessions_total",
    ] {
        expected.push(format!("mcp_router_{name}{{{of_hub},revision=\"{OLD}\"}}"));
    }
    for reason in
        ["no_pod", "no_weight", "pod_gone", "revision_failed", "too_many", "unknown_session"]
    {
        expected.push(format!("mcp_router_rejected_total{{{of_hub},reason=\"{reason}\"}}"));
    }
    for revision in [OLD, "none"] {
        for outcome in ["caller_error", "hub_error", "ok"] {
            let labels = format!("{of_hub},outcome=\"{outcome}\",revision=\"{revision}\"");
            expected.push(format!("mcp_router_requests_total{{{labels}}}"));
        }
    }
    expected.sort_unstable();
    assert_eq!(router.series().await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn outcomes_are_counted_by_revision() {
    let (_old, _new, pods) = two_revisions().await;
    let router = TestRouter::start(dataplane(1, &[(OLD, "stable", 100)]), pods).await;
    router.initialize().await;
    router.counts("mcp_router_sessions_total", &[OLD], 1.0).await;
    router.counts(REQUESTS, &[OLD, "\"ok\""], 1.0).await;
    let post = |path: &str| router.http.post(router.url(path));
    assert_eq!(post("/500").send().await.unwrap().status(), 500);
    router.counts(REQUESTS, &[OLD, "hub_error"], 1.0).await;
    assert!(post("/broken").send().await.unwrap().bytes().await.is_err());
    router.counts(REQUESTS, &[OLD, "hub_error"], 2.0).await;
    // A client that disconnects is no error of the hub.
    let timed_out = post("/slow").timeout(Duration::from_millis(50)).send().await;
    assert!(timed_out.unwrap_err().is_timeout());
    router.counts(REQUESTS, &[OLD, "caller_error"], 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_of_a_stream_passes_at_once() {
    let (_old, _new, pods) = two_revisions().await;
    let router = TestRouter::start(dataplane(1, &[(OLD, "stable", 100)]), pods).await;
    let response = router.http.get(router.url("/stream")).send().await.unwrap();
    assert_eq!(response.headers()["mcp-hub-revision"], OLD);
    let mut events = response.bytes_stream();
    // A router that held the first event back would pass both in one chunk.
    assert_eq!(events.next().await.unwrap().unwrap(), "data: 0\n\n");
    assert_eq!(events.next().await.unwrap().unwrap(), "data: 1\n\n");
    drop(events);
    // A stream that the client closes is no error, and its duration is no latency.
    router.counts(REQUESTS, &[OLD, "\"ok\""], 1.0).await;
    router.counts("mcp_router_request_duration_seconds_count", &[OLD], 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_pass_unchanged_and_hop_by_hop_headers_are_removed() {
    let (_old, _new, pods) = two_revisions().await;
    let router = TestRouter::start(dataplane(1, &[(OLD, "stable", 100)]), pods).await;
    let big: Vec<u8> = (0..20_000_000u32).map(|i| u8::try_from(i % 251).unwrap()).collect();
    let request = router
        .http
        .post(router.url("/echo?x=1"))
        .header("x-mine", "1")
        .header("connection", "x-hop");
    let echoed = request.header("x-hop", "1").body(big.clone()).send().await.unwrap();
    assert_eq!(echoed.headers()["x-seen"], "20000000");
    let echoed = echoed.bytes().await.unwrap();
    assert!(echoed.ends_with(&big));
    let head = String::from_utf8_lossy(&echoed[..echoed.len() - big.len()]).into_owned();
    assert!(head.contains("x-mine: 1") && !head.contains("x-hop"), "{head}");
    assert!(head.contains(&format!("host: {}", router.address)), "{head}");
    assert!(head.contains("x-forwarded-for: 127.0.0.1"), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stateless_callers_stay_on_one_revision_and_none_leaves_the_canary_as_its_weight_rises() {
    let (_old, _new, pods) = two_revisions().await;
    let router =
        TestRouter::start(dataplane(1, &[(OLD, "stable", 80), (NEW, "canary", 20)]), pods).await;
    let of_caller = async |caller: usize| {
        let request = router.http.post(router.url("/mcp")).bearer_auth(format!("key-{caller}"));
        let response = request.header("mcp-protocol-version", "2026-07-28").send().await.unwrap();
        response.headers()["mcp-hub-revision"].to_str().unwrap().to_owned()
    };
    let mut before = Vec::new();
    for caller in 0..100 {
        before.push(of_caller(caller).await);
        assert_eq!(of_caller(caller).await, before[caller]);
    }
    router.set(dataplane(2, &[(OLD, "stable", 50), (NEW, "canary", 50)])).await;
    let mut on_canary = 0;
    for (caller, revision) in before.iter().enumerate() {
        let now = of_caller(caller).await;
        assert!(revision != NEW || now == NEW, "caller {caller} left the canary");
        on_canary += usize::from(now == NEW);
    }
    assert!((30..=70).contains(&on_canary), "{on_canary} of 100 callers at weight 50");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_router_itself_serves_health_and_is_ready_with_a_data_plane_state_and_a_pod() {
    let (old, _new, _) = two_revisions().await;
    let router = TestRouter::start(dataplane(0, &[]), Some(BTreeMap::new())).await;
    let status = async |path: &str| {
        router.http.get(router.url(path)).send().await.unwrap().status().as_u16()
    };
    assert_eq!((status("/health").await, status("/ready").await), (200, 503));
    router.set(dataplane(1, &[(OLD, "stable", 100)])).await;
    assert_eq!(status("/ready").await, 503);
    router.pods.send_replace(listed(&[(OLD, vec![old.upstream(true)])]));
    let ready = async { while status("/ready").await == 503 {} };
    timeout(PATIENCE, ready).await.expect("a pod makes the router ready");
    assert_eq!(old.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_router_finishes_the_requests_in_flight() {
    let (_old, _new, pods) = two_revisions().await;
    let mut router = TestRouter::start(dataplane(1, &[(OLD, "stable", 100)]), pods).await;
    let mut events = router.http.get(router.url("/stream")).send().await.unwrap().bytes_stream();
    router.stop.take().unwrap().send(()).unwrap();
    let mut headers = HeaderMap::new();
    while headers.get("connection").is_none() {
        let response = router.http.post(router.url("/mcp")).send().await.expect("still serves");
        headers = response.headers().clone();
    }
    assert_eq!(headers["connection"], "close");
    assert_eq!(router.http.get(router.url("/ready")).send().await.unwrap().status(), 503);
    for n in 0..15 {
        assert_eq!(events.next().await.unwrap().unwrap(), format!("data: {n}\n\n"));
    }
    assert!(!router.running.is_finished(), "the router stopped with an open stream");
    drop(events);
    let ended = tokio::time::timeout(Duration::from_secs(5), router.running).await;
    ended.expect("the router ends when no request is in flight").unwrap().unwrap();
}
