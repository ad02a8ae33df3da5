//! The category of a tool, by which filters and views select.
//!
//! A mapping of the config decides first; the longest pattern that matches wins. Then the answer of
//! a language model counts, if one is configured. Else the tool has the built-in category that its
//! words suggest.

mod llm;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use self::llm::{LlmCategories, llm_choices};
use crate::builtin_category::BuiltinCategory;
use crate::catalog::Tool;
use crate::pattern;

/// The mappings of a config, and the answers of a language model.
#[derive(Debug, Clone, Default)]
pub struct Categories {
    /// Pattern on exposed names, and category. The longest pattern comes first.
    mappings: Vec<(String, String)>,
    llm: Arc<LlmCategories>,
}

impl Categories {
    /// `custom` maps a pattern on exposed names to a category.
    pub fn new(custom: &BTreeMap<String, String>, llm: Arc<LlmCategories>) -> Self {
        let mut mappings: Vec<(String, String)> =
            custom.iter().map(|(a, b)| (a.clone(), b.clone())).collect();
        mappings.sort_by(|(a, _), (b, _)| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        Self { mappings, llm }
    }

    /// The mapping that decides for this tool: its pattern and its category.
    pub fn mapping(&self, exposed: &str) -> Option<(&str, &str)> {
        let (pattern, category) =
            self.mappings.iter().find(|(pattern, _)| pattern::matches(pattern, exposed))?;
        Some((pattern, category))
    }

    pub fn category<'a>(&'a self, tool: &Tool) -> &'a str {
        let mapped = self.mapping(&tool.exposed).map(|(_, category)| category);
        mapped.or_else(|| self.llm.category(tool)).unwrap_or_else(|| tool.builtin_category().name())
    }

    /// The answers of the language model.
    pub fn llm(&self) -> &Arc<LlmCategories> {
        &self.llm
    }

    /// Every category that a tool can have.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let custom = self.mappings.iter().map(|(_, category)| category.as_str());
        BuiltinCategory::ALL.iter().map(|category| category.name()).chain(custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_mapping_that_matches_decides() {
        let custom = [("*", "misc"), ("git__*", "vcs"), ("git__*_x", "odd")];
        let categories = Categories::new(
            &custom.map(|(a, b)| (a.to_owned(), b.to_owned())).into(),
            Arc::default(),
        );
        assert_eq!(categories.mapping("git__get_x"), Some(("git__*_x", "odd")));
        assert_eq!(categories.mapping("git__get"), Some(("git__*", "vcs")));
        assert_eq!(categories.mapping("files__get"), Some(("*", "misc")));
        assert_eq!(Categories::default().mapping("files__get"), None);
    }
}
