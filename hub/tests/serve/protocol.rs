//! The protocol versions, as clients see them.

use std::time::Duration;

use futures::StreamExt as _;
use rstest::rstest;
use serde_json::{Value, json};

use crate::fixture::Fixture;
use crate::support::{TestHub, call, modern_meta, names, request, servers, text_of};

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn sdk_clients_of_every_version_list_and_call_tools_of_servers_of_every_version(
    #[values(false, true)] modern_client: bool,
) {
    let (old, new) =
        (Fixture::legacy(&["echo", "a", "b"]).await, Fixture::modern(&["echo", "mirror"]).await);
    let hub = TestHub::start(servers(&[("old", &old.url), ("new", &new.url)])).await;
    let client = if modern_client { hub.modern_client().await } else { hub.legacy_client().await };
    let listed: Vec<String> =
        client.list_all_tools().await.unwrap().iter().map(|tool| tool.name.to_string()).collect();
    assert_eq!(listed, ["new__echo", "new__mirror", "old__a", "old__b", "old__echo"]);
    for tool in ["old__echo", "new__echo"] {
        let text = call(&client, tool, json!({"n": 1})).await;
        assert_eq!(text, r#"{"arguments":{"n":1},"tool":"echo"}"#, "{tool}");
    }
    // The SDK server refuses a call whose Mcp-Param headers do not match its body.
    assert_eq!(
        call(&client, "new__mirror", json!({"region": "eu ü"})).await,
        r#"{"arguments":{"region":"eu ü"},"tool":"mirror"}"#
    );
    client.cancel().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_can_be_opened_used_and_ended() {
    let server = Fixture::legacy(&["echo"]).await;
    let hub = TestHub::start(servers(&[("s", &server.url)])).await;
    for (asked, given) in [
        ("2024-11-05", "2024-11-05"),
        ("2025-06-18", "2025-06-18"),
        ("2026-07-28", "2025-11-25"),
        ("x", "2025-11-25"),
    ] {
        let answer =
            hub.ask("initialize", json!({"protocolVersion": asked, "capabilities": {}})).await;
        assert_eq!(answer.json()["result"]["protocolVersion"], given);
        assert_eq!(
            answer.json()["result"]["capabilities"],
            json!({"tools": {"listChanged": true}})
        );
    }
    let session = hub.session().await;
    let headers = [("mcp-session-id", session.as_str())];
    let initialized =
        hub.post(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, &headers).await;
    assert_eq!((initialized.status, initialized.text.as_str()), (202, ""));
    assert_eq!(hub.post(request("ping", json!({})), &headers).await.json()["result"], json!({}));
    assert_eq!(
        names(&hub.post(request("tools/list", json!({})), &headers).await.json()),
        ["s__echo"]
    );
    let ended =
        hub.http.delete(hub.url("/mcp")).header("mcp-session-id", &session).send().await.unwrap();
    assert_eq!(ended.status(), 204);
    // 404 makes clients initialize again; 400 would make them give up.
    assert_eq!(hub.post(request("tools/list", json!({})), &headers).await.status, 404);
    assert_eq!(
        hub.post(request("ping", json!({})), &[("mcp-session-id", "made up")]).await.status,
        404
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn initialize_is_stateful_whatever_its_headers_say() {
    let hub = TestHub::start(servers(&[])).await;
    let body = request(
        "initialize",
        json!({"protocolVersion": "2026-07-28", "capabilities": {}, "_meta": modern_meta()}),
    );
    let answer = hub
        .post(body, &[("mcp-protocol-version", "2026-07-28"), ("mcp-session-id", "old one")])
        .await;
    assert_eq!(
        (answer.status, &answer.json()["result"]["protocolVersion"]),
        (200, &json!("2025-11-25"))
    );
    assert!(!answer.session().is_empty());
}

#[rstest]
#[case(false, 200)]
#[case(true, 400)]
#[tokio::test(flavor = "multi_thread")]
async fn requests_without_a_session_id_are_served_unless_it_is_required(
    #[case] require: bool,
    #[case] status: u16,
) {
    let server = Fixture::legacy(&["echo"]).await;
    let mut config = servers(&[("s", &server.url)]);
    config["sessions"] = json!({"requireId": require});
    let hub = TestHub::start(config).await;
    assert_eq!(hub.ask("tools/list", json!({})).await.status, status);
    assert_eq!(
        hub.modern("tools/list", json!({})).await.status,
        200,
        "the modern protocol has no sessions"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_message_of_a_batch_gets_its_own_response() {
    let server = Fixture::legacy(&["echo"]).await;
    let hub = TestHub::start(servers(&[("s", &server.url)])).await;
    let batch = r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","method":"notifications/initialized"},
        {"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":"s__echo"}},{"jsonrpc":"2.0","id":3,"method":"nope"},7]"#;
    let answers = hub.post(batch, &[]).await.json();
    let ids: Vec<&Value> = answers.as_array().unwrap().iter().map(|answer| &answer["id"]).collect();
    assert_eq!(ids, [&json!(1), &json!("x"), &json!(3), &Value::Null]);
    assert_eq!(answers[2]["error"]["code"], -32601);
    let notifications = r#"[{"jsonrpc":"2.0","method":"notifications/initialized"}]"#;
    assert_eq!(hub.post(notifications, &[]).await.status, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn stateless_responses_have_what_the_specification_requires() {
    let server = Fixture::legacy(&["echo"]).await;
    let hub = TestHub::start(servers(&[("s", &server.url)])).await;
    let discovered = hub.modern("server/discover", json!({})).await.json()["result"].clone();
    assert_eq!(discovered["resultType"], "complete");
    assert_eq!(discovered["supportedVersions"][0], "2026-07-28");
    assert_eq!(
        discovered["capabilities"],
        json!({"tools": {}}),
        "no subscriptions yet, so no listChanged"
    );
    let listed = hub.modern("tools/list", json!({})).await.json()["result"].clone();
    assert_eq!(
        (&listed["resultType"], &listed["cacheScope"]),
        (&json!("complete"), &json!("public"))
    );
    assert!(listed["ttlMs"].is_u64());
    let called = hub.modern("tools/call", json!({"name": "s__echo"})).await;
    assert_eq!(
        called.json()["result"]["resultType"],
        "complete",
        "a legacy server's result has none"
    );
    assert!(!called.headers.contains_key("mcp-session-id"));
}

#[rstest]
#[case::version_header_missing(&[("mcp-method", "tools/list")], modern_meta(), 400, -32020)]
#[case::version_header_differs(&[("mcp-protocol-version", "2025-11-25"),
    ("mcp-method", "tools/list")], modern_meta(), 400, -32020)]
#[case::method_header_missing(&[("mcp-protocol-version", "2026-07-28")], modern_meta(), 400,
    -32020)]
#[case::method_header_differs(&[("mcp-protocol-version", "2026-07-28"),
    ("mcp-method", "tools/call")], modern_meta(), 400, -32020)]
