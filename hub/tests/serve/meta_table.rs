//! Every way to list, find or call a tool, combined with every reason to deny or unlist it.

use rstest::rstest;
use serde_json::{Value, json};

use crate::meta::{FILES, OTHERS, server};
use crate::scripted_server::ScriptedServer;
use crate::support::{TestHub, eventually, modern_meta, request, servers, text_of};

/// Tools that no caller may know of. One has the name of a visible tool without its prefix.
const SECRET: &str = r#"{"name":"launch","description":"Launch the rocket into orbit","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":true}},
    {"name":"forecast","description":"Forecast of the rocket's orbit","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":true}}"#;
const SHOWN: [&str; 2] = ["files__*", "others__*"];

/// A hub with these tools of the third server.
async fn hub(secret: &str, config: &Value) -> (TestHub, [ScriptedServer; 3]) {
    // Longer than every budget here.
    let long = "Old mail goes to the archive. ".repeat(200);
    let others = format!(
        r#"{OTHERS},{{"name":"archive","description":"{long}","inputSchema":{{"type":"object"}}}}"#
    );
    let upstreams = [server(FILES).await, server(&others).await, server(secret).await];
    let names = ["files", "others", "ops"];
    let list: Vec<(&str, &str)> =
        names.iter().zip(&upstreams).map(|(name, server)| (*name, server.url.as_str())).collect();
    let mut whole = servers(&list);
    for (key, value) in config.as_object().unwrap() {
        match key.as_str() {
            "ops" => whole["mcpServers"]["ops"]["tools"] = value.clone(),
            key => whole[key] = value.clone(),
        }
    }
    let hub = TestHub::start(whole).await;
    for name in names {
        hub.metric_becomes("mcp_hub_upstream_up", &[("server", name)], 1.0).await;
    }
    // Scores change while vectors are computed, and answers are compared.
    let tools = async |state: &str| {
        hub.metric("mcp_hub_selection_tools", &[("state", state)]).await.unwrap()
    };
    eventually("all tools are encoded", async || {
        let indexed = tools("indexed").await;
        indexed > 4.0 && tools("encoded").await >= indexed
    })
    .await;
    (hub, upstreams)
}

/// The answer to every way, without random parts.
async fn ways(hub: &TestHub, path: &str) -> Vec<(String, u16, String)> {
    let legacy = |method: &str, params: Value| {
        (format!("{method} {params}"), request(method, params), false)
    };
    let modern = |method: &str, mut params: Value| {
        let what = format!("modern {method} {params}");
        params["_meta"] = modern_meta();
        (what, request(method, params), true)
    };
    let call = |tool: &str, arguments: Value| json!({"name": tool, "arguments": arguments});
    let mut asked = vec![
        legacy("tools/list", json!({})),
        modern("tools/list", json!({})),
        modern("server/discover", json!({})),
        legacy("initialize", json!({"protocolVersion": "2025-11-25", "capabilities": {}})),
        legacy("tools/call", call("forecast", json!({}))),
    ];
    for tool in ["ops__launch", "launch", "ops__forecast"] {
        asked.push(legacy("tools/call", call(tool, json!({}))));
        asked.push(modern("tools/call", call(tool, json!({}))));
        for class in ["read", "write", "destructive"] {
            let dispatch =
                call(&format!("hub__call_{class}"), json!({"name": tool, "arguments": {"a": 1}}));
            asked.push(legacy("tools/call", dispatch.clone()));
            asked.push(modern("tools/call", dispatch));
        }
    }
    for arguments in [
        json!({"query": "Launch the rocket into orbit"}),
        json!({"query": "ops__launch"}),
        json!({"query": "weather forecast"}),
        json!({"query": "launch", "server": "ops"}),
    ] {
        asked.push(legacy("tools/call", call("hub__find_tools", arguments.clone())));
        asked.push(modern("tools/call", call("hub__find_tools", arguments)));
    }
    let mut answers = Vec::new();
    for (what, body, modern) in asked {
        answers.push(sent(hub, path, what, body, modern, None).await);
    }
    // In a session, where a prompt adds tools.
    let initialize =
        request("initialize", json!({"protocolVersion": "2025-11-25", "capabilities": {}}));
    let session = hub.post_to(path, initialize, &[]).await.session();
    for (what, body, modern) in [
        legacy("tools/list", json!({})),
        legacy(
            "tools/call",
            call(
                "hub__analyze_prompt",
                json!({"prompt": "launch the rocket, then the weather forecast"}),
            ),
        ),
        legacy("tools/list", json!({"after": "prompt"})),
        legacy("tools/call", call("ops__launch", json!({}))),
        legacy("tools/list", json!({"after": "call"})),
    ] {
        answers.push(sent(hub, path, what, body, modern, Some(&session)).await);
    }
    answers
}

