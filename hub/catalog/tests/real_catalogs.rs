//! Checks lists of the tools of real servers. The data is not part of the project: without
//! `MCPHUB_DATA`, these tests pass without checking anything.

#![allow(clippy::unwrap_used, clippy::cast_precision_loss, clippy::print_stdout, reason = "tests")]

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mcphub_hub_catalog::catalog::{Definition, ServerList, ToolCatalog};
use mcphub_hub_catalog::list_cache::ListCache;
use mcphub_hub_catalog::principal::Principal;
use mcphub_hub_catalog::tokens;
use mcphub_hub_catalog::tool_list::ListScope;
use mcphub_hub_catalog::visibility::Visibility;
use mcphub_hub_wire::config::HubConfig;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// A tool as a client reads it.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'a> {
    name: String,
    description: Option<String>,
    #[serde(borrow)]
    input_schema: Option<&'a RawValue>,
}

fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("MCPHUB_DATA").map(PathBuf::from);
    if folder.is_none() {
        println!("MCPHUB_DATA is not there");
    }
    folder
}

fn read(path: &Path) -> String {
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap())
        .read_to_string(&mut text)
        .unwrap();
    text
}

/// The name and the tools of each server in a file.
fn servers(folder: &Path, file: &str) -> Vec<(String, Vec<Value>)> {
    let text = read(&folder.join(file));
    let list: Vec<Value> = match serde_json::from_str(&text) {
        Ok(list) => list,
        Err(_) => text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
    };
    let name =
        |server: &Value| server["server"].as_str().or(server["name"].as_str()).unwrap().to_owned();
    list.iter().map(|server| (name(server), server["tools"].as_array().unwrap().clone())).collect()
}

fn visibility(servers: &[(String, Vec<Value>)], filtering: &Value) -> Arc<Visibility> {
    let names = servers.iter().enumerate().map(|(n, (name, _))| {
        json!({"name": format!("{name} {n}"), "prefix": format!("s{n}"),
                "url": "http://localhost:1"})
    });
    let config = json!({"schema": 1, "servers": names.collect::<Vec<_>>(), "filtering": filtering});
    let config: HubConfig = serde_json::from_value(config).unwrap();
    let define = |tool: &Value| Definition {
        name: tool["name"].as_str().unwrap().to_owned(),
        text: tool.to_string(),
    };
    let list = |tools: &Vec<Value>| ServerList {
        definitions: tools.iter().map(define).collect(),
        ..ServerList::default()
    };
    let lists: Vec<_> = servers
        .iter()
        .map(|(_, tools)| Some(Arc::new(ServerList::from_pages(vec![list(tools)]))))
        .collect();
    let catalog = ToolCatalog::new(&config, &lists);
    Visibility::new(Arc::new(config), catalog)
}

const FILES: [&str; 3] = [
    "toucan_mcp_servers_full.jsonl.gz",
    "mcp_zero_308x2797.json.gz",
    "docker_mcp_registry_tools.json.gz",
];

#[test]
fn words_sort_real_tools_into_categories() {
    let Some(folder) = folder() else { return };
    for file in FILES {
        let visibility = visibility(&servers(&folder, file), &json!({}));
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for tool in &visibility.catalog.entries {
            *counts.entry(tool.builtin_category().name()).or_default() += 1;
        }
        let total = visibility.catalog.entries.len();
        let shares: Vec<String> = counts
            .iter()
            .map(|(name, count)| format!("{name} {:.0} %", 100.0 * *count as f64 / total as f64))
            .collect();
        println!("{file}: {total} tools: {}", shares.join(", "));
        assert_eq!(counts.len(), 10, "every category has tools");
    }
}

#[test]
fn a_budget_holds_over_real_tools_and_loses_none() {
    let Some(folder) = folder() else { return };
    for file in FILES {
        let budget =
            json!({"staticTools": ["s1*"], "toolBudget": {"maxTools": 60, "maxTokens": 8000}});
        let visibility = visibility(&servers(&folder, file), &budget);
        let lists =
            ListCache::new(Arc::clone(&visibility), None).without_view(&Principal::anonymous());
        let visible = &lists.visible;
        let tool_list = lists.tool_list(ListScope::Stateless);
        assert!(tool_list.tools.len() + tool_list.meta.len() <= 60 && tool_list.tokens() <= 8000);
        assert_eq!(tool_list.tools.len() + tool_list.unlisted(), visible.tools.len());
        // Count the tokens again, from the text that a client gets.
        let page: Vec<Listed<'_>> = serde_json::from_str(tool_list.page(None).unwrap().0).unwrap();
        let count = |tool: &Listed<'_>| {
            let schema = tool.input_schema.map_or("", RawValue::get);
            tokens::count_definition(
                &tool.name,
                tool.description.as_deref().unwrap_or_default(),
                schema,
            )
        };
        let counted: u32 = page.iter().map(count).sum();
        let all = visibility.unfiltered_tokens();
        println!(
            "{file}: {} of {} tools, {counted} of {all} tokens",
            tool_list.tools.len(),
            visible.tools.len()
        );
        assert_eq!(counted, tool_list.tokens());
    }
}
