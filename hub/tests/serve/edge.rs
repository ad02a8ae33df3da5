//! Host and Origin, limits, REST.

use axum::body::Body;
use axum::response::IntoResponse as _;
use futures::StreamExt as _;
use rstest::rstest;
use serde_json::{Value, json};

use crate::fixture::Fixture;
use crate::scripted_server::{ScriptedServer, id_of};
use crate::support::{TestHub, eventually, modern_meta, request, servers};

#[rstest]
#[case::no_origin(None, "127.0.0.1:7000", 200)]
#[case::localhost(None, "localhost", 200)]
#[case::ipv6(None, "[::1]:7000", 200)]
#[case::rebinding(None, "evil.example:7000", 403)]
#[case::rebinding_with_origin(Some("http://evil.example:7000"), "evil.example:7000", 403)]
#[case::other_site(Some("https://evil.example"), "localhost:7000", 403)]
#[case::other_port(Some("http://localhost:3000"), "localhost:7000", 403)]
#[case::origin_that_equals_host(Some("http://localhost:7000"), "localhost:7000", 403)]
#[case::allowed(Some("https://app.example"), "localhost:7000", 200)]
#[case::null(Some("null"), "localhost:7000", 403)]
#[tokio::test(flavor = "multi_thread")]
async fn web_pages_reach_a_local_hub_only_if_their_origin_is_allowed(
    #[case] origin: Option<&str>,
    #[case] host: &str,
    #[case] status: u16,
) {
    let mut config = servers(&[]);
    config["allowedOrigins"] = json!(["https://app.example"]);
    let hub = TestHub::start(config).await;
    let mut headers = vec![("host", host)];
    headers.extend(origin.map(|origin| ("origin", origin)));
    assert_eq!(hub.post(request("ping", json!({})), &headers).await.status, status);
}

// Without these headers, the browser hides every answer from an allowed page, and above all its
// session id.
#[tokio::test(flavor = "multi_thread")]
async fn only_a_page_of_an_allowed_origin_gets_cors_headers_and_an_answer_to_its_preflight() {
    let mut config = servers(&[]);
    config["allowedOrigins"] = json!(["https://app.example"]);
    let hub = TestHub::start(config).await;
    let ask_first = async |origin: &str, path: &str| {
        let request =
            hub.http.request(reqwest::Method::OPTIONS, hub.url(path)).header("origin", origin);
        let request = request.header("access-control-request-method", "POST");
        request
            .header("access-control-request-headers", "content-type,mcp-session-id")
            .send()
            .await
            .unwrap()
    };
    for path in ["/mcp", "/api/tools"] {
        let allowed = ask_first("https://app.example", path).await;
        assert_eq!(allowed.status(), 200);
        for (header, value) in [
            ("access-control-allow-origin", "https://app.example"),
            ("access-control-allow-methods", "GET,POST,DELETE"),
            ("access-control-allow-headers", "content-type,mcp-session-id"),
            ("access-control-max-age", "600"),
            ("vary", "origin"),
        ] {
            assert_eq!(allowed.headers()[header], value, "{path}");
        }
        let refused = ask_first("https://evil.example", path).await;
        assert_eq!(refused.status(), 403);
        assert!(!refused.headers().contains_key("access-control-allow-origin"), "{path}");
    }
    let answer = hub.post(request("ping", json!({})), &[("origin", "https://app.example")]).await;
    assert_eq!(answer.headers["access-control-allow-origin"], "https://app.example");
    let exposed = answer.headers["access-control-expose-headers"].to_str().unwrap();
    assert!(
        exposed.contains("mcp-session-id") && exposed.contains("mcp-hub-revision"),
        "{exposed}"
    );
    let tools = hub
        .http
        .get(hub.url("/api/tools"))
        .header("origin", "https://app.example")
        .send()
        .await
        .unwrap();
    assert_eq!(tools.headers()["access-control-allow-origin"], "https://app.example");
    let other = hub.post(request("ping", json!({})), &[]).await;
    assert!(!other.headers.contains_key("access-control-allow-origin"), "{:?}", other.headers);
}