async fn sent(
    hub: &TestHub,
    path: &str,
    what: String,
    body: String,
    modern: bool,
    session: Option<&str>,
) -> (String, u16, String) {
    let value: Value = serde_json::from_str(&body).unwrap();
    let name = value["params"]["name"].as_str().unwrap_or_default().to_owned();
    let method = value["method"].as_str().unwrap().to_owned();
    let mut headers = vec![("accept", "application/json")];
    if modern {
        headers.extend([("mcp-protocol-version", "2026-07-28"), ("mcp-method", &method)]);
        headers.extend((method == "tools/call").then_some(("mcp-name", name.as_str())));
    }
    headers.extend(session.map(|session| ("mcp-session-id", session)));
    let answer = hub.post_to(path, body, &headers).await;
    (what, answer.status, without_chance(&answer.text))
}

/// The text with selection ids masked.
fn without_chance(text: &str) -> String {
    let mark = r#"\"selectionId\":\""#;
    text.split_once(mark).map_or_else(
        || text.to_owned(),
        |(before, rest)| {
            format!("{before}{mark}ID{}", rest.trim_start_matches(|c: char| c.is_ascii_hexdigit()))
        },
    )
}

// An answer that differs by one byte reveals a denied tool to the caller, and so does a score.
#[rstest]
#[case::by_its_server_s_rules(json!({"ops": {"deny": ["*"]}, "filtering": {"mode": "PromptBased"}}),
    "/mcp")]
#[case::by_a_static_list(
    json!({"filtering": {"mode": "Static", "staticTools": SHOWN, "toolBudget": {"maxTools": 5}}}),
    "/mcp")]
#[case::by_an_allowlist_of_servers(
    json!({"filtering": {"mode": "ServerAllowlist", "servers": {"deny": ["ops"]},
        "toolBudget": {"maxTools": 5}}}), "/mcp")]
#[case::by_the_view(
    json!({"filtering": {"mode": "PromptBased", "views": [{"name": "v", "tools": SHOWN}]}}),
    "/mcp/v/v")]
#[case::by_an_access_rule(json!({"access": [{"tools": SHOWN}],
    "filtering": {"mode": "PromptBased"}}), "/mcp")]
#[case::by_an_access_expression(
    json!({"access": [{"when": "tool.server != 'ops' && caller.sub == ''"}],
        "filtering": {"mode": "PromptBased"}}), "/mcp")]
#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_is_denied(#[case] config: Value, #[case] path: &str) {
    let (with, _one) = hub(SECRET, &config).await;
    let (never, _other) = hub("", &config).await;
    let (with, never) = (ways(&with, path).await, ways(&never, path).await);
    assert_eq!(with.len(), never.len());
    for (denied, absent) in with.iter().zip(&never) {
        assert_eq!(denied, absent, "a denied tool shows here");
        assert!(!denied.2.contains("rocket") || denied.0.contains("rocket"), "{denied:?}");
    }
}

// An unlisted tool exists: search finds it, and it can be called by its name and by its dispatcher,
// with and without a session.
#[rstest]
#[case::by_the_prompt(json!({"filtering": {"mode": "PromptBased"}}))]
#[case::by_zero_exposure(json!({"filtering": {"mode": "PromptBased",
    "promptBased": {"defaultExposure": "Zero"}}}))]
#[case::by_a_count(json!({"filtering": {"toolBudget": {"maxTools": 6}}}))]
#[case::by_tokens(json!({"filtering": {"toolBudget": {"maxTokens": 1072}}}))]
#[case::by_a_count_in_a_static_list(
    json!({"filtering": {"mode": "Static", "staticTools": ["files__*", "others__*", "ops__*"],
        "toolBudget": {"maxTools": 5}}}))]
#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_is_unlisted(#[case] config: Value) {
    let (hub, _upstreams) = hub(SECRET, &config).await;
    let session = hub.session().await;
    for modern in [false, true] {
        let ask = async |method: &str, params: Value| {
            if modern { hub.modern(method, params).await } else { hub.ask(method, params).await }
        };
        let listed = ask("tools/list", json!({})).await.json();
        let listed = listed["result"]["tools"].as_array().unwrap().clone();
        assert!(!listed.iter().any(|tool| tool["name"] == "ops__launch"), "{listed:?}");
        for (name, arguments) in [
            ("ops__launch", json!({})),
            ("launch", json!({})),
            ("hub__call_read", json!({"name": "ops__launch", "arguments": {}})),
            ("hub__call_destructive", json!({"name": "launch", "arguments": {}})),
        ] {
            let answer = ask("tools/call", json!({"name": name, "arguments": arguments})).await;
            assert_eq!(text_of(&answer.json()), (false, "did".into()), "{name} {arguments}");
        }
        let found = json!({"name": "hub__find_tools",
            "arguments": {"query": "launch the rocket into orbit"}});
        let (_, text) = text_of(&ask("tools/call", found).await.json());
        let found: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(found["tools"][0]["definition"]["name"], "ops__launch", "{text}");
    }
    // Only a direct call in a session changes a list, and only the list of that session.
    let headers = [("mcp-session-id", session.as_str()), ("accept", "application/json")];
    let before = hub.tool_names().await;
    hub.post(request("tools/call", json!({"name": "ops__launch"})), &headers).await;
    let listed = hub.post(request("tools/list", json!({})), &headers).await;
    assert!(
        crate::support::names(&listed.json()).contains(&"ops__launch".into()),
        "{}",
        listed.text
    );
    assert_eq!(hub.tool_names().await, before);
}
