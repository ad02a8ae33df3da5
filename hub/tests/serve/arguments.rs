//! Validation and correction of arguments, and tools that are listed as one; each behind its flag.

use serde_json::{Value, json};

use crate::scripted_server::{ScriptedServer, id_of, json as answer_json};
use crate::support::{TestHub, names, servers, text_of};

const READ: &str = r#"{"name":"read","description":"Reads a file.","annotations":{"readOnlyHint":true},"inputSchema":{"type":"object","properties":{"path":{"type":"string"},"mode":{"enum":["text","binary"],"enumDescriptions":["as UTF-8","as base64"]},"lines":{"type":"integer"}},"required":["path"],"additionalProperties":false}}"#;
const ERASE: &str = r##"{"name":"erase","description":"Erases a file.","inputSchema":{"type":"object","$ref":"#/x"}}"##;
const RESULT: &str = r#"{"content":[{"type":"text","text":"done"}],"n":1.0e400}"#;

async fn hub_with(flags: &[&str]) -> (TestHub, ScriptedServer, Value) {
    let server =
        ScriptedServer::start(&format!("{READ},{ERASE}"), |seen| answer_json(&id_of(seen), RESULT))
            .await;
    let mut config = servers(&[("s", &server.url)]);
    let plain = config.clone();
    // A flag that starts with ! is off.
    let set = |flag: &&str| {
        (flag.trim_start_matches('!').to_owned(), Value::Bool(!flag.starts_with('!')))
    };
    config["flags"] = flags.iter().map(set).collect();
    let hub = TestHub::start(config).await;
    hub.metric_becomes("mcp_hub_tools", &[("server", "s"), ("state", "exposed")], 2.0).await;
    (hub, server, plain)
}

