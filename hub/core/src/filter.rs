//! What of the catalogue clients see.

use std::collections::HashMap;
use std::sync::Arc;

use mcphub_wire::config::{FilterMode, HubConfig, Server};
use sha2::{Digest, Sha256};

use crate::catalogue::{Catalogue, Tool};
use crate::pattern;

/// Longest list in one answer: many clients read only the first page, so there is one unless it is huge.
pub const MAX_PAGE_BYTES: usize = 4 << 20;

/// What clients see: the visible tools, ready to be sent.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// In the order of the list.
    pub tools: Vec<Arc<Tool>>,
    /// The list as JSON arrays, at least one.
    pub pages: Vec<String>,
    /// Changes when anything in the list does.
    pub digest: u64,
    /// See [`Catalogue::ttl_ms`].
    pub ttl_ms: Option<u64>,
    /// See [`Catalogue::private`].
    pub private: bool,
    by_name: HashMap<String, usize>,
    by_bare_name: HashMap<String, Option<usize>>,
}

/// Whether a server's own rules let a tool of its exist.
pub fn exists(server: &Server, own_name: &str) -> bool {
    let rules = &server.tools;
    (rules.allow.is_empty() || pattern::any(&rules.allow, own_name)) && !pattern::any(&rules.deny, own_name)
}

/// Whether the filter mode shows the tool.
fn shown(config: &HubConfig, tool: &Tool) -> bool {
    match config.filtering.mode {
        FilterMode::None => true,
        FilterMode::Static => pattern::any(&config.filtering.static_tools, &tool.exposed),
        FilterMode::ServerAllowlist => {
            let Some(server) = config.servers.get(tool.server) else { return false };
            let rules = &config.filtering.servers;
            let named = |names: &[String]| names.contains(&server.name);
            (rules.allow.is_empty() || named(&rules.allow)) && !named(&rules.deny)
        }
        // Not built yet; refused by the resource and by `mcp-hub check`.
        FilterMode::Category | FilterMode::Hybrid | FilterMode::PromptBased => false,
    }
}

/// What clients see of the catalogue.
pub fn view(config: &HubConfig, catalogue: &Catalogue) -> View {
    let tools: Vec<Arc<Tool>> = catalogue.tools.iter().filter(|tool| shown(config, tool)).cloned().collect();
    let pages = pages(&tools, MAX_PAGE_BYTES);
    let mut by_name = HashMap::new();
    let mut by_bare_name = HashMap::new();
    for (position, tool) in tools.iter().enumerate() {
        by_name.insert(tool.exposed.clone(), position);
        // A second tool of the same bare name makes it ambiguous for good.
        by_bare_name.entry(tool.bare.clone()).and_modify(|first| *first = None).or_insert(Some(position));
    }
    let digest = Sha256::digest(pages.concat());
    let digest = digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
    View { tools, pages, digest, ttl_ms: catalogue.ttl_ms, private: catalogue.private, by_name, by_bare_name }
}

impl View {
    /// Position of the visible tool of this name, or of this name without prefix where only one has it.
    /// A denied tool and one that was never there are the same here, and so to every caller.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied().or_else(|| self.by_bare_name.get(name).copied().flatten())
    }

    /// The page that a cursor names; the first without one. `None`: a cursor of another list, or of none.
    pub fn page(&self, cursor: Option<&str>) -> Option<(&str, Option<String>)> {
        let position = match cursor {
            None => 0,
            Some(cursor) => {
                let (digest, position) = cursor.split_once('-')?;
                (digest == self.digest_text()).then_some(())?;
                position.parse().ok()?
            }
        };
        let page = self.pages.get(position)?;
        let next = (position + 1 < self.pages.len()).then(|| format!("{}-{}", self.digest_text(), position + 1));
        Some((page, next))
    }

    fn digest_text(&self) -> String {
        format!("{:016x}", self.digest)
    }
}

fn pages(tools: &[Arc<Tool>], max: usize) -> Vec<String> {
    let mut pages = Vec::new();
    let mut page = String::from("[");
    for tool in tools {
        if page.len() > 1 && page.len() + tool.definition.len() + 2 > max {
            page.push(']');
            pages.push(std::mem::replace(&mut page, String::from("[")));
        }
        if page.len() > 1 {
            page.push(',');
        }
        page.push_str(&tool.definition);
    }
    page.push(']');
    pages.push(page);
    pages
}

#[cfg(test)]
pub(crate) mod tests {
    use rstest::rstest;

    use super::*;
    use crate::catalogue::{Definition, ServerList};

