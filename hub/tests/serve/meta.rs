//! The hub's own tools: prompts that add tools, search, and calls by class.

use std::time::Duration;

use futures::StreamExt as _;
use rstest::rstest;
use serde_json::{Value, json};

use crate::fixture::Fixture;
use crate::scripted_server::{self, ScriptedServer, id_of};
use crate::support::{Answer, TestHub, eventually, modern_meta, names, request, servers, text_of};

const META: [&str; 5] = [
    "hub__analyze_prompt",
    "hub__find_tools",
    "hub__call_read",
    "hub__call_write",
    "hub__call_destructive",
];
pub const FILES: &str = r#"{"name":"read_file","description":"Read the contents of a file from disk","inputSchema":{ "type" : "object","properties":{"path":{"type":"string"}}},"annotations":{"readOnlyHint":true}},
    {"name":"write_file","description":"Write text into a file on disk","inputSchema":{"type":"object","properties":{"path":{"type":"string"}}},"annotations":{"readOnlyHint":false,"destructiveHint":false}},
    {"name":"delete_file","description":"Delete a file from disk for good","inputSchema":{"type":"object"},"annotations":{"destructiveHint":true}}"#;
pub const OTHERS: &str = r#"{"name":"forecast","description":"Weather forecast for a city: temperature, rain and wind","inputSchema":{"type":"object","properties":{"city":{"type":"string","x-mcp-header":"City"}}}},
    {"name":"send_email","description":"Send an email message to a recipient","inputSchema":{"type":"object"}}"#;
/// The result of every tool. An SDK would normalize parts of it.
const RESULT: &str = r#"{ "content":[{"type":"text","text":"d\u0069d"}],"x" : 1.0e+05 }"#;

pub async fn server(definitions: &str) -> ScriptedServer {
    ScriptedServer::start(definitions, |seen| scripted_server::json(&id_of(seen), RESULT)).await
}

/// A hub whose tools are behind meta-tools.
pub async fn prompted(prompt_based: Value) -> (TestHub, [ScriptedServer; 2]) {
    filtered(json!({"mode": "PromptBased", "promptBased": prompt_based})).await
}

/// A hub with five tools and this filtering.
pub async fn filtered(filtering: Value) -> (TestHub, [ScriptedServer; 2]) {
    let (files, others) = (server(FILES).await, server(OTHERS).await);
    let mut config = servers(&[("files", &files.url), ("others", &others.url)]);
    config["filtering"] = filtering;
    let hub = TestHub::start(config).await;
    hub.metric_becomes("mcp_hub_upstream_up", &[("server", "files")], 1.0).await;
    hub.metric_becomes("mcp_hub_upstream_up", &[("server", "others")], 1.0).await;
    (hub, [files, others])
}

/// Sends a request in a session, as a client that accepts JSON only.
async fn ask(hub: &TestHub, session: &str, method: &str, params: Value) -> Answer {
    hub.post(
        request(method, params),
        &[("mcp-session-id", session), ("accept", "application/json")],
    )
    .await
}

async fn list(hub: &TestHub, session: &str) -> Vec<String> {
    names(&ask(hub, session, "tools/list", json!({})).await.json())
}

/// The answer of a meta-tool, which is JSON in a text block.
pub async fn meta(hub: &TestHub, session: &str, tool: &str, arguments: Value) -> Value {
    let answer =
        ask(hub, session, "tools/call", json!({"name": tool, "arguments": arguments})).await.json();
    let (failed, text) = text_of(&answer);
    assert!(!failed, "{text}");
    serde_json::from_str(&text).unwrap()
}