#[case::no_meta(&[("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/list")], json!({}),
    400, -32602)]
#[case::no_capabilities(
    &[("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/list")],
    json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28"}), 400, -32602)]
#[case::unknown_version_in_the_body_only(
    &[("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/list")],
    json!({"io.modelcontextprotocol/protocolVersion": "2099-01-01"}), 400, -32020)]
#[case::unknown_version_in_the_header_only(
    &[("mcp-protocol-version", "2099-01-01"), ("mcp-method", "tools/list")], modern_meta(), 400,
    -32020)]
#[case::unknown_version(
    &[("mcp-protocol-version", "2099-01-01"), ("mcp-method", "tools/list")],
    json!({"io.modelcontextprotocol/protocolVersion": "2099-01-01"}), 400, -32022)]
#[tokio::test(flavor = "multi_thread")]
async fn stateless_requests_whose_headers_contradict_the_body_are_refused(
    #[case] headers: &[(&str, &str)],
    #[case] meta: Value,
    #[case] status: u16,
    #[case] code: i64,
) {
    let hub = TestHub::start(servers(&[])).await;
    let answer = hub.post(request("tools/list", json!({"_meta": meta})), headers).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["code"]),
        (status, &json!(code)),
        "{answer:?}"
    );
}

// That is how such a client finds out that it need not initialize.
#[tokio::test(flavor = "multi_thread")]
async fn without_sessions_initialize_is_not_found_unless_it_asks_for_a_version() {
    let hub = TestHub::start(servers(&[])).await;
    let answer = hub.modern("initialize", json!({})).await;
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (404, &json!(-32601)));
    assert!(!answer.headers.contains_key("mcp-session-id"));
    let asks = json!({"protocolVersion": "2025-11-25", "capabilities": {}});
    let answer = hub.modern("initialize", asks).await;
    assert_eq!(answer.json()["result"]["protocolVersion"], "2025-11-25");
    answer.session();
}

// Latency rules of a rollout would be blind for handshakes that wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_waits_for_a_server_is_counted_with_its_whole_time() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", silent.local_addr().unwrap());
    let hub = TestHub::start(servers(&[("s", &url)])).await;
    hub.session().await;
    let labels = [("method", "initialize")];
    let time = hub.metric("mcp_hub_request_duration_seconds_sum", &labels).await.unwrap();
    assert!(time > 1.0, "it waits 2 s, {time} s are counted");
}

