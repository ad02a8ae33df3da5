//! Five servers that people use, behind one hub, for clients of both protocols.

use anyhow::ensure;
use mcphub_tests::traffic::client::{Client, Reply};
use mcphub_tests::traffic::stateless;
use mcphub_tests::wait::PATIENCE;
use serde_json::{Value, json};

use crate::system_hub::{Hub, spec};
use crate::system_scenario::run_shared;

const SERVERS: [&str; 5] = ["everything", "filesystem", "memory", "time", "git"];

/// One call to each server, with a word of its answer.
fn calls() -> [(&'static str, Value, &'static str); 5] {
    [
        ("everything__echo", json!({"message": "hello"}), "hello"),
        ("filesystem__list_directory", json!({"path": "/tmp"}), ""),
        ("memory__read_graph", json!({}), "entities"),
        ("time__get_current_time", json!({"timezone": "UTC"}), "UTC"),
        ("git__git_status", json!({"repo_path": "/tmp/repository"}), "branch"),
    ]
}

#[tokio::test]
async fn tools_of_five_real_servers_are_listed_with_prefixes_and_answer_in_both_protocols() {
    run_shared("servers", async |scenario| {
        let hub = Hub::new(scenario, "team");
        hub.deploy(&spec(scenario.cluster, &SERVERS)?).await?;
        let url = hub.url().await?;

        let mut client = Client::new(&url);
        ensure!(client.initialize().await == Reply::Ok, "initialize");
        let listed = client.tools().await.map_err(anyhow::Error::msg)?;
        for server in SERVERS {
            ensure!(
                listed.iter().any(|tool| tool.starts_with(&format!("{server}__"))),
                "{server} in {listed:?}"
            );
        }
        for (tool, arguments, _) in calls() {
            assert_eq!(client.call(tool, &arguments).await, Reply::Ok, "{tool}");
        }
        assert_eq!(client.end().await, Reply::Ok);

        let supported = stateless::request(&url, "server/discover", json!({})).await?;
        ensure!(supported.to_string().contains("2026-07-28"), "{supported}");
        let list = stateless::request(&url, "tools/list", json!({})).await?;
        let names =
            list["tools"].as_array().into_iter().flatten().filter_map(|tool| tool["name"].as_str());
        assert_eq!(names.collect::<Vec<_>>(), listed, "both protocols see the same list");
        for (tool, arguments, says) in calls() {
            let result = stateless::request(
                &url,
                "tools/call",
                json!({"name": tool, "arguments": arguments}),
            )
            .await?;
            ensure!(
                result["isError"] != true && result.to_string().contains(says),
                "{tool}: {result}"
            );
        }

        // Status shows the same to people.
        let status = hub.status("all servers are ready", PATIENCE, |status| {
            status.servers_ready.as_deref() == Some("5/5") && status.tools.is_some()
        });
        let status = status.await?;
        assert_eq!(status.tools.map(|tools| tools as usize), Some(listed.len()));
        Ok(())
    })
    .await;
}