pub fn chosen(answer: &Value) -> Vec<&str> {
    answer["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_session_lists_meta_tools_and_a_prompt_adds_the_tools_that_fit() {
    let (hub, _servers) = prompted(json!({"maxTools": 2})).await;
    let session = hub.session().await;
    assert_eq!(list(&hub, &session).await, META);
    let answer = meta(&hub, &session, META[0], json!({"prompt": "read a file from disk"})).await;
    assert_eq!(chosen(&answer)[0], "files__read_file", "{answer}");
    assert!(chosen(&answer).len() <= 2);
    let score = answer["tools"][0]["score"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&score), "{answer}");
    assert_eq!(answer["tools"][0]["listed"], true);
    assert!(answer["next"].as_str().unwrap().contains("tools/list"));
    let listed = list(&hub, &session).await;
    assert!(
        listed.contains(&"files__read_file".to_owned())
            && listed.len() == META.len() + chosen(&answer).len()
    );
    // Another prompt adds tools. It removes none that the session uses.
    meta(&hub, &session, META[0], json!({"prompt": "weather forecast", "context": "for Paris"}))
        .await;
    let listed = list(&hub, &session).await;
    for tool in ["files__read_file", "others__forecast"] {
        assert!(listed.contains(&tool.to_owned()), "{tool} in {listed:?}");
    }
}