    /// A config of servers with these names, which are their prefixes too.
    pub(crate) fn config(servers: &[&str]) -> HubConfig {
        let server = |name: &&str| serde_json::json!({"name": name, "prefix": name, "url": "http://localhost:1/mcp"});
        let servers: Vec<_> = servers.iter().map(server).collect();
        serde_json::from_value(serde_json::json!({"schema": 1, "servers": servers})).unwrap()
    }

    /// A list of tools with these names.
    pub(crate) fn list(names: &[&str]) -> Arc<ServerList> {
        let define = |name: &&str| {
            let text = serde_json::json!({"name": name, "inputSchema": {"type": "object"}}).to_string();
            Definition { name: (*name).to_owned(), text }
        };
        Arc::new(ServerList { tools: names.iter().map(define).collect(), ..Default::default() })
    }

    fn names(view: &View) -> Vec<&str> {
        view.tools.iter().map(|tool| tool.exposed.as_str()).collect()
    }

    fn view_of(config: &HubConfig) -> View {
        view(config, &Catalogue::of(config, &[Some(list(&["get", "put"])), Some(list(&["put"]))]))
    }

    #[rstest]
    #[case::none_shows_all(FilterMode::None, &[], &[], &[], &["a__get", "a__put", "b__put"])]
    #[case::a_static_list_shows_what_matches(FilterMode::Static, &["*__put"], &[], &[], &["a__put", "b__put"])]
    #[case::an_empty_static_list_shows_nothing(FilterMode::Static, &[], &[], &[], &[])]
    #[case::servers_by_name(FilterMode::ServerAllowlist, &[], &["b"], &[], &["b__put"])]
    #[case::no_allowed_servers_is_all(FilterMode::ServerAllowlist, &[], &[], &["b"], &["a__get", "a__put"])]
    #[case::deny_wins(FilterMode::ServerAllowlist, &[], &["b"], &["b"], &[])]
    fn filter_modes(
        #[case] mode: FilterMode,
        #[case] patterns: &[&str],
        #[case] allow: &[&str],
        #[case] deny: &[&str],
        #[case] expected: &[&str],
    ) {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let mut config = config(&["a", "b"]);
        config.filtering.mode = mode;
        config.filtering.static_tools = owned(patterns);
        config.filtering.servers.allow = owned(allow);
        config.filtering.servers.deny = owned(deny);
        assert_eq!(names(&view_of(&config)), expected);
    }

    #[test]
    fn a_tool_that_its_server_s_rules_deny_is_nowhere() {
        let mut config = config(&["a", "b"]);
        config.servers[0].tools.deny = vec!["p*".into()];
        let view = view_of(&config);
        assert_eq!(names(&view), ["a__get", "b__put"]);
        assert_eq!(view.find("a__put"), None);
        assert_eq!(view.find("put"), Some(1), "the name is unique again");
    }

    #[test]
    fn a_bare_name_resolves_only_while_it_is_unique() {
        let view = view_of(&config(&["a", "b"]));
        assert_eq!(view.find("get"), Some(0));
        assert_eq!(view.find("put"), None);
        assert_eq!(view.find("b__put"), Some(2));
        assert_eq!(view.find("c__put"), None);
    }

    #[test]
    fn a_list_is_one_page_and_the_digest_changes_with_any_byte() {
        let config = config(&["a", "b"]);
        let view = view_of(&config);
        let (page, next) = view.page(None).unwrap();
        assert_eq!(next, None);
        assert_eq!(serde_json::from_str::<Vec<serde_json::Value>>(page).unwrap().len(), 3);
        let mut described = config.clone();
        described.servers[0].tools.describe.insert("get".into(), "new".into());
        assert_ne!(view.digest, view_of(&described).digest);
        assert_eq!(view.digest, view_of(&config).digest);
    }

    #[test]
    fn a_huge_list_has_pages_and_a_cursor_of_another_list_is_refused() {
        let config = config(&["a", "b"]);
        let mut view = view_of(&config);
        view.pages = pages(&view.tools, 100);
        assert_eq!(view.pages.len(), 3);
        let (_, cursor) = view.page(None).unwrap();
        assert!(view.page(cursor.as_deref()).is_some());
        assert!(view.page(Some("0000000000000000-1")).is_none());
        assert!(view.page(Some("nonsense")).is_none());
        assert!(view.page(Some(&cursor.unwrap().replace("-1", "-9"))).is_none());
    }

    #[test]
    fn an_empty_view_is_an_empty_list() {
        assert_eq!(view(&config(&[]), &Catalogue::default()).page(None), Some(("[]", None)));
    }
}
