//! What in a config has no effect on the catalog.

use std::collections::HashSet;

use mcphub_hub_wire::config::{FilterMode, HubConfig};

use crate::catalog::ToolCatalog;
use crate::category::Categories;
use crate::pattern;

pub(super) fn warnings(
    config: &HubConfig,
    catalog: &ToolCatalog,
    categories: &Categories,
) -> Vec<String> {
    let filtering = &config.filtering;
    let mut warnings = Vec::new();
    let mut check_patterns = |at: String, patterns: &[String]| {
        for pattern in patterns {
            if !catalog.entries.iter().any(|tool| pattern::matches(pattern, &tool.exposed)) {
                warnings.push(format!(
                    "{at}: \"{pattern}\" matches no tool; patterns match whole names such as \
                     server__tool"
                ));
            }
        }
    };
    check_patterns("filtering.staticTools".into(), &filtering.static_tools);
    for (position, view) in filtering.views.iter().enumerate() {
        check_patterns(format!("filtering.views[{position}].tools"), &view.tools);
    }
    for (position, rule) in config.access.iter().enumerate() {
        check_patterns(format!("access[{position}].tools"), &rule.tools);
    }
    check_patterns(
        "filtering.categories.custom".into(),
        &filtering.categories.custom.keys().cloned().collect::<Vec<_>>(),
    );
    for (position, question) in filtering.golden_questions.iter().enumerate() {
        for tool in question.tools.iter().filter(|tool| catalog.place(tool).is_none()) {
            warnings.push(format!(
                "filtering.goldenQuestions[{position}].tools: there is no tool \"{tool}\""
            ));
        }
    }
    let uses_categories = matches!(filtering.mode, FilterMode::Category | FilterMode::Hybrid)
        || filtering.views.iter().any(|view| !view.categories.is_empty());
    if uses_categories {
        let existing: HashSet<&str> =
            catalog.entries.iter().map(|tool| categories.category(tool)).collect();
        let mut check_categories = |at: String, names: &[String]| {
            for name in names.iter().filter(|name| !existing.contains(name.as_str())) {
                warnings.push(format!("{at}: no tool is in category \"{name}\""));
            }
        };
        check_categories("filtering.categories.expose".into(), &filtering.categories.expose);
        for (position, view) in filtering.views.iter().enumerate() {
            check_categories(format!("filtering.views[{position}].categories"), &view.categories);
        }
    }
    warnings
}