#[rstest]
#[case::isolated(true)]
#[case::shared(false)]
#[tokio::test(flavor = "multi_thread")]
async fn additions_belong_to_a_session_unless_they_are_shared(#[case] isolated: bool) {
    let (hub, _servers) = prompted(json!({"sessionIsolation": isolated})).await;
    let (one, other) = (hub.session().await, hub.session().await);
    meta(&hub, &one, META[0], json!({"prompt": "read a file from disk"})).await;
    assert!(list(&hub, &one).await.contains(&"files__read_file".into()));
    assert_eq!(list(&hub, &other).await.contains(&"files__read_file".into()), !isolated);
    assert_eq!(hub.tool_names().await, META[1..], "without a session the list never varies");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_stream_is_notified_once_of_a_changed_list() {
    let (hub, _servers) = prompted(json!({"maxTools": 1})).await;
    let session = hub.session().await;
    list(&hub, &session).await;
    let stream = hub
        .http
        .get(hub.url("/mcp"))
        .header("accept", "text/event-stream")
        .header("mcp-session-id", &session);
    let mut stream = stream.send().await.unwrap().bytes_stream();
    assert_eq!(&stream.next().await.unwrap().unwrap()[..], b":\n\n");
    let body =
        request("tools/call", json!({"name": META[0], "arguments": {"prompt": "read a file"}}));
    let answer = hub.post(body, &[("mcp-session-id", &session)]).await;
    assert_eq!(
        answer.headers["content-type"], "application/json",
        "it is told in the stream, not here too"
    );
    let event = tokio::time::timeout(Duration::from_secs(5), stream.next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(
        std::str::from_utf8(&event).unwrap().contains("notifications/tools/list_changed"),
        "{event:?}"
    );
    // The same choice again changes nothing. A later change is notified.
    meta(&hub, &session, META[0], json!({"prompt": "read a file"})).await;
    list(&hub, &session).await;
    ask(&hub, &session, "tools/call", json!({"name": "others__send_email"})).await;
    let event = tokio::time::timeout(Duration::from_secs(5), stream.next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(std::str::from_utf8(&event).unwrap().contains("list_changed"), "{event:?}");
}

// Many clients never open a stream. They would keep a list of meta-tools only.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_stream_the_notification_of_a_changed_list_comes_with_the_answer() {
    let (hub, _servers) = prompted(json!({})).await;
    let session = hub.session().await;
    list(&hub, &session).await;
    let body =
        request("tools/call", json!({"name": META[0], "arguments": {"prompt": "read a file"}}));
    let answer = hub.post(body, &[("mcp-session-id", &session)]).await;
    let messages: Vec<Value> = answer
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    assert_eq!(messages[0]["method"], "notifications/tools/list_changed", "{}", answer.text);
    assert!(!text_of(&messages[1]).0);
}

#[tokio::test(flavor = "multi_thread")]
async fn search_returns_definitions_as_in_a_list_with_scores_and_the_tool_to_call_them_with() {
    let (hub, _servers) = prompted(json!({})).await;
    for modern in [false, true] {
        let params = json!({"name": META[1], "arguments": {"query": "delete a file", "limit": 2}});
        let answer = if modern {
            hub.modern("tools/call", params).await
        } else {
            hub.ask("tools/call", params).await
        };
        let (failed, text) = text_of(&answer.json());
        assert!(!failed, "{text}");
        let found: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(found["selectionId"].as_str().unwrap().len(), 16);
        assert_eq!(found["tools"][0]["definition"]["name"], "files__delete_file", "{text}");
        assert_eq!(found["tools"][0]["callWith"], "hub__call_destructive");
        assert!(found["tools"].as_array().unwrap().len() <= 2);
        let only =
            json!({"name": META[1], "arguments": {"query": "read a file", "server": "files"}});
        let (_, text) = text_of(&hub.ask("tools/call", only).await.json());
        assert!(
            text.contains(r#""inputSchema":{ "type" : "object","properties""#),
            "byte for byte: {text}"
        );
        assert!(!text.contains("others__"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_that_finds_nothing_names_the_servers() {
    let (hub, _servers) = prompted(json!({})).await;
    let session = hub.session().await;
    let arguments = json!({"query": "qqqq zzzz xxxx"});
    let answer = meta(&hub, &session, META[1], arguments).await;
    assert_eq!(answer["tools"], json!([]), "{answer}");
    let message = answer["message"].as_str().unwrap();
    assert!(message.contains("files (3)") && message.contains("others (2)"), "{message}");
    meta(&hub, &session, META[0], json!({"prompt": "qqqq zzzz xxxx"})).await;
    assert_eq!(list(&hub, &session).await, META, "nothing was added");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tools_a_prompt_and_a_search_say_that_there_are_none() {
    let mut config = servers(&[]);
    config["filtering"] = json!({"mode": "PromptBased"});
    let hub = TestHub::start(config).await;
    eventually("search is there", async || hub.serving.hub.selector.is_loaded()).await;
    let session = hub.session().await;
    assert_eq!(list(&hub, &session).await, META);
    for (tool, arguments) in
        [(META[0], json!({"prompt": "read a file"})), (META[1], json!({"query": "read a file"}))]
    {
        let answer = meta(&hub, &session, tool, arguments).await;
        assert_eq!(
            answer,
            json!({"tools": [], "message": "This hub has no tools at the moment."}),
            "{tool}"
        );
    }
}

#[rstest]
#[case::no_prompt(META[0], json!({}), "prompt is missing")]
#[case::blank(META[0], json!({"prompt": " \n "}), "prompt is empty")]
#[case::a_megabyte(META[0], json!({"prompt": "file ".repeat(200_000)}), "at most 65536")]
#[case::no_query(META[1], json!({}), "query is missing")]
#[case::limit_over_50(META[1], json!({"query": "a", "limit": 51}),
    "limit must be a whole number from 1 to 50")]
#[case::unknown_server(META[1], json!({"query": "a", "server": "nope"}), r#"server "nope" does not exist; the servers are: files (3), others (2)"#)]
#[case::misspelt(META[1], json!({"query": "a", "servr": "b"}), "there is no argument \"servr\"")]
#[case::no_name(META[2], json!({"arguments": {}}), "name is missing")]
#[case::arguments_a_list(META[2], json!({"name": "files__read_file", "arguments": [1]}),
    "arguments must be an object")]
#[tokio::test(flavor = "multi_thread")]
async fn invalid_arguments_of_a_meta_tool_are_a_tool_error_that_says_what_to_write(
    #[case] tool: &str,
    #[case] arguments: Value,
    #[case] says: &str,
) {
    let (files, others) = (server(FILES).await, server(OTHERS).await);
    let mut config = servers(&[("files", &files.url), ("others", &others.url)]);
    config["filtering"] = json!({"mode": "PromptBased"});
    config["limits"] = json!({"maxRequestBytes": 4_000_000});
    let hub = TestHub::start(config).await;
    hub.metric_becomes("mcp_hub_upstream_up", &[("server", "files")], 1.0).await;
    hub.metric_becomes("mcp_hub_upstream_up", &[("server", "others")], 1.0).await;
    let session = hub.session().await;
    let answer =
        ask(&hub, &session, "tools/call", json!({"name": tool, "arguments": arguments})).await;
    let (failed, text) = text_of(&answer.json());
    assert!(failed && text.contains(says), "{text}");
}

#[rstest]
#[case::chinese("读取磁盘上的文件")]
#[case::russian("прочитать файл с диска")]
#[case::emoji("📂")]
#[case::nothing_but_signs("?!…")]
#[tokio::test(flavor = "multi_thread")]
async fn prompts_in_other_scripts_are_answered(#[case] prompt: &str) {
    let (hub, _servers) = prompted(json!({})).await;
    let session = hub.session().await;
    let answer = meta(&hub, &session, META[0], json!({"prompt": prompt})).await;
    assert!(answer["tools"].is_array(), "{answer}");
}

// A client's "always allow" for the reading dispatcher must not let a deletion through.
#[rstest]
#[case("files__read_file", [true, true, true])]
#[case("files__write_file", [false, true, true])]
#[case("files__delete_file", [false, false, true])]
#[case("others__send_email", [false, false, true])]
#[tokio::test(flavor = "multi_thread")]
async fn a_dispatcher_calls_only_tools_of_its_class(
    #[case] tool: &str,
    #[case] admitted: [bool; 3],
) {
    let (hub, upstreams) = prompted(json!({})).await;
    for (dispatcher, admitted) in META[2..].iter().zip(admitted) {
        let params = json!({"name": dispatcher, "arguments": {"name": tool, "arguments": {}}});
        let (failed, text) = text_of(&hub.ask("tools/call", params).await.json());
        assert_eq!(failed, !admitted, "{dispatcher} {tool}: {text}");
        assert!(admitted || text.contains("with the same arguments"), "{text}");
    }
    let calls: usize = upstreams.iter().map(|server| server.requests("tools/call").len()).sum();
    assert_eq!(
        calls,
        admitted.iter().filter(|admitted| **admitted).count(),
        "what is refused never leaves the hub"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispatched_call_and_its_result_are_byte_for_byte_those_of_a_direct_call() {
    let (hub, [files, _]) = prompted(json!({})).await;
    let arguments = r#"{ "path" : "\u00e9", "n":1.000000000000000000001e400,"n":[ ] }"#;
    let rest = r#""_meta":{"com.example/k" : 1e9},"more" : true"#;
    let direct = format!(
        r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"files__read_file","arguments":{arguments},{rest}}}}}"#
    );
    let dispatched = format!(
        r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"hub__call_read","arguments":{{"name":"files__read_file","arguments":{arguments}}},{rest}}}}}"#
    );
    let (one, other) = (hub.post(direct, &[]).await, hub.post(dispatched, &[]).await);
    assert_eq!((one.status, &one.text), (other.status, &other.text));
    assert!(one.text.contains(RESULT), "{}", one.text);
    let seen = files.requests("tools/call");
    let params =
        |position: usize| seen[position].body.split_once("\"params\":").unwrap().1.to_owned();
    assert_eq!(params(0), params(1));
    assert!(params(1).contains(arguments));
    let outcome = [("tool", "files__read_file"), ("outcome", "ok")];
    assert_eq!(
        hub.metric("mcp_hub_tool_calls_total", &outcome).await,
        Some(2.0),
        "it counts as the tool's own"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_and_cancellation_pass_through_a_dispatcher() {
    let server = Fixture::legacy(&["progress", "hang"]).await;
    let mut config = servers(&[("s", &server.url)]);
    config["filtering"] = json!({"mode": "PromptBased"});
    let hub = TestHub::start(config).await;
    hub.metric_becomes("mcp_hub_upstream_up", &[("server", "s")], 1.0).await;
    let session = hub.session().await;
    let dispatch = |id: u32, tool: &str| {
        let params = json!({"name": META[4], "arguments": {"name": tool, "arguments": {}},
            "_meta": {"progressToken": "mine"}});
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}).to_string()
    };
    let answer = hub.post(dispatch(1, "s__progress"), &[("mcp-session-id", &session)]).await;
    assert_eq!(answer.text.matches(r#""progressToken":"mine""#).count(), 2, "{}", answer.text);
    let mut hanging = server.shared.hanging.subscribe();
    let headers = [("mcp-session-id", session.as_str())];
    let cancel = async {
        hanging.wait_for(|(begun, _)| *begun == 1).await.unwrap();
        let body =
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2}}"#;
        hub.post(body, &headers).await
    };
    let (answer, _) = tokio::join!(hub.post(dispatch(2, "s__hang"), &headers), cancel);
    assert!(answer.text.contains("The call was cancelled"), "{}", answer.text);
    hanging.wait_for(|(_, cancelled)| *cancelled == 1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stateless_dispatch_mirrors_the_arguments_of_the_resolved_tool() {
    let server = Fixture::modern(&["mirror"]).await;
    let mut config = servers(&[("s", &server.url)]);
    config["filtering"] = json!({"mode": "PromptBased"});
    let hub = TestHub::start(config).await;
    hub.metric_becomes("mcp_hub_upstream_up", &[("server", "s")], 1.0).await;
    // The SDK server refuses a call whose Mcp-Name or Mcp-Param headers do not match its body.
    let params = json!({"name": META[4],
        "arguments": {"name": "s__mirror", "arguments": {"region": "eu ü"}}});
    let (failed, text) = text_of(&hub.modern("tools/call", params).await.json());
    assert_eq!(
        (failed, text.as_str()),
        (false, r#"{"arguments":{"region":"eu ü"},"tool":"mirror"}"#)
    );
    let body = request(
        "tools/call",
        json!({"name": META[4], "arguments": {"name": "s__mirror", "arguments": {}},
            "_meta": modern_meta()}),
    );
    let headers = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "s__mirror"),
    ];
    assert_eq!(
        hub.post(body, &headers).await.status,
        400,
        "downstream headers are those of the dispatcher"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_direct_call_of_an_unlisted_tool_adds_it_to_the_list_of_that_session() {
    let (hub, _servers) = prompted(json!({})).await;
    let (one, other) = (hub.session().await, hub.session().await);
    let answer = ask(&hub, &one, "tools/call", json!({"name": "files__read_file"})).await;
    assert!(answer.text.contains(RESULT), "{}", answer.text);
    assert!(list(&hub, &one).await.contains(&"files__read_file".into()));
    assert_eq!(list(&hub, &other).await, META);
    // A call through a dispatcher does not change the list.
    ask(
        &hub,
        &other,
        "tools/call",
        json!({"name": META[2], "arguments": {"name": "files__read_file", "arguments": {}}}),
    )
    .await;
    assert_eq!(list(&hub, &other).await, META);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_the_budget_the_least_recently_used_tool_is_removed_from_the_list() {
    let (files, others) = (server(FILES).await, server(OTHERS).await);
    let mut config = servers(&[("files", &files.url), ("others", &others.url)]);
    config["filtering"] =
        json!({"mode": "PromptBased", "toolBudget": {"maxTools": 7, "maxTokens": 100_000}});
    let hub = TestHub::start(config).await;
    hub.metric_becomes("mcp_hub_upstream_up", &[("server", "files")], 1.0).await;
    hub.metric_becomes("mcp_hub_upstream_up", &[("server", "others")], 1.0).await;
    let session = hub.session().await;
    let call = async |tool: &str| ask(&hub, &session, "tools/call", json!({"name": tool})).await;
    for tool in ["files__read_file", "files__write_file", "files__read_file", "others__forecast"] {
        call(tool).await;
    }
    let listed = list(&hub, &session).await;
    assert_eq!(
        listed[META.len()..],
        ["files__read_file", "others__forecast"],
        "write_file was used longest ago"
    );
    assert!(
        call("files__write_file").await.text.contains(RESULT),
        "what left the list can be called still"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_lists_everything_has_no_meta_tools() {
    let server = server(FILES).await;
    let hub = TestHub::start(servers(&[("files", &server.url)])).await;
    hub.list_becomes(&["files__delete_file", "files__read_file", "files__write_file"]).await;
    let unknown = hub.ask("tools/call", json!({"name": "files__never"})).await;
    for tool in META {
        let answer =
            hub.ask("tools/call", json!({"name": tool, "arguments": {"query": "a"}})).await;
        assert_eq!(answer.text, unknown.text.replace("files__never", tool));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_without_a_session_have_no_analyze_prompt() {
    let (hub, _servers) = prompted(json!({})).await;
    let params = || json!({"name": META[0], "arguments": {"prompt": "read a file"}});
    for answer in [hub.ask("tools/call", params()).await, hub.modern("tools/call", params()).await]
    {
        assert_eq!(answer.json()["error"]["message"], "Unknown tool: hub__analyze_prompt");
    }
}
