//! What in a config has no effect on the catalog that is there.

use std::collections::HashSet;

use mcphub_hub_wire::config::{FilterMode, HubConfig};

use crate::catalog::Catalog;
use crate::category::Mappings;
use crate::pattern;

pub(super) fn of(config: &HubConfig, catalog: &Catalog, categories: &Mappings) -> Vec<String> {
    let filtering = &config.filtering;
    let mut found = Vec::new();
    let mut patterns = |at: String, patterns: &[String]| {
        for pattern in patterns {
            if !catalog.tools.iter().any(|tool| pattern::matches(pattern, &tool.exposed)) {
                found.push(format!(
                    "{at}: \"{pattern}\" matches no tool; patterns are on whole names such as server__tool"
                ));
            }
        }
    };
    patterns("filtering.staticTools".into(), &filtering.static_tools);
    for (position, view) in filtering.views.iter().enumerate() {
        patterns(format!("filtering.views[{position}].tools"), &view.tools);
    }
    for (position, rule) in config.access.iter().enumerate() {
        patterns(format!("access[{position}].tools"), &rule.tools);
    }
    patterns(
        "filtering.categories.custom".into(),
        &filtering.categories.custom.keys().cloned().collect::<Vec<_>>(),
    );
    for (position, question) in filtering.golden_questions.iter().enumerate() {
        for tool in question.tools.iter().filter(|tool| catalog.place(tool).is_none()) {
            found.push(format!(
                "filtering.goldenQuestions[{position}].tools: there is no tool \"{tool}\""
            ));
        }
    }
    let asked = matches!(filtering.mode, FilterMode::Category | FilterMode::Hybrid)
        || filtering.views.iter().any(|view| !view.categories.is_empty());
    if asked {
        let there: HashSet<&str> =
            catalog.tools.iter().map(|tool| categories.category(tool)).collect();
        let mut none = |at: String, names: &[String]| {
            for name in names.iter().filter(|name| !there.contains(name.as_str())) {
                found.push(format!("{at}: no tool is in category \"{name}\""));
            }
        };
        none("filtering.categories.expose".into(), &filtering.categories.expose);
        for (position, view) in filtering.views.iter().enumerate() {
            none(format!("filtering.views[{position}].categories"), &view.categories);
        }
    }
    found
}
