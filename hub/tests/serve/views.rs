//! `/mcp/v/<name>`: fixed subsets with their own paths.

use rstest::rstest;
use serde_json::{Value, json};

use crate::fixture::Fixture;
use crate::support::{Answer, TestHub, names, request, servers};

async fn hub() -> (TestHub, [Fixture; 2]) {
    let (a, b) = (Fixture::legacy(&["get", "put"]).await, Fixture::legacy(&["get"]).await);
    let mut config = servers(&[("a", &a.url), ("b", &b.url)]);
    config["filtering"] = json!({"views": [{"name": "small", "tools": ["*__get"]},
        {"name": "onlyb", "servers": ["b"]}]});
    let hub = TestHub::start(config).await;
    hub.list_becomes(&["a__get", "a__put", "b__get"]).await;
    (hub, [a, b])
}

fn initialize() -> String {
    request("initialize", json!({"protocolVersion": "2025-11-25", "capabilities": {}}))
}

async fn list(hub: &TestHub, path: &str, headers: &[(&str, &str)]) -> Answer {
    hub.post_to(path, request("tools/list", json!({})), headers).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_lists_and_calls_only_its_subset() {
    let (hub, _servers) = hub().await;
    assert_eq!(names(&list(&hub, "/mcp/v/small", &[]).await.json()), ["a__get", "b__get"]);
    assert_eq!(names(&list(&hub, "/mcp/v/onlyb", &[]).await.json()), ["b__get"]);
    assert_eq!(names(&list(&hub, "/mcp", &[]).await.json()), ["a__get", "a__put", "b__get"]);
    let call = async |path: &str, tool: &str| {
        let answer = hub.post_to(path, request("tools/call", json!({"name": tool})), &[]).await;
        (answer.status, answer.text.replace(tool, "NAME"))
    };
    let never = call("/mcp/v/small", "a__never").await;
    assert!(never.1.contains("Unknown tool: NAME"), "{never:?}");
    assert_eq!(call("/mcp/v/small", "a__put").await, never);
    assert_eq!(call("/mcp/v/small", "put").await, never);
    assert!(call("/mcp", "a__put").await.1.contains("\"content\""));
    assert!(
        call("/mcp/v/onlyb", "get").await.1.contains("\"content\""),
        "the name is unique in this view"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn instructions_name_only_the_servers_of_the_view() {
    let (hub, _servers) = hub().await;
    let said = async |path: &str| {
        let answer = hub.post_to(path, initialize(), &[]).await.json();
        answer["result"]["instructions"].as_str().unwrap().to_owned()
    };
    let (all, only_b) = (said("/mcp").await, said("/mcp/v/onlyb").await);
    assert!(all.contains("- a: 2 tools") && all.contains("- b: 1 tool"), "{all}");
    assert!(!only_b.contains("- a:") && only_b.contains("- b: 1 tool"), "{only_b}");
}

#[rstest]
#[case::made_on_a_view_used_on_none("/mcp/v/small", "/mcp")]
#[case::made_on_none_used_on_a_view("/mcp", "/mcp/v/small")]
#[case::made_on_a_view_used_on_another("/mcp/v/small", "/mcp/v/onlyb")]
#[tokio::test(flavor = "multi_thread")]
async fn a_session_does_not_exist_on_another_path(#[case] made: &str, #[case] used: &str) {
    let (hub, _servers) = hub().await;
    let session = hub.post_to(made, initialize(), &[]).await.session();
    let headers = [("mcp-session-id", session.as_str())];
    assert_eq!(list(&hub, made, &headers).await.status, 200);
    assert_eq!(list(&hub, used, &headers).await.status, 404);
    let get = hub
        .http
        .get(hub.url(used))
        .header("accept", "text/event-stream")
        .header("mcp-session-id", &session);
    assert_eq!(get.send().await.unwrap().status(), 404);
    let delete = async |path: &str| {
        hub.http
            .delete(hub.url(path))
            .header("mcp-session-id", &session)
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    assert_eq!((delete(used).await, delete(made).await), (404, 204));
}

// A different status would reveal which views exist.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_view_answers_like_an_unknown_path() {
    let (hub, _servers) = hub().await;
    let ask = async |path: &str| {
        let mut answer = hub.post_to(path, initialize(), &[]).await;
        answer.headers.remove("date");
        (answer.status, answer.headers, answer.text)
    };
    let nowhere = ask("/mcp/x/small").await;
    assert_eq!((nowhere.0, nowhere.2.as_str()), (404, ""));
    for path in ["/mcp/v/none", "/mcp/v/", "/mcp/v", "/mcp/v/small/more", "/mcp/v/SMALL"] {
        assert_eq!(ask(path).await, nowhere, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn views_work_without_sessions() {
    let (hub, _servers) = hub().await;
    let body = request("tools/list", json!({"_meta": crate::support::modern_meta()}));
    let headers = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/list")];
    let listed: Value = hub.post_to("/mcp/v/small", body, &headers).await.json();
    assert_eq!(
        (names(&listed), &listed["result"]["cacheScope"]),
        (vec!["a__get".into(), "b__get".into()], &json!("public"))
    );
}
