//! What the servers of a hub list, under the names that clients see. Definitions stay raw JSON.
//!
//! A [`Catalog`] holds the entries of one kind. Every [`Entry`] has a server, the server's own name
//! for it, an exposed name, a definition and a digest; access rules and list pages need no more.
//! What only one kind has is in its [`Details`].
//!
//! To add a kind, such as prompts:
//! 1. Write `catalog/prompt.rs` beside `tool.rs`: `PromptDetails` for what only prompts have, with
//!    [`Details`]: the members that name a list and an entry, the rules of a server, the exposed
//!    names.
//! 2. Add the aliases `Prompt` and `PromptCatalog`, as [`Tool`] and [`ToolCatalog`] have them.
//! 3. Read the server's list with [`Page::parse`], and keep its [`ServerList`] beside that of the
//!    tools.
//! 4. Let `Visibility` hold the catalog, and apply views and access rules to it.
//! 5. Let `CallerLists` hold the caller's list of prompts, cut into pages by `list_pages`.
//!
//! Categories, token budgets, meta-tools, grouping and argument validation are for tools only.

mod entry;
mod repair;
mod server_list;
mod tool;

use std::collections::HashMap;
use std::sync::Arc;

use mcphub_hub_wire::config::{HubConfig, Server};

pub(crate) use self::entry::digest;
pub use self::entry::{Definition, Details, Entry};
pub use self::repair::Repaired;
use self::server_list::shorter;
pub use self::server_list::{Page, ServerList};
pub use self::tool::{Hints, Tool, ToolDetails};
use crate::names::{self, NameParts};
use crate::pattern;

/// The tools of all servers.
pub type ToolCatalog = Catalog<ToolDetails>;

/// Every entry of one kind that exists, in the order of the config.
#[derive(Debug, Clone)]
pub struct Catalog<D> {
    /// Exposed names are unique.
    pub entries: Vec<Arc<Entry<D>>>,
    /// The shortest time to live that a server gives its list; `None` if no server gives one.
    pub ttl_ms: Option<u64>,
    /// Whether a server says that its list is for one caller only.
    pub private: bool,
    by_exposed_name: HashMap<String, u32>,
    by_bare_name: HashMap<String, Vec<u32>>,
}

/// Whether the server's own rules let an entry exist.
fn exists<D: Details>(server: &Server, own_name: &str) -> bool {
    let rules = D::rules(server);
    (rules.allow.is_empty() || pattern::matches_any(&rules.allow, own_name))
        && !pattern::matches_any(&rules.deny, own_name)
}

/// The name of an entry without prefix: the server's own, or what the config renames it to.
fn bare_name<D: Details>(server: &Server, own_name: &str) -> String {
    D::rules(server).rename.get(own_name).map_or(own_name, String::as_str).to_owned()
}

impl<D: Details> Catalog<D> {
    /// Builds the catalog from one list per server of the config; `None` for a server that has not
    /// listed yet.
    ///
    /// An entry that the rules of its server deny does not exist here, so it affects no other
    /// entry's name.
    pub fn new(config: &HubConfig, lists: &[Option<Arc<ServerList>>]) -> Self {
        let servers = || {
            config.servers.iter().zip(lists).enumerate().filter(|(_, (server, _))| !server.disabled)
        };
        let existing: Vec<(usize, &Server, &Definition)> = servers()
            .flat_map(|(position, (server, list))| {
                let definitions = list.iter().flat_map(|list| &list.definitions);
                definitions
                    .filter(|definition| exists::<D>(server, &definition.name))
                    .map(move |definition| (position, server, definition))
            })
            .collect();
        let bare: Vec<String> = existing
            .iter()
            .map(|(_, server, definition)| bare_name::<D>(server, &definition.name))
            .collect();
        let exposed =
            D::exposed_names(existing.iter().zip(&bare).map(|((_, server, definition), bare)| {
                NameParts { prefix: server.prefix.as_deref(), bare, own: &definition.name }
            }));
        let server_names: Vec<Arc<str>> =
            config.servers.iter().map(|server| server.name.as_str().into()).collect();
        let entries = existing.into_iter().zip(bare).zip(exposed).filter_map(
            |(((position, server, definition), bare), exposed)| {
                let server_name = server_names.get(position)?;
                let entry = Entry::new(position, server, server_name, definition, &bare, exposed);
                Some(Arc::new(entry))
            },
        );
        let listed = || servers().filter_map(|(_, (_, list))| list.as_ref());
        Self {
            ttl_ms: listed().fold(None, |ttl, list| shorter(ttl, list.ttl_ms)),
            private: listed().any(|list| list.private),
            ..Self::index(entries.collect())
        }
    }

    fn index(entries: Vec<Arc<Entry<D>>>) -> Self {
        let mut by_exposed_name = HashMap::new();
        let mut by_bare_name: HashMap<String, Vec<u32>> = HashMap::new();
        for (place, entry) in (0..).zip(&entries) {
            by_exposed_name.insert(entry.exposed.clone(), place);
            by_bare_name.entry(entry.bare.clone()).or_default().push(place);
        }
        Self { entries, ttl_ms: None, private: false, by_exposed_name, by_bare_name }
    }

