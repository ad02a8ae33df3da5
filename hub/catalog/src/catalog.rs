//! The tools of all servers, under the names that clients see. Definitions stay raw JSON.

mod tool;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use mcphub_hub_wire::config::{HubConfig, Server};
use serde::Deserialize;
use serde_json::value::RawValue;

pub use self::tool::{Hints, Tool};
use crate::grouping::Kept;
use crate::{names, pattern};

/// What one server lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerList {
    /// In the order of their names: the server's own order may differ from one session to the next.
    pub tools: Vec<Definition>,
    /// How long the server says that the list holds, in milliseconds; legacy servers do not say.
    pub ttl_ms: Option<u64>,
    /// The server says that the list is this caller's only.
    pub private: bool,
}

/// A tool as its server defines it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// The server's own name of it.
    pub name: String,
    /// The definition as written.
    pub text: String,
}

/// One page of a server's answer to `tools/list`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// What it lists.
    pub list: ServerList,
    /// Where it goes on.
    pub next: Option<String>,
    /// Entries that are no tool definitions; they are left out.
    pub malformed: usize,
}

/// Every tool that exists, in the order of the config.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// Exposed names are unique.
    pub tools: Vec<Arc<Tool>>,
    /// Least of what the servers say; `None` where none says anything.
    pub ttl_ms: Option<u64>,
    /// A server says that its list is the caller's only.
    pub private: bool,
    by_name: HashMap<String, u32>,
    by_bare_name: HashMap<String, Vec<u32>>,
    kept: Arc<Kept>,
}

/// Whether a server's own rules let a tool of its exist.
pub fn exists(server: &Server, own_name: &str) -> bool {
    let rules = &server.tools;
    (rules.allow.is_empty() || pattern::any(&rules.allow, own_name))
        && !pattern::any(&rules.deny, own_name)
}

impl ServerList {
    /// The list of several pages.
    pub fn of_pages(pages: Vec<ServerList>) -> Self {
        let mut whole = pages.into_iter().fold(Self::default(), |mut whole, page| {
            whole.ttl_ms = least(whole.ttl_ms, page.ttl_ms);
            whole.private |= page.private;
            whole.tools.extend(page.tools);
            whole
        });
        whole.tools.sort_by(|a, b| a.name.cmp(&b.name));
        whole.tools.dedup_by(|later, first| later.name == first.name);
        whole
    }
}

impl Page {
    /// Reads the result of `tools/list`; `None` where it is none.
    pub fn parse(result: &str) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct ListResult<'a> {
            #[serde(borrow)]
            tools: Vec<&'a RawValue>,
            #[serde(default)]
            next_cursor: Option<String>,
            #[serde(default)]
            ttl_ms: Option<serde_json::Number>,
            #[serde(default)]
            cache_scope: Option<String>,
        }
        #[derive(Deserialize)]
        struct Named {
            name: String,
        }
        let read: ListResult<'_> = serde_json::from_str(result).ok()?;
        let listed = read.tools.len();
        let tools: Vec<Definition> = read
            .tools
            .into_iter()
            .filter(|text| text.get().starts_with('{'))
            .filter_map(|text| {
                let Named { name } = serde_json::from_str(text.get()).ok()?;
                Some(Definition { name, text: text.get().to_owned() })
            })
            .collect();
        Some(Self {
            malformed: listed - tools.len(),
            next: read.next_cursor.filter(|cursor| !cursor.is_empty()),
            list: ServerList {
                tools,
                ttl_ms: read.ttl_ms.map(|ttl| ttl.as_u64().unwrap_or(0)),
                private: read.cache_scope.as_deref() == Some("private"),
            },
        })
    }
}

