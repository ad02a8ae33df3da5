//! Categories that a language model chose.

use std::collections::HashMap;
use std::sync::Arc;

use mcphub_hub_wire::config::{FilterMode, Filtering};

use crate::builtin_category::BuiltinCategory;
use crate::catalog::{Tool, ToolCatalog};

/// The answers of a language model, by exposed name. An answer is valid until the tool changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LlmCategories(HashMap<String, LlmAnswer>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct LlmAnswer {
    server: Arc<str>,
    digest: u64,
    /// `None` if the model named no category that exists.
    category: Option<Arc<str>>,
}

impl LlmCategories {
    /// Stores the answer for this tool; `None` if the model named no category that exists.
    pub fn insert(&mut self, tool: &Tool, category: Option<&str>) {
        let server = Arc::clone(&tool.server_name);
        let answer = LlmAnswer { server, digest: tool.digest, category: category.map(Arc::from) };
        self.0.insert(tool.exposed.clone(), answer);
    }

    /// Whether there is an answer for this tool as it is now.
    pub fn contains(&self, tool: &Tool) -> bool {
        self.answer(tool).is_some()
    }

    /// The category that the model chose for this tool as it is now.
    pub fn category(&self, tool: &Tool) -> Option<&str> {
        self.answer(tool)?.category.as_deref()
    }

    /// Drops the answers for tools that are gone or have changed.
    pub fn retain(&mut self, catalog: &ToolCatalog) {
        self.0.retain(|name, answer| {
            let tool = catalog.place(name).and_then(|place| catalog.entries.get(place));
            tool.is_some_and(|tool| answer.is_for(tool))
        });
    }

    fn answer(&self, tool: &Tool) -> Option<&LlmAnswer> {
        self.0.get(&tool.exposed).filter(|answer| answer.is_for(tool))
    }
}

impl LlmAnswer {
    fn is_for(&self, tool: &Tool) -> bool {
        self.digest == tool.digest && self.server == tool.server_name
    }
}

/// The categories that a language model may choose from: the built-in ones and those of custom
/// mappings. Empty if no filter or view uses categories.
pub fn llm_choices(filtering: &Filtering) -> Vec<&str> {
    let mode_uses_categories = matches!(filtering.mode, FilterMode::Category | FilterMode::Hybrid)
        && !filtering.categories.expose.is_empty();
    if !mode_uses_categories && filtering.views.iter().all(|view| view.categories.is_empty()) {
        return Vec::new();
    }
    let builtin = BuiltinCategory::ALL.map(BuiltinCategory::name);
    let mut custom: Vec<&str> = filtering.categories.custom.values().map(String::as_str).collect();
    custom.retain(|name| !builtin.contains(name));
    custom.sort_unstable();
    custom.dedup();
    builtin.into_iter().chain(custom).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::category::Categories;
    use crate::fixtures::{config, list, tool};

    #[test]
    fn an_answer_is_valid_while_server_and_definition_stay_the_same() {
        let before = tool(r#"{"name":"x","description":"one"}"#);
        let mut answers = LlmCategories::default();
        answers.insert(&before, Some("web"));
        assert_eq!(answers.category(&tool(r#"{"name":"x","description":"one"}"#)), Some("web"));
        let after = tool(r#"{"name":"x","description":"two"}"#);
        assert_eq!((answers.contains(&after), answers.category(&after)), (false, None));
        let mut moved = Tool::clone(&before);
        moved.server_name = "b".into();
        assert!(
            !answers.contains(&moved),
            "another server's tool of the same name is another tool"
        );
    }

    #[test]
    fn a_mapping_comes_before_the_model_and_the_model_before_words() {
        let tool = tool(r#"{"name":"read_file"}"#);
        let mut answers = LlmCategories::default();
        answers.insert(&tool, Some("cloud"));
        let answers = Arc::new(answers);
        let custom = BTreeMap::from([("a__*".to_owned(), "mine".to_owned())]);
        assert_eq!(Categories::new(&custom, Arc::clone(&answers)).category(&tool), "mine");
        assert_eq!(Categories::new(&BTreeMap::new(), answers).category(&tool), "cloud");
        assert_eq!(Categories::default().category(&tool), "filesystem");
        let mut none = LlmCategories::default();
        none.insert(&tool, None);
        assert!(none.contains(&tool));
        assert_eq!(
            Categories::new(&BTreeMap::new(), Arc::new(none)).category(&tool),
            "filesystem",
            "the model named no category that exists"
        );
    }

    #[test]
    fn answers_for_tools_that_are_gone_or_changed_are_dropped() {
        let catalog = |names: &[&str]| ToolCatalog::new(&config(&["a"]), &[Some(list(names))]);
        let before = catalog(&["x", "y"]);
        let mut answers = LlmCategories::default();
        before.entries.iter().for_each(|tool| answers.insert(tool, Some("web")));
        answers.retain(&catalog(&["y", "z"]));
        assert_eq!(
            before.entries.iter().map(|tool| answers.contains(tool)).collect::<Vec<_>>(),
            [false, true]
        );
    }

    #[test]
    fn a_model_may_choose_built_in_and_custom_categories_and_nothing_if_no_filter_uses_them() {
        let choices = |filtering: serde_json::Value| {
            let filtering: Filtering = serde_json::from_value(filtering).unwrap();
            llm_choices(&filtering).into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        let custom =
            json!({"expose": ["web"], "custom": {"a": "zoo", "b": "web", "c": "art", "d": "zoo"}});
        let all = choices(json!({"mode": "Category", "categories": custom}));
        assert_eq!((all.len(), &all[10..]), (12, &["art".to_owned(), "zoo".to_owned()][..]));
        assert_eq!(choices(json!({"mode": "Hybrid", "categories": {"expose": ["web"]}})).len(), 10);
        assert_eq!(choices(json!({"views": [{"name": "v", "categories": ["web"]}]})).len(), 10);
        assert_eq!(choices(json!({"mode": "None", "categories": custom})).len(), 0);
        assert_eq!(choices(json!({"mode": "Hybrid", "servers": {"allow": ["a"]}})).len(), 0);
    }
}
