//! The tools of the servers of a config, for subcommands that only look at them.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use mcphub_hub_catalog::catalog::{Page, ServerList, ToolCatalog, ToolDetails};
use mcphub_hub_catalog::visibility::Visibility;
use mcphub_hub_wire::config::HubConfig;
use serde_json::value::RawValue;

use crate::explanation::ToolListing;
use crate::serve;
use crate::serve::state::snapshot::ServerSlot;
use crate::{args, stdio};

/// What a hub has found out about a config.
pub(super) struct Connected {
    pub(super) listing: ToolListing,
    /// Why the language model cannot be used, if there is one.
    pub(super) language_model: Result<(), String>,
}

/// Connects to the servers of the config as `serve` does, and lists their tools.
pub(super) async fn from_servers(config: &[PathBuf]) -> anyhow::Result<Connected> {
    stdio::guard::enable();
    let any = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let server = serve::start(args::Serve {
        config: config.to_owned(),
        stdio: false,
        runtime: None,
        keys: None,
        hub: None,
        namespace: None,
        revision: None,
        pod: None,
        listen: any,
        admin_listen: any,
        skip_llm_check: true,
    })
    .await?;
    let snapshot = server.hub.snapshot_after_startup().await;
    let lists: Vec<_> = snapshot.servers.iter().map(ServerSlot::list).collect();
    // Built from these lists. The hub's own catalog may be older, and a tool that it lacks would
    // pass unchecked.
    let catalog = ToolCatalog::new(&snapshot.config, &lists);
    let visibility = Visibility::new(Arc::clone(&snapshot.config), catalog);
    let language_model = server.hub.selector.verify().await;
    server.stop().await?;
    Ok(Connected { listing: ToolListing { visibility, lists }, language_model })
}

/// Reads the tools from a file that maps the name of a server to its response to `tools/list`.
pub(super) fn from_file(config: &HubConfig, file: &Path) -> anyhow::Result<ToolListing> {
    let example = r#"write {"server": {"tools": [{"name": …}]}}"#;
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("failed to read {}", file.display()))?;
    let responses: BTreeMap<String, &RawValue> = serde_json::from_str(&text)
        .with_context(|| format!("{}: not a catalog; {example}", file.display()))?;
    for name in responses.keys() {
        if !config.servers.iter().any(|server| server.name == *name) {
            anyhow::bail!("{}: the config has no server \"{name}\"", file.display());
        }
    }
    let list = |name: &String| {
        let Some(response) = responses.get(name) else { return Ok(None) };
        let page = Page::parse::<ToolDetails>(response.get(), usize::MAX).with_context(|| {
            format!("{}: \"{name}\" is not a response to tools/list; {example}", file.display())
        })?;
        anyhow::Ok(Some(Arc::new(ServerList::from_pages(vec![page.list]))))
    };
    let lists = config
        .servers
        .iter()
        .map(|server| list(&server.name))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let catalog = ToolCatalog::new(config, &lists);
    Ok(ToolListing { visibility: Visibility::new(Arc::new(config.clone()), catalog), lists })
}