    /// Takes over every entry of an older catalog that has not changed. Such an entry has computed
    /// its tokens and its category already; when one server lists again, those of the other servers
    /// are not computed again.
    #[must_use]
    pub fn reuse(mut self, before: &Self) -> Self {
        for entry in &mut self.entries {
            if let Some(old) =
                before.place(&entry.exposed).and_then(|place| before.entries.get(place))
                && old.is_same(entry)
            {
                *entry = Arc::clone(old);
            }
        }
        self
    }

    /// The place of the entry with this exposed name.
    pub fn place(&self, exposed: &str) -> Option<usize> {
        self.by_exposed_name.get(exposed).map(|&place| place as usize)
    }

    /// The places of the entries with this name without prefix.
    pub fn places_of_bare_name(&self, bare: &str) -> impl Iterator<Item = usize> {
        self.by_bare_name.get(bare).into_iter().flatten().map(|&place| place as usize)
    }

    /// The entries whose exposed name ends in a hash because another entry has the same plain name.
    pub fn name_collisions(&self, config: &HubConfig) -> Vec<&Entry<D>> {
        let plain_name = |entry: &Entry<D>| {
            let server = config.servers.get(entry.server);
            names::exposed(server.and_then(|server| server.prefix.as_deref()), &entry.bare)
        };
        let all = self.entries.iter().map(Arc::as_ref);
        all.filter(|entry| entry.exposed != plain_name(entry)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures::{config, list};

    // The typed models of the SDKs drop unknown keys and round numbers; models then call tools with
    // wrong arguments.
    #[test]
    fn only_the_name_and_the_description_of_a_definition_change() {
        let mut config = config(&["a"]);
        config.servers[0].tools.rename.insert("t".into(), "better".into());
        config.servers[0].tools.describe.insert("t".into(), "say \"hi\"".into());
        let text = "{ \"zz\": 1.0e+05, \"description\" \
                    : \"old\\u00e9\",\"n\\u0061me\":\"t\",\"inputSchema\":{\"name\":\"t\"} }";
        let list = ServerList {
            definitions: vec![Definition { name: "t".into(), text: text.into() }],
            ..Default::default()
        };
        let catalog = ToolCatalog::new(&config, &[Some(Arc::new(list))]);
        assert_eq!(
            catalog.entries[0].definition,
            "{ \"zz\": 1.0e+05, \"description\" \
             : \"say \\\"hi\\\"\",\"n\\u0061me\":\"a__better\",\"inputSchema\":{\"name\":\"t\"} }"
        );
        assert_eq!(catalog.entries[0].own, "t");
    }

    #[test]
    fn while_one_server_has_not_listed_the_tools_of_the_others_are_there() {
        let catalog = ToolCatalog::new(&config(&["a", "b"]), &[None, Some(list(&["x"]))]);
        assert_eq!(
            catalog.entries.iter().map(|tool| tool.exposed.as_str()).collect::<Vec<_>>(),
            ["b__x"]
        );
    }

    #[test]
    fn a_name_collision_renames_both_tools_and_is_reported() {
        let mut config = config(&["a"]);
        config.servers[0].tools.rename.insert("x".into(), "y".into());
        let catalog = ToolCatalog::new(&config, &[Some(list(&["x", "y", "z"]))]);
        assert!(catalog.place("a__y").is_none(), "the name could mean either of them");
        assert_eq!(
            catalog.name_collisions(&config).iter().map(|tool| &*tool.own).collect::<Vec<_>>(),
            ["x", "y"]
        );
    }

    #[test]
    fn the_shortest_ttl_and_the_narrowest_scope_of_all_lists_apply() {
        let lists: [Option<Arc<ServerList>>; 3] = [
            Some(Arc::new(ServerList { ttl_ms: Some(9), ..Default::default() })),
            None,
            Some(Arc::new(ServerList { ttl_ms: Some(5), private: true, ..Default::default() })),
        ];
        let catalog = ToolCatalog::new(&config(&["a", "b", "c"]), &lists);
        assert_eq!((catalog.ttl_ms, catalog.private), (Some(5), true));
    }

    proptest! {
        #[test]
        fn every_exposed_name_leads_back_to_its_tool(
            tools in prop::collection::btree_set("\\PC{1,60}", 0..20),
        ) {
            let names: Vec<&str> = tools.iter().map(String::as_str).collect();
            let lists = [Some(list(&names)), Some(list(&names))];
            let catalog = ToolCatalog::new(&config(&["a", "b"]), &lists);
            prop_assert_eq!(catalog.entries.len(), names.len() * 2);
            let table: HashMap<&str, (usize, &str)> = catalog
                .entries
                .iter()
                .map(|tool| (tool.exposed.as_str(), (tool.server, tool.own.as_str())))
                .collect();
            prop_assert_eq!(table.len(), catalog.entries.len());
            for tool in &catalog.entries {
                prop_assert_eq!(table[tool.exposed.as_str()], (tool.server, tool.own.as_str()));
            }
        }
    }
}
