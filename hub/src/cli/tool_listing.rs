//! The tools behind a config, for subcommands that only look: asked of its servers, or read from a file.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use mcphub_hub_catalog::catalog::{Page, ServerList, ToolCatalog, ToolDetails};
use mcphub_hub_catalog::visibility::Visibility;
use mcphub_hub_wire::config::HubConfig;

use crate::args;
use crate::serve;
use crate::serve::state::snapshot::Slot;

/// What the servers of a config list.
pub struct Listed {
    /// What clients may know of it.
    pub visibility: Arc<Visibility>,
    /// In the order of the config; `None` where a server has not listed.
    pub lists: Vec<Option<Arc<ServerList>>>,
}

impl Listed {
    /// Names of servers that should have listed and have not.
    pub fn silent<'c>(&self, config: &'c HubConfig) -> Vec<&'c str> {
        let servers = config.servers.iter().zip(&self.lists);
        servers
            .filter(|(server, list)| list.is_none() && !server.disabled)
            .map(|(server, _)| &*server.name)
            .collect()
    }
}

/// Asks the servers of the config, as `serve` does.
pub async fn asked(config: &Path) -> anyhow::Result<Listed> {
    let any = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let serving = serve::start(args::Serve {
        config: config.to_owned(),
        runtime: None,
        keys: None,
        hub: None,
        namespace: None,
        revision: None,
        pod: None,
        listen: any,
        admin_listen: any,
    })
    .await?;
    let live = serving.hub.live_after_start().await;
    let listed = |slot: &Slot| slot.upstream().and_then(|upstream| upstream.state().list.clone());
    let lists: Vec<_> = live.servers.iter().map(listed).collect();
    // From these lists: the hub's own catalog may be older, and what is not in it would be called good unseen.
    let visibility =
        Visibility::new(Arc::clone(&live.config), ToolCatalog::new(&live.config, &lists));
    serving.stop().await?;
    Ok(Listed { visibility, lists })
}

/// Reads what the servers list from a file: name of the server to its answer to `tools/list`.
pub fn read(config: &HubConfig, file: &Path) -> anyhow::Result<Listed> {
    let shape = r#"write {"server": {"tools": [{"name": …}]}}"#;
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("{}: cannot be read", file.display()))?;
    let answers: BTreeMap<String, &serde_json::value::RawValue> = serde_json::from_str(&text)
        .with_context(|| format!("{}: is no catalog; {shape}", file.display()))?;
    for name in answers.keys() {
        if !config.servers.iter().any(|server| server.name == *name) {
            anyhow::bail!("{}: \"{name}\" is no server of the config", file.display());
        }
    }
    let list = |name: &String| {
        let Some(answer) = answers.get(name) else { return Ok(None) };
        let page = Page::parse::<ToolDetails>(answer.get()).with_context(|| {
            format!("{}: \"{name}\" is no answer to tools/list; {shape}", file.display())
        })?;
        anyhow::Ok(Some(Arc::new(ServerList::from_pages(vec![page.list]))))
    };
    let lists = config
        .servers
        .iter()
        .map(|server| list(&server.name))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let catalog = ToolCatalog::new(config, &lists);
    Ok(Listed { visibility: Visibility::new(Arc::new(config.clone()), catalog), lists })
}