// `resultType` and the server's own `serverInfo` are about another connection than the caller's.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_a_session_gets_no_result_type_of_a_server_without_sessions() {
    let server = Fixture::modern(&["echo"]).await;
    let hub = TestHub::start(servers(&[("s", &server.url)])).await;
    hub.list_becomes(&["s__echo"]).await;
    let call = json!({"name": "s__echo", "arguments": {"text": "x"}});
    let legacy = hub.ask("tools/call", call.clone()).await;
    assert!(!legacy.text.contains("resultType"), "{}", legacy.text);
    assert!(!legacy.text.contains("toolbox"), "{}", legacy.text);
    let modern = hub.modern("tools/call", call).await;
    assert_eq!(modern.json()["result"]["resultType"], "complete");
    assert!(!modern.text.contains("toolbox"), "{}", modern.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stateless_call_whose_headers_name_another_tool_or_argument_is_refused() {
    let server = Fixture::modern(&["mirror", "echo"]).await;
    let hub = TestHub::start(servers(&[("s", &server.url)])).await;
    hub.list_becomes(&["s__echo", "s__mirror"]).await;
    let body = request(
        "tools/call",
        json!({"name": "s__mirror", "arguments": {"region": "eu"}, "_meta": modern_meta()}),
    );
    let base = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call")];
    for (name, region, status) in [
        ("s__echo", Some("eu"), 400),
        ("s__mirror", Some("us"), 400),
        ("s__mirror", None, 400),
        ("s__mirror", Some("eu"), 200),
        ("=?base64?c19fbWlycm9y?=", Some("=?base64?ZXU=?="), 200),
    ] {
        let mut headers = base.to_vec();
        headers.push(("mcp-name", name));
        headers.extend(region.map(|region| ("mcp-param-region", region)));
        let answer = hub.post(body.clone(), &headers).await;
        assert_eq!(answer.status, status, "{name} {region:?}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unsupported_methods_are_not_declared_and_not_found() {
    let hub = TestHub::start(servers(&[])).await;
    for method in [
        "resources/list",
        "prompts/list",
        "completion/complete",
        "logging/setLevel",
        "subscriptions/listen",
    ] {
        let legacy = hub.ask(method, json!({})).await;
        assert_eq!(
            (legacy.status, &legacy.json()["error"]["code"]),
            (200, &json!(-32601)),
            "{method}"
        );
        let modern = hub.modern(method, json!({})).await;
        assert_eq!(
            (modern.status, &modern.json()["error"]["code"]),
            (404, &json!(-32601)),
            "{method}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_arrives_under_the_callers_token_before_the_result() {
    for server in [Fixture::legacy(&["progress"]).await, Fixture::modern(&["progress"]).await] {
        let hub = TestHub::start(servers(&[("s", &server.url)])).await;
        hub.list_becomes(&["s__progress"]).await;
        let session = hub.session().await;
        let body = request(
            "tools/call",
            json!({"name": "s__progress", "_meta": {"progressToken": "mine"}}),
        );
        let answer = hub.post(body, &[("mcp-session-id", &session)]).await;
        assert_eq!(answer.headers["content-type"], "text/event-stream");
        let messages: Vec<Value> = answer
            .text
            .lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .map(|data| serde_json::from_str(data).unwrap())
            .collect();
        let steps: Vec<(&Value, &Value)> = messages
            .iter()
            .map(|message| (&message["params"]["progressToken"], &message["params"]["progress"]))
            .collect();
        assert_eq!(steps[..2], [(&json!("mine"), &json!(1.0)), (&json!("mine"), &json!(2.0))]);
        assert_eq!(text_of(&messages[2]), (false, "done".into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_notified_once_of_a_changed_list_and_gets_the_new_one() {
    let server = Fixture::legacy(&["echo"]).await;
    let hub = TestHub::start(servers(&[("s", &server.url)])).await;
    hub.list_becomes(&["s__echo"]).await;
    let session = hub.session().await;
    hub.post(request("tools/list", json!({})), &[("mcp-session-id", &session)]).await;
    let stream = hub
        .http
        .get(hub.url("/mcp"))
        .header("accept", "text/event-stream")
        .header("mcp-session-id", &session);
    let mut stream = stream.send().await.unwrap().bytes_stream();
    assert_eq!(&stream.next().await.unwrap().unwrap()[..], b":\n\n");
    server.set_tools(&["echo", "more"]).await;
    let event = tokio::time::timeout(Duration::from_secs(5), stream.next())
        .await
        .expect("told in time")
        .unwrap()
        .unwrap();
    assert_eq!(
        &event[..],
        b"event: message\ndata: \
          {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\n"
    );
    let listed = hub.post(request("tools/list", json!({})), &[("mcp-session-id", &session)]).await;
    assert_eq!(names(&listed.json()), ["s__echo", "s__more"]);
    // A second stream of the session replaces the first. Otherwise every message would come twice.
    let second = hub
        .http
        .get(hub.url("/mcp"))
        .header("accept", "text/event-stream")
        .header("mcp-session-id", &session);
    let _second = second.send().await.unwrap();
    assert!(
        tokio::time::timeout(Duration::from_secs(5), stream.next())
            .await
            .expect("ended in time")
            .is_none()
    );
}
