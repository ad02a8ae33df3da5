//! Configs, lists and catalogs that the unit tests of this crate share.

use std::sync::Arc;

use mcphub_hub_wire::config::HubConfig;
use serde_json::{Value, json};

use crate::catalog::{Definition, ServerList, Tool, ToolCatalog};
use crate::list_cache::{CallerLists, ListCache};
use crate::principal::Principal;
use crate::visibility::{Visibility, VisibleTools};

/// A config of servers with these names, which are their prefixes too.
pub(crate) fn config(servers: &[&str]) -> HubConfig {
    let server =
        |name: &&str| json!({"name": name, "prefix": name, "url": "http://localhost:1/mcp"});
    let servers: Vec<_> = servers.iter().map(server).collect();
    serde_json::from_value(json!({"schema": 1, "servers": servers})).unwrap()
}

/// A list of tools with these names.
pub(crate) fn list(names: &[&str]) -> Arc<ServerList> {
    let define = |name: &&str| {
        let text = json!({"name": name, "inputSchema": {"type": "object"}}).to_string();
        Definition { name: (*name).to_owned(), text }
    };
    Arc::new(ServerList { definitions: names.iter().map(define).collect(), ..Default::default() })
}

/// The tool of this definition, on a server "a".
pub(crate) fn tool(definition: &str) -> Arc<Tool> {
    let name =
        serde_json::from_str::<Value>(definition).unwrap()["name"].as_str().unwrap().to_owned();
    let list = ServerList {
        definitions: vec![Definition { name, text: definition.to_owned() }],
        ..Default::default()
    };
    Arc::clone(&ToolCatalog::new(&config(&["a"]), &[Some(Arc::new(list))]).entries[0])
}

/// Sets the filtering of a config from JSON, as the operator writes it.
pub(crate) fn filtering(config: &mut HubConfig, filtering: Value) {
    config.filtering = serde_json::from_value(filtering).unwrap();
}

/// The visibility of servers with these names, each of which lists these tools.
pub(crate) fn visibility(
    servers: &[&str],
    tools: &[&str],
    change: impl FnOnce(&mut HubConfig),
) -> Arc<Visibility> {
    let mut config = config(servers);
    change(&mut config);
    let catalog = ToolCatalog::new(&config, &vec![Some(list(tools)); servers.len()]);
    Visibility::new(Arc::new(config), catalog)
}

/// The tools that everybody may see without a view.
pub(crate) fn visible_tools(servers: &[&str], tools: &[&str]) -> VisibleTools {
    visible_tools_with(servers, tools, |_| {})
}

/// The same with a changed config.
pub(crate) fn visible_tools_with(
    servers: &[&str],
    tools: &[&str],
    change: impl FnOnce(&mut HubConfig),
) -> VisibleTools {
    visibility(servers, tools, change).whole(&Principal::anonymous())
}

/// The lists of the anonymous caller.
pub(crate) fn caller_lists(
    servers: &[&str],
    tools: &[&str],
    change: impl FnOnce(&mut HubConfig),
) -> Arc<CallerLists> {
    ListCache::new(visibility(servers, tools, change), None).without_view(&Principal::anonymous())
}