impl Catalog {
    /// The tools of these lists, one for each server of the config; `None` where a server has not listed yet.
    /// Tools that a server's own rules deny do not exist here, so they shape no other tool's name either.
    pub fn of(config: &HubConfig, lists: &[Option<Arc<ServerList>>]) -> Self {
        let servers = || {
            config.servers.iter().zip(lists).enumerate().filter(|(_, (server, _))| !server.disabled)
        };
        let existing: Vec<(usize, &Server, &Definition)> = servers()
            .flat_map(|(position, (server, list))| {
                let tools = list.iter().flat_map(|list| &list.tools);
                tools
                    .filter(|tool| exists(server, &tool.name))
                    .map(move |tool| (position, server, tool))
            })
            .collect();
        let shown = |server: &'_ Server, own: &str| {
            server.tools.rename.get(own).cloned().unwrap_or_else(|| own.to_owned())
        };
        let bare: Vec<String> =
            existing.iter().map(|(_, server, tool)| shown(server, &tool.name)).collect();
        let exposed = names::exposed_unique(
            existing
                .iter()
                .zip(&bare)
                .map(|((_, server, _), bare)| (server.prefix.as_deref(), bare.as_str())),
        );
        let server_names: Vec<Arc<str>> =
            config.servers.iter().map(|server| server.name.as_str().into()).collect();
        let tools = existing
            .into_iter()
            .zip(bare)
            .zip(exposed)
            .filter_map(|(((position, server, tool), bare), exposed)| {
                Some(Arc::new(Tool::of(
                    position,
                    server,
                    server_names.get(position)?,
                    tool,
                    &bare,
                    exposed,
                )))
            })
            .collect();
        let listed = || servers().filter_map(|(_, (_, list))| list.as_ref());
        Self::indexed(Self {
            tools,
            ttl_ms: listed().fold(None, |ttl, list| least(ttl, list.ttl_ms)),
            private: listed().any(|list| list.private),
            ..Self::default()
        })
    }

    fn indexed(mut self) -> Self {
        for (place, tool) in (0..).zip(&self.tools) {
            self.by_name.insert(tool.exposed.clone(), place);
            self.by_bare_name.entry(tool.bare.clone()).or_default().push(place);
        }
        self.kept = Arc::new(Kept::of(&self.tools, None));
        self
    }

    /// The same, where tools that are as they were in `before` are the very same objects: what was measured of them
    /// (tokens, category), and what lists say of many of them as one, is not found again when one server lists anew.
    #[must_use]
    pub fn keeping(mut self, before: &Self) -> Self {
        for tool in &mut self.tools {
            if let Some(old) = before.place(&tool.exposed).and_then(|place| before.tools.get(place))
                && old.is_same(tool)
            {
                *tool = Arc::clone(old);
            }
        }
        self.kept = Arc::new(Kept::of(&self.tools, Some(&before.kept)));
        self
    }

    /// What lists say of many tools as one; see [`crate::grouping`].
    pub(crate) fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Place of the tool of this exposed name.
    pub fn place(&self, exposed: &str) -> Option<usize> {
        self.by_name.get(exposed).map(|&place| place as usize)
    }

    /// Places of the tools of this name without prefix.
    pub fn places_of_bare(&self, bare: &str) -> impl Iterator<Item = usize> {
        self.by_bare_name.get(bare).into_iter().flatten().map(|&place| place as usize)
    }

    /// Exposed names that two tools wanted: the later has a hash instead. For a condition and a log line.
    pub fn renamed(&self, config: &HubConfig) -> Vec<&Tool> {
        let wanted = |tool: &Tool| {
            names::exposed(
                config.servers.get(tool.server).and_then(|server| server.prefix.as_deref()),
                &tool.bare,
            )
        };
        let mut taken = HashSet::new();
        self.tools.iter().map(Arc::as_ref).filter(|tool| !taken.insert(wanted(tool))).collect()
    }
}