// A page whose name resolves to the hub sends that name as Host, and as Origin too.
#[rstest]
#[case::service("demo.ai.svc:7000", 200)]
#[case::upper_case("DEMO.AI.SVC", 200)]
#[case::root_label("demo.ai.svc.:7000", 200)]
#[case::pod_address("10.1.2.3:7000", 200)]
#[case::ipv6("[2001:db8::7]:7000", 200)]
#[case::localhost("localhost", 200)]
#[case::rebinding("evil.example:7000", 403)]
#[case::looks_like_the_service("demo.ai.svc.evil.example", 403)]
#[case::looks_like_an_address("10.1.2.3.evil.example", 403)]
#[tokio::test(flavor = "multi_thread")]
async fn a_hub_in_a_cluster_serves_its_own_names_and_addresses_only(
    #[case] host: &str,
    #[case] status: u16,
) {
    let config = json!({"schema": 1, "servers": [], "allowedHosts": ["demo", "demo.ai.svc"]});
    let hub = TestHub::start_with(config, |args| {
        args.hub = Some("demo".into());
        args.listen = Some("0.0.0.0:0".parse().unwrap());
    })
    .await;
    let port = hub.serving.address.port();
    for origin in [None, Some(format!("http://{host}"))] {
        let post = hub.http.post(format!("http://127.0.0.1:{port}/mcp")).header("host", host);
        let post = post.header("content-type", "application/json");
        let post = origin.iter().fold(post, |post, origin| post.header("origin", origin));
        let response = post.body(request("ping", json!({}))).send().await.unwrap();
        // No origin is allowed by the config. That it equals Host proves nothing.
        let expected = if origin.is_some() { 403 } else { status };
        assert_eq!(response.status(), expected, "{origin:?}");
    }
    let health = hub.http.get(format!("http://127.0.0.1:{port}/health")).header("host", host);
    assert_eq!(health.send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_long_too_deep_or_not_json_is_refused_and_the_hub_survives() {
    let mut config = servers(&[]);
    config["limits"] = json!({"maxRequestBytes": 4_000_000});
    let hub = TestHub::start(config).await;
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"x","arguments":{}{}}}}}"#,
        "[".repeat(1_000_000),
        "]".repeat(1_000_000)
    );
    for (body, headers, status, code) in [
        (" ".repeat(4_000_001), vec![], 413, -32600),
        ("{}".into(), vec![("content-type", "text/plain")], 415, -32600),
        ("{".into(), vec![], 400, -32700),
        ("{}".into(), vec![], 400, -32600),
        (deep, vec![], 200, -32602),
    ] {
        let answer = hub.post(body, &headers).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (status, &json!(code)));
    }
    assert_eq!(hub.ask("ping", json!({})).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_over_the_limit_get_503_with_retry_after() {
    let server = Fixture::legacy(&["hang"]).await;
    let mut config = servers(&[("s", &server.url)]);
    config["limits"] = json!({"maxConcurrent": 1});
    let hub = TestHub::start(config).await;
    hub.list_becomes(&["s__hang"]).await;
    let mut hanging = server.shared.hanging.subscribe();
    let refused = async {
        hanging.wait_for(|(begun, _)| *begun == 1).await.unwrap();
        assert_eq!(hub.ask("ping", json!({})).await.status, 200, "a ping needs no place");
        hub.ask("tools/list", json!({})).await
    };
    let refused = tokio::select! {
        refused = refused => refused,
        // Without sessions, a client that disconnects has cancelled.
        _ = hub.modern("tools/call", json!({"name": "s__hang"})) => panic!("hang does not end"),
    };
    assert_eq!((refused.status, refused.headers["retry-after"].to_str().unwrap()), (503, "1"));
    eventually("the place is free again", async || {
        hub.ask("tools/list", json!({})).await.status == 200
    })
    .await;
}

// Otherwise a caller that asks for progress could open any number of calls, whatever the limit is.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_with_a_streamed_answer_holds_its_permit_until_the_end() {
    let server =
        ScriptedServer::start(r#"{"name":"slow","inputSchema":{"type":"object"}}"#, |seen| {
            let params = format!(r#"{{"progressToken":{},"progress":1}}"#, id_of(seen));
            let progress = format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{params}}}"#
            );
            let event = format!("data: {progress}\n\n");
            let events = futures::stream::iter([Ok::<_, std::io::Error>(event)])
                .chain(futures::stream::pending());
            ([("content-type", "text/event-stream")], Body::from_stream(events)).into_response()
        })
        .await;
    let mut config = servers(&[("s", &server.url)]);
    config["limits"] = json!({"maxConcurrent": 1});
    let hub = TestHub::start(config).await;
    hub.list_becomes(&["s__slow"]).await;
    let mut meta = modern_meta();
    meta["progressToken"] = json!("mine");
    let body = request("tools/call", json!({"name": "s__slow", "_meta": meta}));
    let call = hub.http.post(hub.url("/mcp")).header("content-type", "application/json");
    let call = call.header("mcp-protocol-version", "2026-07-28").header("mcp-name", "s__slow");
    let call = call.header("mcp-method", "tools/call").header("accept", "text/event-stream");
    let mut streaming = call.body(body).send().await.unwrap();
    assert!(streaming.chunk().await.unwrap().is_some(), "the first progress is there");
    assert_eq!(hub.ask("tools/list", json!({})).await.status, 503);
    drop(streaming);
    eventually("the place is free again", async || {
        hub.ask("tools/list", json!({})).await.status == 200
    })
    .await;
}

