//! Explains which rule hides or shows a tool: for `mcp-hub why`, and for `/why` of a running hub.

use std::sync::Arc;

use anyhow::Context as _;
use mcphub_hub_catalog::catalog::ServerList;
use mcphub_hub_catalog::explain::{Question, explain};
use mcphub_hub_catalog::principal::Principal;
use mcphub_hub_catalog::visibility::Visibility;
use mcphub_hub_wire::config::HubConfig;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Where a running hub explains, on its admin port.
pub(crate) const EXPLAIN_PATH: &str = "/why";

/// What the servers of a config list.
pub(crate) struct ToolListing {
    /// The tools that clients may know of.
    pub visibility: Arc<Visibility>,
    /// In the order of the config; `None` for a server that has not listed.
    pub lists: Vec<Option<Arc<ServerList>>>,
}

impl ToolListing {
    /// The enabled servers that have not listed.
    pub(crate) fn missing_servers<'c>(&self, config: &'c HubConfig) -> Vec<&'c str> {
        let servers = config.servers.iter().zip(&self.lists);
        servers
            .filter(|(server, list)| list.is_none() && !server.disabled)
            .map(|(server, _)| &*server.name)
            .collect()
    }
}

/// The explanation, with what else explains a surprise: patterns without effect, and servers that
/// have not listed.
pub(crate) fn text(listing: &ToolListing, question: Question<'_>) -> String {
    let explanation = explain(&listing.visibility, &listing.lists, question);
    let missing = listing.missing_servers(&listing.visibility.config);
    let missing = missing.iter().map(|server| format!("servers.{server}: did not list its tools"));
    let warnings =
        if explanation.rules.is_empty() { Vec::new() } else { listing.visibility.warnings() };
    let more: Vec<String> = missing.chain(warnings).map(|line| format!("\n  ! {line}")).collect();
    format!("{explanation}{}", more.concat())
}

/// The principal that `--as` describes. Without a description it is the anonymous one.
pub(crate) fn parse_principal(text: Option<&str>) -> anyhow::Result<Principal> {
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "camelCase", default, deny_unknown_fields)]
    struct Description {
        sub: String,
        claims: Map<String, Value>,
        groups: Vec<String>,
        key_name: String,
    }
    let description: Description = text
        .map(serde_json::from_str)
        .transpose()
        .context(
            "--as does not describe a caller; write JSON such as \
             {\"sub\": \"ann\", \"groups\": [\"dev\"], \"claims\": {}, \"keyName\": \"\"}",
        )?
        .unwrap_or_default();
    let Description { sub, claims, groups, key_name } = description;
    Ok(Principal { sub, claims, groups, key_name })
}
