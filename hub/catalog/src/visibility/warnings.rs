//! What in a config has no effect on the catalog.

use std::collections::HashSet;
use std::sync::Arc;

use mcphub_hub_wire::config::{FilterMode, HubConfig, Server};

use crate::arguments::spelling::closest_word;
use crate::catalog::{ServerList, ToolCatalog};
use crate::category::Categories;
use crate::pattern;

/// The shown name that somebody meant who wrote the server's own name, or made a typo.
fn similar<'c>(catalog: &'c ToolCatalog, pattern: &str) -> Option<&'c str> {
    let names: Vec<&str> = catalog.entries.iter().map(|tool| tool.exposed.as_str()).collect();
    let own = catalog.places_of_bare_name(pattern).next();
    let own = own.and_then(|place| names.get(place).copied());
    own.or_else(|| closest_word(pattern, &names))
}

/// What in the rules of each server has no effect on the tools that it lists. Servers that have not
/// listed yet are left out.
pub(super) fn server_warnings(
    config: &HubConfig,
    lists: &[Option<Arc<ServerList>>],
) -> Vec<String> {
    let mut warnings = Vec::new();
    for (server, list) in config.servers.iter().zip(lists) {
        let Some(list) = list.as_ref().filter(|_| !server.disabled) else { continue };
        let own: Vec<&str> = list.definitions.iter().map(|tool| tool.name.as_str()).collect();
        let rules = &server.tools;
        let patterns = [("allow", &rules.allow), ("deny", &rules.deny)];
        for (field, patterns) in patterns {
            let fits = |pattern: &str| own.iter().any(|name| pattern::matches(pattern, name));
            let useless = patterns.iter().filter(|pattern| !fits(pattern));
            warnings.extend(useless.map(|pattern| own_name(server, field, pattern, &own, &fits)));
        }
        let names = [("rename", rules.rename.keys()), ("describe", rules.describe.keys())];
        for (field, names) in names {
            let fits = |name: &str| own.contains(&name);
            let useless = names.filter(|name| !fits(name));
            warnings.extend(useless.map(|name| own_name(server, field, name, &own, &fits)));
        }
    }
    warnings
}

/// A server's own rules use its own names, without prefix.
fn own_name(
    server: &Server,
    field: &str,
    written: &str,
    own: &[&str],
    fits: &dyn Fn(&str) -> bool,
) -> String {
    let prefix = server.prefix.as_deref().unwrap_or_default();
    let bare = written.strip_prefix(prefix).and_then(|rest| rest.strip_prefix("__"));
    let meant = bare.filter(|bare| fits(bare)).or_else(|| closest_word(written, own));
    let advice = match meant {
        Some(name) => format!("did you mean \"{name}\"?"),
        None => "names here are the server's own, without a prefix".to_owned(),
    };
    let name = &server.name;
    format!("servers[{name}].tools.{field}: \"{written}\" matches no tool of the server; {advice}")
}

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
                warnings.push(match similar(catalog, pattern) {
                    Some(name) => {
                        format!("{at}: \"{pattern}\" matches no tool; did you mean \"{name}\"?")
                    }
                    None => format!(
                        "{at}: \"{pattern}\" matches no tool; patterns match whole names such as \
                         server__tool"
                    ),
                });
            }
        }
    };
    check_patterns("filtering.static.tools".into(), &filtering.static_tools);
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