/// Calls with these parameters, and returns what the server received and the answer.
async fn call_with_params(
    hub: &TestHub,
    server: &ScriptedServer,
    params: &str,
) -> (Option<String>, Value) {
    let before = server.requests("tools/call").len();
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
    let answer = hub.post(body, &[]).await;
    assert!(
        answer.text.ends_with(r#""n":1.0e400}}"#) || answer.text.contains("isError"),
        "{}",
        answer.text
    );
    let seen = server.requests("tools/call").get(before).map(|seen| {
        let (_, params) = seen.body.split_once(r#""params":"#).unwrap();
        params.strip_suffix('}').unwrap().to_owned()
    });
    (seen, serde_json::from_str(&answer.text.replace("1.0e400", "1")).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn with_every_flag_off_an_invalid_call_reaches_the_server_unchanged() {
    let (hub, server, _) = hub_with(&[]).await;
    let (seen, _) =
        call_with_params(&hub, &server, r#"{"name":"s__read","arguments":{"Path":"x"}}"#).await;
    assert_eq!(seen.as_deref(), Some(r#"{"name":"read","arguments":{"Path":"x"}}"#));
    assert_eq!(hub.metric("mcp_hub_validation_total", &[("outcome", "invalid")]).await, Some(0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_call_is_corrected_in_place_and_the_caller_is_told() {
    let (hub, server, _) = hub_with(&["autoCorrection"]).await;
    let params = r#"{ "x":1.50,"name" : "s__read","arguments": {"Path":"\u0061" ,"lines":"3"} }"#;
    let (seen, answer) = call_with_params(&hub, &server, params).await;
    assert_eq!(
        seen.as_deref(),
        Some(r#"{ "x":1.50,"name" : "read","arguments": {"path":"\u0061" ,"lines":3} }"#)
    );
    let told = &answer["result"]["_meta"]["mcphub.dev/corrections"];
    assert_eq!(told.as_array().unwrap().len(), 2, "{told}");
    for kind in ["key", "number"] {
        assert_eq!(hub.metric("mcp_hub_corrections_total", &[("kind", kind)]).await, Some(1.0));
    }
    assert_eq!(
        hub.metric("mcp_hub_validation_total", &[("outcome", "corrected")]).await,
        Some(1.0)
    );
    // While validation is off, arguments that cannot be corrected reach the server.
    let (seen, _) =
        call_with_params(&hub, &server, r#"{"name":"s__read","arguments":{"path":7}}"#).await;
    assert_eq!(seen.as_deref(), Some(r#"{"name":"read","arguments":{"path":7}}"#));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_call_is_refused_before_the_server_sees_it_with_what_to_write_instead() {
    for (enhanced, expected) in
        [(false, "none of the allowed values"), (true, "\"binary\" (as base64)")]
    {
        let flags: &[&str] = &["enumDescriptionsValidation", "!enhancedErrorMessages"];
        let (hub, server, _) = hub_with(if enhanced { &flags[..1] } else { flags }).await;
        let (seen, answer) = call_with_params(
            &hub,
            &server,
            r#"{"name":"s__read","arguments":{"path":"x","mode":"sideways"}}"#,
        )
        .await;
        assert_eq!(seen, None);
        let (is_error, text) = text_of(&answer);
        assert!(is_error && text.contains(expected), "{text}");
        assert_eq!(text.contains("Example of valid arguments: {\"path\":"), enhanced, "{text}");
        let labels = [("server", "s"), ("tool", "s__read"), ("outcome", "caller_error")];
        assert_eq!(hub.metric("mcp_hub_tool_calls_total", &labels).await, Some(1.0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_with_an_unusable_schema_is_called_as_if_every_flag_were_off() {
    let (hub, server, _) = hub_with(&["enumDescriptionsValidation", "autoCorrection"]).await;
    let (seen, _) =
        call_with_params(&hub, &server, r#"{"name":"s__erase","arguments":{"any":1}}"#).await;
    assert_eq!(seen.as_deref(), Some(r#"{"name":"erase","arguments":{"any":1}}"#));
    assert_eq!(hub.metric("mcp_hub_validation_total", &[("outcome", "unusable")]).await, Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tools_of_a_server_are_listed_as_one_while_the_flag_is_on() {
    let (hub, server, plain) = hub_with(&["hierarchicalTools"]).await;
    assert_eq!(hub.tool_names().await, ["s__do"]);
    let modern = hub.modern("tools/list", json!({})).await.json();
    assert_eq!(names(&modern), ["s__do"]);
    assert_eq!(modern["result"]["tools"][0]["annotations"]["destructiveHint"], true);

    let inner = r#"{ "path" : "\u00e9","lines":1e2 }"#;
    let direct = format!(r#"{{"x":1.0, "name":"s__read","arguments":{inner}}}"#);
    let dispatched = format!(
        r#"{{"x":1.0, "name":"s__do","arguments":{{"arguments": {inner} ,"action":"read"}}}}"#
    );
    let (as_direct, _) = call_with_params(&hub, &server, &direct).await;
    let (as_dispatched, _) = call_with_params(&hub, &server, &dispatched).await;
    assert!(as_direct.is_some());
    assert_eq!(as_dispatched, as_direct, "what is dispatched is the direct call");

    let ask = async |arguments: Value| {
        text_of(
            &hub.ask("tools/call", json!({"name": "s__do", "arguments": arguments})).await.json(),
        )
    };
    let (is_error, help) = ask(json!({"action": "help", "arguments": {"action": "read"}})).await;
    assert!(!is_error && help == READ.replace("\"read\"", "\"s__read\""), "{help}");
    let (is_error, text) = ask(json!({"action": "smile"})).await;
    assert!(is_error && text.contains("erase, read, help"), "{text}");

    // When the flag is turned off, the tools are listed at once and the grouped tool does not
    // exist.
    hub.write(&plain);
    hub.list_becomes(&["s__erase", "s__read"]).await;
    let gone =
        hub.ask("tools/call", json!({"name": "s__do", "arguments": {"action": "read"}})).await;
    let never =
        hub.ask("tools/call", json!({"name": "s__da", "arguments": {"action": "read"}})).await;
    assert_eq!(gone.text.replace("s__do", "s__da"), never.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_dispatched_by_category_reaches_its_server_like_a_direct_call() {
    let definition = |name: &str| READ.replace("\"read\"", &format!("\"{name}\""));
    let start = async |names: [&str; 2]| {
        let definitions = names.map(definition).join(",");
        ScriptedServer::start(&definitions, |seen| answer_json(&id_of(seen), RESULT)).await
    };
    let (disk, nas) =
        (start(["read_file", "move_file"]).await, start(["read_file", "copy_file"]).await);
    let mut config = servers(&[("disk", &disk.url), ("nas", &nas.url)]);
    config["filtering"] = json!({"mode": "Category", "categories": {"expose": ["filesystem"]}});
    config["flags"] = json!({"hierarchicalTools": true});
    let hub = TestHub::start(config).await;
    for server in ["disk", "nas"] {
        hub.metric_becomes("mcp_hub_tools", &[("server", server), ("state", "exposed")], 2.0).await;
    }
    assert_eq!(hub.tool_names().await, ["filesystem__do"]);
    for (server, name, action) in
        [(&disk, "disk__read_file", "disk__read_file"), (&nas, "nas__copy_file", "copy_file")]
    {
        let inner = r#"{ "path" : "\u00e9","lines":1e2 }"#;
        let direct = format!(r#"{{"x":1.0, "name":"{name}","arguments":{inner}}}"#);
        let arguments = format!(r#"{{"arguments": {inner} ,"action":"{action}"}}"#);
        let dispatched = format!(r#"{{"x":1.0, "name":"filesystem__do","arguments":{arguments}}}"#);
        let (as_direct, _) = call_with_params(&hub, server, &direct).await;
        let (as_dispatched, _) = call_with_params(&hub, server, &dispatched).await;
        assert!(as_direct.is_some());
        assert_eq!(as_dispatched, as_direct);
    }
}
