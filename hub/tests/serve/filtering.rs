//! `/api/filtering/stats` and the metrics of filtering, compared with counts by hand.

#![allow(
    clippy::cast_precision_loss,
    clippy::float_cmp,
    clippy::print_stdout,
    reason = "tests: whole numbers in metrics"
)]

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;

use mcphub_hub_catalog::tokens;
use serde_json::{Value, json};

use crate::scripted_server::{ScriptedServer, id_of, json as answered};
use crate::support::{TestHub, eventually, servers};

/// A server that lists these tools.
async fn listing(tools: &[Value]) -> ScriptedServer {
    let definitions: Vec<String> = tools.iter().map(Value::to_string).collect();
    ScriptedServer::start(&definitions.join(","), |seen| {
        answered(&id_of(seen), r#"{"content":[]}"#)
    })
    .await
}

fn tool(name: &str) -> Value {
    json!({"name": name, "description": format!("Does {name}"), "inputSchema": {"type": "object"}})
}

async fn stats(hub: &TestHub) -> Value {
    hub.get(hub.url("/api/filtering/stats")).await.json()
}

async fn metric(hub: &TestHub, name: &str) -> f64 {
    hub.metric(name, &[]).await.unwrap_or_else(|| panic!("{name} is there"))
}

// Zero errors, zero tools and zero saved tokens must be numbers: a rule over a missing series has
// no data.
#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_request_counts_are_0_and_ratios_are_null() {
    let hub = TestHub::start(json!({"mcpServers": {}})).await;
    let stats = stats(&hub).await;
    let zero = ["totalTools", "filteredTools", "exposedTools", "categoryCacheSize", "llmCacheSize"];
    assert!(zero.iter().all(|key| stats[key] == 0), "{stats}");
    let null = ["filterRate", "cacheHitRate", "llmCacheHitRate"];
    assert!(null.iter().all(|key| stats.get(key) == Some(&Value::Null)), "{stats}");
    assert_eq!((&stats["enabled"], &stats["mode"]), (&json!(false), &json!("None")));
    assert_eq!(
        (&stats["serverFilterMode"], &stats["llm"]["enabled"]),
        (&json!("none"), &json!(false))
    );
    assert_eq!(
        (&stats["llm"]["successRate"], &stats["llmCache"]["hitRate"]),
        (&Value::Null, &Value::Null)
    );
    for name in ["mcp_hub_list_tokens", "mcp_hub_tokens_saved_total", "mcp_hub_hidden_calls_total"]
    {
        assert_eq!(hub.metric(name, &[]).await, Some(0.0), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_that_would_change_the_filter_return_405_with_what_to_do_instead() {
    let hub = TestHub::start(json!({"mcpServers": {}})).await;
    for path in ["/api/filtering/status", "/api/filtering/mode"] {
        let response = hub.http.post(hub.url(path)).body("{}").send().await.unwrap();
        assert_eq!(response.status().as_u16(), 405);
        let text = response.text().await.unwrap();
        assert!(text.contains("change \\\"filtering\\\" in the config file"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_an_unlisted_tool_is_counted_and_a_call_of_an_unknown_tool_is_not() {
    let server = listing(&[tool("seen"), tool("hidden")]).await;
    let mut config = servers(&[("s", &server.url)]);
    config["filtering"] = json!({"mode": "Static", "staticTools": ["s__seen"]});
    let hub = TestHub::start(config).await;
    hub.list_becomes(&["s__seen"]).await;
    for (name, expected) in [("s__seen", 0.0), ("s__hidden", 1.0), ("s__nothing", 1.0)] {
        hub.ask("tools/call", json!({"name": name, "arguments": {}})).await;
        assert_eq!(metric(&hub, "mcp_hub_hidden_calls_total").await, expected, "{name}");
    }
    let stats = stats(&hub).await;
    assert_eq!(
        (&stats["totalTools"], &stats["exposedTools"], &stats["filteredTools"]),
        (&json!(2), &json!(1), &json!(1))
    );
    assert_eq!(stats["filterRate"], 0.5);
}

/// The servers of a real catalog with their tools. Each name occurs once.
fn catalog() -> Option<Vec<Vec<Value>>> {
    let path = Path::new(&std::env::var_os("MCPHUB_DATA")?).join("mcp_zero_308x2797.json.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).ok()?).read_to_string(&mut text).ok()?;
    let servers: Vec<Value> = serde_json::from_str(&text).ok()?;
    let definition = |tool: &Value| {
        let parameters = tool["parameter"].as_object().into_iter().flatten();
        let properties: Value =
            parameters.map(|(name, said)| (name.clone(), json!({"description": said}))).collect();
        json!({"name": tool["name"], "description": tool["description"],
            "inputSchema": {"type": "object", "properties": properties}})
    };
    let of_server = |server: &Value| {
        let mut seen = BTreeSet::new();
        let tools = server["tools"].as_array().unwrap().iter();
        tools.filter(|tool| seen.insert(tool["name"].to_string())).map(definition).collect()
    };
    Some(servers.iter().map(of_server).collect())
}

/// The tokens of a definition under its exposed name.
fn cost(server: usize, tool: &Value) -> u64 {
    let name = mcphub_hub_catalog::names::exposed(
        Some(&format!("s{server}")),
        tool["name"].as_str().unwrap(),
    );
    let description = tool["description"].as_str().unwrap_or_default();
    tokens::count_definition(&name, description, &tool["inputSchema"].to_string()).into()
}

// These numbers are used to tune filters. A wrong one makes a worse filter look better.
#[tokio::test(flavor = "multi_thread")]
async fn stats_and_metrics_of_a_real_catalog_equal_a_count_by_hand() {
    let Some(catalog) = catalog() else {
        println!("MCPHUB_DATA is not there");
        return;
    };
    let mut started = Vec::new();
    for tools in &catalog {
        started.push(listing(tools).await);
    }
    let names: Vec<String> = (0..catalog.len()).map(|n| format!("s{n}")).collect();
    let list: Vec<(&str, &str)> =
        names.iter().zip(&started).map(|(name, s)| (name.as_str(), s.url.as_str())).collect();
    let mut config = servers(&list);
    let shown: Vec<usize> = (0..catalog.len()).filter(|n| n % 7 == 0).collect();
    let allow: Vec<&String> = shown.iter().map(|&n| &names[n]).collect();
    config["filtering"] = json!({"mode": "ServerAllowlist", "servers": {"allow": allow}});
    config["mcpServers"]["s0"]["tools"] = json!({"deny": ["*e*"]});
    let hub = TestHub::start(config).await;

    let total: usize = catalog.iter().map(Vec::len).sum();
    eventually("all servers have listed", async || stats(&hub).await["totalTools"] == total).await;
    let exists =
        |server: usize, tool: &&Value| server != 0 || !tool["name"].as_str().unwrap().contains('e');
    let kept = |server: usize| catalog[server].iter().filter(move |tool| exists(server, tool));
    let exposed: usize = shown.iter().map(|&server| kept(server).count()).sum();
    let stats = stats(&hub).await;
    println!("{total} tools, {exposed} exposed");
    assert_eq!(
        (&stats["exposedTools"], &stats["filteredTools"]),
        (&json!(exposed), &json!(total - exposed)),
        "{stats}"
    );
    assert!(
        (stats["filterRate"].as_f64().unwrap() - (total - exposed) as f64 / total as f64).abs()
            < 1e-12
    );
    for server in [0, 1, 7, 300] {
        let of = if shown.contains(&server) { kept(server).count() } else { 0 };
        let labels = |state| [("server", names[server].as_str()), ("state", state)];
        assert_eq!(
            hub.metric("mcp_hub_tools", &labels("exposed")).await,
            Some(of as f64),
            "{server}"
        );
        assert_eq!(hub.metric("mcp_hub_tools", &labels("unlisted")).await, Some(0.0));
        let denied = (catalog[server].len() - of) as f64;
        assert_eq!(hub.metric("mcp_hub_tools", &labels("denied")).await, Some(denied), "{server}");
    }

    let whole: u64 = (0..catalog.len())
        .flat_map(|server| kept(server).map(move |tool| cost(server, tool)))
        .sum();
    let listed: u64 =
        shown.iter().flat_map(|&server| kept(server).map(move |tool| cost(server, tool))).sum();
    hub.metric_becomes("mcp_hub_list_tokens", &[], listed as f64).await;
    let before = metric(&hub, "mcp_hub_tokens_saved_total").await;
    assert_eq!(hub.tool_names().await.len(), exposed);
    assert_eq!(metric(&hub, "mcp_hub_tokens_saved_total").await - before, (whole - listed) as f64);
    println!("{whole} tokens unfiltered, {listed} listed");
}

// A misspelled pattern hides everything, so the stats must name it.
#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_that_matches_nothing_is_named_and_the_list_is_empty() {
    let server = listing(&[tool("read_file")]).await;
    for (rules, warning) in [
        (
            json!({"mode": "Static", "staticTools": ["file__*"]}),
            "filtering.static.tools: \"file__*\" matches no tool; patterns match whole names such \
             as server__tool",
        ),
        (
            json!({"mode": "Category", "categories": {"expose": ["docker"]}}),
            "filtering.categories.expose: no tool is in category \"docker\"",
        ),
    ] {
        let mut config = servers(&[("files", &server.url)]);
        config["filtering"] = rules;
        let hub = TestHub::start(config).await;
        hub.metric_becomes("mcp_hub_tools", &[("server", "files"), ("state", "denied")], 1.0).await;
        assert_eq!(hub.tool_names().await, [""; 0]);
        assert_eq!(stats(&hub).await["warnings"], json!([warning]));
    }
}

#[test]
fn why_names_the_rule_that_hides_a_tool() {
    let dir = tempfile::tempdir().unwrap();
    let (config, catalog) = (dir.path().join("hub.json"), dir.path().join("tools.json"));
    let text = r#"{"mcpServers":{"files":{"url":"http://127.0.0.1:1/mcp"}},"filtering":{"mode":"Category","categories":{"expose":["web"]}}}"#;
    std::fs::write(&config, text).unwrap();
    std::fs::write(
        &catalog,
        r#"{"files":{"tools":[{"name":"read_file","inputSchema":{"type":"object"}}]}}"#,
    )
    .unwrap();
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_mcp-hub"))
        .args(["why", "files__read_file", "--config"])
        .arg(&config)
        .arg("--catalog")
        .arg(&catalog)
        .output()
        .unwrap();
    let answer = String::from_utf8(run.stdout).unwrap();
    assert!(run.status.success() && answer.starts_with("files__read_file: denied\n"), "{answer}");
    assert!(
        answer.contains("category filesystem (built in) is not in filtering.categories.expose"),
        "{answer}"
    );
}

// A question is usually about the running hub, and not about a file.
#[tokio::test(flavor = "multi_thread")]
async fn a_running_hub_explains_tools_to_its_own_pod_only() {
    let server = listing(&[tool("read_file"), tool("send_mail")]).await;
    let mut config = servers(&[("files", &server.url)]);
    config["filtering"] = json!({"mode": "Category", "categories": {"expose": ["filesystem"]},
        "views": [{"name": "v"}]});
    let hub = TestHub::start(config).await;
    hub.list_becomes(&["files__read_file"]).await;
    let why = async |arguments: &'static [&'static str]| {
        let url = hub.admin_url("");
        let run = move || {
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_mcp-hub"));
            command.args(["why", "--url", &url]).args(arguments).output().unwrap()
        };
        let run = tokio::task::spawn_blocking(run).await.unwrap();
        (run.status.success(), String::from_utf8(run.stdout).unwrap())
    };
    let (good, text) = why(&["files__send_mail", "--as", r#"{"sub": "ann"}"#]).await;
    assert!(good && text.starts_with("files__send_mail: denied\n"), "{text}");
    assert!(
        text.contains("category communication (built in) is not in filtering.categories.expose"),
        "{text}"
    );
    let (good, text) = why(&["read_file", "--view", "v"]).await;
    assert!(
        good && text.contains("files__read_file: listed\n")
            && text.contains("filtering.views.v: has it"),
        "{text}"
    );
    assert!(
        !why(&["read_file", "--prompt", "read a file"]).await.0,
        "without search no prompt chooses"
    );
    assert!(!why(&["read_file", "--as", "ann"]).await.0, "what is no caller is refused");
}
