//! The hub passes on byte for byte what it does not own.

use serde_json::json;

use crate::scripted_server::{ScriptedServer, events, id_of, json, json_text};
use crate::support::{TestHub, modern_meta, servers};

/// Big numbers, unknown keys, escapes, white space and key order, which SDKs would normalize.
const DEFINITION: &str = "{ \"zzz\": {\"b\":1.50,\"a\":123456789012345678901234567890}, \"name\" \
                          : \"odd\",\"description\":\"\\u00e9 \\ud83d\\ude00\",\n\
                          \"inputSchema\":{\"type\":\"object\",\"properties\":{\"name\":{}},\
                          \"x-unknown\":[1e-7, 1E400]},\"_meta\":{\"k\":null} }";
const RESULT: &str = "{ \"structuredContent\" : \
                      {\"n\":0.1000,\"big\":123456789012345678901234567890,\
                      \"s\":\"\\u0041\\/\"},\"content\":[{\"type\":\"text\",\"text\":\"a\\nb\"}],\
                      \"unknown\":[1e400 , null]}";
const ARGUMENTS: &str = "{ \"z\":1.0,\"a\":[98765432109876543210987654321 \
                         ,1e400],\"s\":\"\\u00e9\\ud83d\\ude00\\/\", \"name\":\"x\" }";

fn params(name: &str) -> String {
    format!("{{ \"unknown\": 1.10, \"name\" : \"{name}\",\"arguments\":{ARGUMENTS} }}")
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_name_of_a_definition_changes() {
    let server = ScriptedServer::start(DEFINITION, |seen| json(&id_of(seen), RESULT)).await;
    let hub = TestHub::start(servers(&[("s", &server.url)])).await;
    let answer = hub.post(r#"{"jsonrpc":"2.0","id":"i","method":"tools/list"}"#, &[]).await;
    let expected = DEFINITION.replace("\"odd\"", "\"s__odd\"");
    assert_eq!(
        answer.text,
        format!(r#"{{"jsonrpc":"2.0","id":"i","result":{{"tools":[{expected}]}}}}"#)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_name_and_id_of_a_stateful_call_change_and_nothing_of_its_result() {
    for as_events in [false, true] {
        let server = ScriptedServer::start(DEFINITION, move |seen| {
            let text =
                format!("{{\"result\":{RESULT},\"id\":{},\"jsonrpc\":\"2.0\"}}", id_of(seen));
            if as_events {
                events(&format!("id: 1\ndata:\n\nid: 2\ndata: {text}\n\n"))
            } else {
                json_text(&text)
            }
        })
        .await;
        let hub = TestHub::start(servers(&[("s", &server.url)])).await;
        hub.metric_becomes("mcp_hub_tools", &[("server", "s"), ("state", "exposed")], 1.0).await;
        let call = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\": \"\\u0069\",\"method\":\"tools/call\",\"params\":{}}}",
            params("s__odd")
        );
        let answer = hub.post(call, &[]).await;
        assert_eq!(
            answer.text,
            format!("{{\"jsonrpc\":\"2.0\",\"id\":\"\\u0069\",\"result\":{RESULT}}}")
        );
        let seen = &server.requests("tools/call")[0];
        let id = id_of(seen);
        assert_eq!(
            seen.body,
            format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"tools/call\",\"params\":{}}}",
                params("odd")
            )
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stateless_call_to_a_stateful_server_loses_its_hop_keys_and_gets_a_result_type() {
    let server = ScriptedServer::start(DEFINITION, |seen| json(&id_of(seen), RESULT)).await;
    let hub = TestHub::start(servers(&[("s", &server.url)])).await;
    hub.metric_becomes("mcp_hub_tools", &[("server", "s"), ("state", "exposed")], 1.0).await;
    let mut meta = modern_meta().to_string();
    meta.insert_str(1, "\"com.example/k\" : 1.50,");
    let with_meta =
        |name: &str, meta: &str| params(name).replacen('{', &format!("{{\"_meta\":{meta},"), 1);
    let call = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{}}}",
        with_meta("s__odd", &meta)
    );
    let headers = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "s__odd"),
    ];
    let answer = hub.post(call, &headers).await;
    let typed = RESULT.replacen('{', "{\"resultType\":\"complete\",", 1);
    assert_eq!(answer.text, format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{typed}}}"));
    let seen = &server.requests("tools/call")[0];
    assert!(
        seen.body
            .ends_with(&format!("\"params\":{}}}", with_meta("odd", "{\"com.example/k\" : 1.50}"))),
        "{}",
        seen.body
    );
    assert_eq!(
        seen.headers["mcp-protocol-version"], "2025-06-18",
        "the version of the session upstream"
    );
    assert!(!seen.headers.contains_key("mcp-method"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_error_is_passed_on_unchanged() {
    let error = "{\"message\" : \"\\u00e9\",\"code\":-32050 ,\"data\":{\"n\":1.0e400}}";
    let server = ScriptedServer::start(DEFINITION, move |seen| {
        json_text(&format!("{{\"jsonrpc\":\"2.0\",\"id\":{},\"error\":{error}}}", id_of(seen)))
    })
    .await;
    let hub = TestHub::start(servers(&[("s", &server.url)])).await;
    hub.metric_becomes("mcp_hub_tools", &[("server", "s"), ("state", "exposed")], 1.0).await;
    let answer = hub.ask("tools/call", json!({"name": "s__odd"})).await;
    assert_eq!(answer.text, format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{error}}}"));
}
