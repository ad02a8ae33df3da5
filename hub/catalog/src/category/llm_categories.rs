//! Categories that a language model gave.

use std::collections::HashMap;
use std::sync::Arc;

use mcphub_hub_wire::config::{FilterMode, Filtering};

use super::{Builtin, Mappings};
use crate::catalog::{Catalog, Tool};

/// What a language model said of tools, each as it was when it was asked about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LlmCategories(HashMap<String, Said>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    server: Arc<str>,
    digest: u64,
    /// `None`: none that exists.
    category: Option<Arc<str>>,
}

impl LlmCategories {
    /// Notes what it said of this tool; `None` for no category that exists.
    pub fn note(&mut self, tool: &Tool, category: Option<&str>) {
        let server = Arc::clone(&tool.server_name);
        let said = Said { server, digest: tool.digest, category: category.map(Arc::from) };
        self.0.insert(tool.exposed.clone(), said);
    }

    /// Whether it was asked about this tool as it is now.
    pub fn knows(&self, tool: &Tool) -> bool {
        self.said(tool).is_some()
    }

    /// The category that it gave this tool as it is now.
    pub fn category(&self, tool: &Tool) -> Option<&str> {
        self.said(tool)?.category.as_deref()
    }

    /// Forgets tools that are not in this catalog as they were.
    pub fn keep(&mut self, catalog: &Catalog) {
        let there = |name: &String, said: &Said| {
            let tool = catalog.place(name).and_then(|place| catalog.tools.get(place));
            tool.is_some_and(|tool| said.is_of(tool))
        };
        self.0.retain(|name, said| there(name, said));
    }

    fn said(&self, tool: &Tool) -> Option<&Said> {
        self.0.get(&tool.exposed).filter(|said| said.is_of(tool))
    }
}

impl Said {
    fn is_of(&self, tool: &Tool) -> bool {
        self.digest == tool.digest && self.server == tool.server_name
    }
}

/// The categories that a language model may give: the built-in ones, and those of custom mappings. Empty where
/// categories decide nothing.
pub fn offered(filtering: &Filtering) -> Vec<&str> {
    let by_mode = matches!(filtering.mode, FilterMode::Category | FilterMode::Hybrid)
        && !filtering.categories.expose.is_empty();
    if !by_mode && filtering.views.iter().all(|view| view.categories.is_empty()) {
        return Vec::new();
    }
    let builtin = Builtin::ALL.map(Builtin::name);
    let mut own: Vec<&str> = filtering.categories.custom.values().map(String::as_str).collect();
    own.retain(|name| !builtin.contains(name));
    own.sort_unstable();
    own.dedup();
    builtin.into_iter().chain(own).collect()
}

impl Mappings {
    /// The same, with what a language model said.
    #[must_use]
    pub fn with(mut self, given: Arc<LlmCategories>) -> Self {
        self.given = given;
        self
    }

    /// What a language model said.
    pub fn given(&self) -> &Arc<LlmCategories> {
        &self.given
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::visibility::tests::{config, list, tool};

    #[test]
    fn what_was_said_of_a_tool_holds_while_its_server_and_definition_are_the_same() {
        let before = tool(r#"{"name":"x","description":"one"}"#);
        let mut given = LlmCategories::default();
        given.note(&before, Some("web"));
        assert_eq!(given.category(&tool(r#"{"name":"x","description":"one"}"#)), Some("web"));
        let after = tool(r#"{"name":"x","description":"two"}"#);
        assert_eq!((given.knows(&after), given.category(&after)), (false, None));
        let mut moved = Tool::clone(&before);
        moved.server_name = "b".into();
        assert!(!given.knows(&moved), "another server's tool of the same name is another tool");
    }

    #[test]
    fn a_mapping_comes_first_then_the_model_then_words() {
        let tool = tool(r#"{"name":"read_file"}"#);
        let mut given = LlmCategories::default();
        given.note(&tool, Some("cloud"));
        let given = Arc::new(given);
        let custom = [("a__*".to_owned(), "mine".to_owned())].into();
        assert_eq!(Mappings::of(&custom).with(Arc::clone(&given)).category(&tool), "mine");
        assert_eq!(Mappings::default().with(given).category(&tool), "cloud");
        assert_eq!(Mappings::default().category(&tool), "filesystem");
        let mut none = LlmCategories::default();
        none.note(&tool, None);
        assert!(none.knows(&tool));
        assert_eq!(
            Mappings::default().with(Arc::new(none)).category(&tool),
            "filesystem",
            "it gave none that exists"
        );
    }

    #[test]
    fn tools_that_are_gone_or_changed_are_forgotten() {
        let catalog = |names: &[&str]| Catalog::of(&config(&["a"]), &[Some(list(names))]);
        let before = catalog(&["x", "y"]);
        let mut given = LlmCategories::default();
        before.tools.iter().for_each(|tool| given.note(tool, Some("web")));
        given.keep(&catalog(&["y", "z"]));
        assert_eq!(
            before.tools.iter().map(|tool| given.knows(tool)).collect::<Vec<_>>(),
            [false, true]
        );
    }

    #[test]
    fn a_model_may_give_built_in_categories_and_those_of_the_config_and_nothing_where_none_decides()
    {
        let offered = |filtering: serde_json::Value| {
            let filtering: Filtering = serde_json::from_value(filtering).unwrap();
            offered(&filtering).into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        let custom =
            json!({"expose": ["web"], "custom": {"a": "zoo", "b": "web", "c": "art", "d": "zoo"}});
        let all = offered(json!({"mode": "Category", "categories": custom}));
        assert_eq!((all.len(), &all[10..]), (12, &["art".to_owned(), "zoo".to_owned()][..]));
        assert_eq!(offered(json!({"mode": "Hybrid", "categories": {"expose": ["web"]}})).len(), 10);
        assert_eq!(offered(json!({"views": [{"name": "v", "categories": ["web"]}]})).len(), 10);
        assert_eq!(offered(json!({"mode": "None", "categories": custom})).len(), 0);
        assert_eq!(offered(json!({"mode": "Hybrid", "servers": {"allow": ["a"]}})).len(), 0);
    }
}