fn least(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::visibility::tests::{config, list};

    #[test]
    fn a_page_keeps_definitions_as_written_and_leaves_out_what_is_none() {
        let page = Page::parse(
            r#"{"tools":[{"x":1e999,"name":"b"}, 7, {"name":3}, {"name":"a"}],"nextCursor":"c","ttlMs":5,"cacheScope":"private"}"#,
        )
        .unwrap();
        assert_eq!(page.malformed, 2);
        assert_eq!(
            (page.next.as_deref(), page.list.ttl_ms, page.list.private),
            (Some("c"), Some(5), true)
        );
        let whole = ServerList::of_pages(vec![page.list]);
        let texts: Vec<&str> = whole.tools.iter().map(|tool| tool.text.as_str()).collect();
        assert_eq!(texts, [r#"{"name":"a"}"#, r#"{"x":1e999,"name":"b"}"#]);
    }

    // Typed models of the SDKs drop unknown keys and round numbers; models then call tools with the wrong arguments.
    #[test]
    fn only_name_and_description_of_a_definition_change() {
        let mut config = config(&["a"]);
        config.servers[0].tools.rename.insert("t".into(), "better".into());
        config.servers[0].tools.describe.insert("t".into(), "say \"hi\"".into());
        let text = "{ \"zz\": 1.0e+05, \"description\" : \"old\\u00e9\",\"n\\u0061me\":\"t\",\"inputSchema\":{\"name\":\"t\"} }";
        let list = ServerList {
            tools: vec![Definition { name: "t".into(), text: text.into() }],
            ..Default::default()
        };
        let catalog = Catalog::of(&config, &[Some(Arc::new(list))]);
        assert_eq!(
            catalog.tools[0].definition,
            "{ \"zz\": 1.0e+05, \"description\" : \"say \\\"hi\\\"\",\"n\\u0061me\":\"a__better\",\"inputSchema\":{\"name\":\"t\"} }"
        );
        assert_eq!(catalog.tools[0].own, "t");
    }

    #[test]
    fn a_server_that_has_not_listed_yet_takes_nothing_from_the_others() {
        let catalog = Catalog::of(&config(&["a", "b"]), &[None, Some(list(&["x"]))]);
        assert_eq!(
            catalog.tools.iter().map(|tool| tool.exposed.as_str()).collect::<Vec<_>>(),
            ["b__x"]
        );
    }

    #[test]
    fn a_collision_at_run_time_renames_the_later_tool_and_is_told() {
        let config = config(&["a"]);
        let catalog = Catalog::of(&config, &[Some(list(&["x.y", "x_y"]))]);
        assert_eq!(catalog.tools[0].exposed, "a__x_y");
        assert_eq!(
            catalog.renamed(&config).iter().map(|tool| tool.own.as_str()).collect::<Vec<_>>(),
            ["x_y"]
        );
    }

    #[test]
    fn the_shortest_ttl_and_the_narrowest_scope_win() {
        let lists: [Option<Arc<ServerList>>; 3] = [
            Some(Arc::new(ServerList { ttl_ms: Some(9), ..Default::default() })),
            None,
            Some(Arc::new(ServerList { ttl_ms: Some(5), private: true, ..Default::default() })),
        ];
        let catalog = Catalog::of(&config(&["a", "b", "c"]), &lists);
        assert_eq!((catalog.ttl_ms, catalog.private), (Some(5), true));
    }

    proptest! {
        #[test]
        fn every_exposed_name_leads_back_to_its_tool(tools in prop::collection::btree_set("\\PC{1,60}", 0..20)) {
            let names: Vec<&str> = tools.iter().map(String::as_str).collect();
            let catalog = Catalog::of(&config(&["a", "b"]), &[Some(list(&names)), Some(list(&names))]);
            prop_assert_eq!(catalog.tools.len(), names.len() * 2);
            let table: std::collections::HashMap<&str, (usize, &str)> =
                catalog.tools.iter().map(|tool| (tool.exposed.as_str(), (tool.server, tool.own.as_str()))).collect();
            prop_assert_eq!(table.len(), catalog.tools.len());
            for tool in &catalog.tools {
                prop_assert_eq!(table[tool.exposed.as_str()], (tool.server, tool.own.as_str()));
            }
        }
    }
}