// Otherwise calls that fill the table could not be cancelled.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_cancelled_while_all_places_are_taken() {
    let server = Fixture::legacy(&["hang"]).await;
    let mut config = servers(&[("s", &server.url)]);
    config["limits"] = json!({"maxConcurrent": 1});
    let hub = TestHub::start(config).await;
    hub.list_becomes(&["s__hang"]).await;
    let session = hub.session().await;
    let mut hanging = server.shared.hanging.subscribe();
    let headers = [("mcp-session-id", session.as_str())];
    let call = hub.post(request("tools/call", json!({"name": "s__hang"})), &headers);
    let cancel = async {
        hanging.wait_for(|(begun, _)| *begun == 1).await.unwrap();
        let params = json!({"requestId": 1});
        let cancelled =
            json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params});
        hub.post(cancelled.to_string(), &headers).await.status
    };
    let (_, status) = tokio::join!(call, cancel);
    assert_eq!(status, 202);
}

#[rstest]
#[case::without_version(None, 200)]
#[case::of_2025_03_26(Some("2025-03-26"), 200)]
#[case::of_2025_06_18(Some("2025-06-18"), 400)]
#[case::of_2025_11_25(Some("2025-11-25"), 400)]
#[case::of_2026_07_28(Some("2026-07-28"), 400)]
#[tokio::test(flavor = "multi_thread")]
async fn only_the_version_that_has_batches_gets_answers_to_one(
    #[case] version: Option<&str>,
    #[case] status: u16,
) {
    let hub = TestHub::start(servers(&[])).await;
    let body = format!("[{},{}]", request("ping", json!({})), request("ping", json!({})));
    let headers: Vec<_> =
        version.map(|version| ("mcp-protocol-version", version)).into_iter().collect();
    assert_eq!(hub.post(body.clone(), &headers).await.status, status);
    let stateful = version.filter(|version| *version != "2026-07-28");
    if let Some(version) = stateful {
        let params = json!({"protocolVersion": version, "capabilities": {},
            "clientInfo": {"name": "t", "version": "1"}});
        let session = hub.post(request("initialize", params), &[]).await.session();
        let headers = [("mcp-session-id", session.as_str())];
        assert_eq!(hub.post(body, &headers).await.status, status, "in a session");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_request_names_no_version_of_mcp_gets_400_and_lives_on() {
    let hub = TestHub::start(servers(&[])).await;
    let session = hub.session().await;
    for (version, status) in [("1900-01-01", 400), ("nonsense", 400), ("2025-11-25", 200)] {
        let headers = [("mcp-session-id", session.as_str()), ("mcp-protocol-version", version)];
        let answer = hub.post(request("tools/list", json!({})), &headers).await;
        assert_eq!(answer.status, status, "{version}");
    }
}

// Every message of a batch is answered at the same time, so their number must be limited.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_more_than_100_messages_is_refused_as_a_whole() {
    let hub = TestHub::start(servers(&[])).await;
    let batch = |length: usize| format!("[{}]", vec![request("ping", json!({})); length].join(","));
    let whole = hub.post(batch(100), &[]).await;
    assert_eq!((whole.status, whole.json().as_array().map(Vec::len)), (200, Some(100)));
    let refused = hub.post(batch(101), &[]).await;
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (400, &json!(-32600)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_null_cursor_counts_as_no_cursor() {
    let hub = TestHub::start(servers(&[])).await;
    assert_eq!(
        hub.ask("tools/list", json!({"cursor": null})).await.json()["result"]["tools"],
        json!([])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rest_shows_servers_and_tools_and_changes_nothing() {
    let server = Fixture::legacy(&["echo", "rm"]).await;
    let mut config = servers(&[("s", &server.url), ("off", "http://127.0.0.1:1/")]);
    config["mcpServers"]["off"]["disabled"] = json!(true);
    config["filtering"] = json!({"mode": "Static", "staticTools": ["*echo"]});
    let hub = TestHub::start(config).await;
    hub.list_becomes(&["s__echo"]).await;
    let tools = hub.get(hub.url("/api/tools")).await.json();
    assert_eq!(
        (&tools["count"], &tools["tools"][0]["name"], &tools["tools"][0]["server"]),
        (&json!(1), &json!("s__echo"), &json!("s"))
    );
    let health = hub.get(hub.url("/api/health")).await.json();
    assert_eq!((&health["status"], &health["state"]), (&json!("ok"), &json!("ready")));
    let states: Vec<(&Value, &Value, &Value)> = health["servers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|server| (&server["name"], &server["status"], &server["exposedTools"]))
        .collect();
    assert_eq!(
        states,
        [
            (&json!("off"), &json!("disabled"), &json!(0)),
            (&json!("s"), &json!("connected"), &json!(1))
        ]
    );
    assert_eq!(hub.get(hub.url("/api/nothing")).await.status, 404);
    let restart = hub.http.post(hub.url("/api/restart")).send().await.unwrap();
    assert_eq!(restart.status(), 405);
    for (path, status) in
        [("/health", 200), ("/ready", 200), ("/metrics", 404), ("/self-check", 404)]
    {
        let answer = hub.get(hub.url(path)).await;
        assert_eq!((answer.status, answer.text.as_str()), (status, ""), "{path}");
    }
}

// Otherwise one server that hangs takes the whole hub down.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_leaves_half_of_the_places_to_the_others() {
    let hung = Fixture::legacy(&["hang"]).await;
    let good = Fixture::legacy(&["echo"]).await;
    let mut config = servers(&[("a", &hung.url), ("b", &good.url)]);
    config["limits"] = json!({"maxConcurrent": 4});
    let hub = TestHub::start(config).await;
    hub.list_becomes(&["a__hang", "b__echo"]).await;
    let mut hanging = hung.shared.hanging.subscribe();
    let call = || hub.ask("tools/call", json!({"name": "a__hang"}));
    let others = async {
        hanging.wait_for(|(begun, _)| *begun == 2).await.unwrap();
        let refused = crate::support::text_of(&call().await.json());
        assert!(refused.0 && refused.1.contains("already works on 2 calls"), "{refused:?}");
        assert_eq!(hub.ask("tools/list", json!({})).await.status, 200);
        let echo = json!({"name": "b__echo", "arguments": {"text": "x"}});
        assert_eq!(hub.ask("tools/call", echo).await.status, 200);
    };
    tokio::select! {
        () = others => {}
        _ = async { tokio::join!(call(), call()) } => panic!("hang does not end"),
    }
}
