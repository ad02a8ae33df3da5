//! Explains why a principal sees a tool or not, rule by rule.

use std::fmt;
use std::sync::Arc;

use mcphub_hub_wire::config::{DefaultExposure, FilterMode, Filtering, HybridMatch, Server};

use crate::catalog::{ServerList, Tool};
use crate::grouping::{Dispatcher, GroupCache};
use crate::meta_tools::{Class, MetaTool};
use crate::principal::Principal;
use crate::tool_list::{Additions, ListScope, ToolList};
use crate::visibility::{Visibility, VisibleTools};
use crate::{names, pattern};

/// How many similar names are suggested for an unknown tool.
const MAX_SUGGESTIONS: usize = 3;

#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The exposed name, the bare name, or the server's own name.
    pub tool: &'a str,
    pub view: Option<&'a str>,
    pub principal: &'a Principal,
    /// The tools that a prompt selected in a session, best first.
    pub chosen: Option<&'a [String]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The exposed name of the tool; the name in the question if there is no such tool.
    pub tool: String,
    pub status: ListStatus,
    /// The rules that were applied, up to the one that denied it.
    pub rules: Vec<RuleResult>,
}

/// How a tool appears to a principal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListStatus {
    /// The list has it.
    Listed,
    /// The list does not have it. It can be called, and search finds it if there is search.
    Unlisted,
    /// It does not exist for the principal.
    Denied,
    /// No server lists it.
    Unknown,
}

/// The result of one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleResult {
    /// The path of the rule in the config.
    pub rule: String,
    pub passed: bool,
    pub reason: String,
}

impl ListStatus {
    pub fn name(self) -> &'static str {
        match self {
            Self::Listed => "listed",
            Self::Unlisted => "unlisted",
            Self::Denied => "denied",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.tool, self.status.name())?;
        for RuleResult { rule, passed, reason } in &self.rules {
            write!(f, "\n  {} {rule}: {reason}", if *passed { "+" } else { "-" })?;
        }
        Ok(())
    }
}

/// Explains. `lists` has the list of each server of the config; `None` for a server that has not
/// listed yet.
pub fn explain(
    visibility: &Arc<Visibility>,
    lists: &[Option<Arc<ServerList>>],
    question: Question<'_>,
) -> Explanation {
    let mut trace = Trace { tool: question.tool.to_owned(), rules: Vec::new() };
    let Some(place) = place(visibility, question.tool) else {
        return trace.end_absent(visibility, lists);
    };
    let Some(tool) = visibility.catalog.entries.get(place) else {
        return trace.end(ListStatus::Unknown);
    };
    trace.tool.clone_from(&tool.exposed);
    let class = Class::from_hints(tool.hints()).name();
    trace.add_passed(
        format!("servers.{}", tool.server_name),
        format!("lists it as {}; class {class}", tool.own),
    );
    if !trace.mode(visibility, place, tool)
        || !trace.view(visibility, place, question)
        || !trace.access(visibility, place, question)
    {
        return trace.end(ListStatus::Denied);
    }
    let Some(visible) = visibility.visible_tools(question.view, question.principal) else {
        return trace.end(ListStatus::Denied);
    };
    let Some(position) = visible.find(&tool.exposed) else { return trace.end(ListStatus::Denied) };
    let mut additions = Additions::default();
    if let Some(chosen) = question.chosen {
        additions.add_for_prompt(chosen.iter().map(String::as_str));
    }
    let cache = GroupCache::default();
    let tool_list = match question.chosen {
        Some(_) => ToolList::new(&visible, ListScope::Session(&additions), &cache),
        None => ToolList::new(&visible, ListScope::Stateless, &cache),
    };
    trace.tool_list(&visible, &tool_list, position, question.chosen);
    trace.end(if tool_list.lists(position) { ListStatus::Listed } else { ListStatus::Unlisted })
}

/// The place of the tool with this exposed name, or of the only one with this bare name.
fn place(visibility: &Visibility, name: &str) -> Option<usize> {
    let catalog = &visibility.catalog;
    catalog.place(name).or_else(|| {
        let mut bare = catalog.places_of_bare_name(name);
        let first = bare.next()?;
        bare.next().is_none().then_some(first)
    })
}

struct Trace {
    tool: String,
    rules: Vec<RuleResult>,
}

impl Trace {
    fn add(&mut self, rule: String, passed: bool, reason: String) -> bool {
        self.rules.push(RuleResult { rule, passed, reason });
        passed
    }

    fn add_passed(&mut self, rule: String, reason: String) {
        self.add(rule, true, reason);
    }

    fn end(self, status: ListStatus) -> Explanation {
        Explanation { tool: self.tool, status, rules: self.rules }
    }

    /// Explains a tool that is not in the catalog: the rules of its server deny it, or no server
    /// lists it.
    fn end_absent(
        mut self,
        visibility: &Visibility,
        lists: &[Option<Arc<ServerList>>],
    ) -> Explanation {
        if let Some(meta) = MetaTool::from_name(&self.tool) {
            self.add(
                "meta".into(),
                true,
                format!(
                    "{} is one of the hub's own tools; it exists if the list does not hold \
                     everything",
                    meta.name()
                ),
            );
            return self.end(ListStatus::Unknown);
        }
        let mut silent = Vec::new();
        for (server, list) in visibility.config.servers.iter().zip(lists) {
            let Some(list) = list else {
                silent.push(server.name.as_str());
                continue;
            };
            let Some(own) = list
                .definitions
                .iter()
                .map(|tool| tool.name.as_str())
                .find(|own| has_name(server, own, &self.tool))
            else {
                continue;
            };
            let rule = format!("servers.{}", server.name);
            if server.disabled {
                self.add(format!("{rule}.disabled"), false, "the server is disabled".into());
            } else {
                let denied =
                    server.tools.deny.iter().find(|pattern| pattern::matches(pattern, own));
                let (rule, reason) = match denied {
                    Some(pattern) => {
                        (format!("{rule}.tools.deny"), format!("\"{pattern}\" matches {own}"))
                    }
                    None => (format!("{rule}.tools.allow"), format!("no pattern matches {own}")),
                };
                self.add(rule, false, reason);
            }
            return self.end(ListStatus::Denied);
        }
        let mut reason = "no server lists a tool of this name".to_owned();
        let near = similar_names(visibility, &self.tool);
        if !near.is_empty() {
            reason = format!("{reason}; similar names are {}", near.join(", "));
        }
        if !silent.is_empty() {
            reason = format!("{reason}; not listed yet: {}", silent.join(", "));
        }
        self.add("servers".into(), false, reason);
        self.end(ListStatus::Unknown)
    }

    fn mode(&mut self, visibility: &Visibility, place: usize, tool: &Tool) -> bool {
        let filtering = &visibility.config.filtering;
        let rule = format!("filtering.mode {:?}", filtering.mode);
        self.add(rule, visibility.shows(place), explain_mode(filtering, visibility, tool))
    }

    fn view(&mut self, visibility: &Visibility, place: usize, question: Question<'_>) -> bool {
        let Some(name) = question.view else { return true };
        let rule = format!("filtering.views.{name}");
        match visibility.view_has(name, place) {
            None => self.add(rule, false, "there is no such view".into()),
            Some(true) => self.add(rule, true, "has it".into()),
            Some(false) => self.add(
                rule,
                false,
                "does not have it; its servers, categories and tools must all match".into(),
            ),
        }
    }

    fn access(&mut self, visibility: &Visibility, place: usize, question: Question<'_>) -> bool {
        let rules = &visibility.config.access;
        if rules.is_empty() {
            return self.add(
                "access".into(),
                true,
                "there are no rules, so everybody may see everything".into(),
            );
        }
        match visibility.allowing_rule(place, question.principal, question.view) {
            Some(position) => {
                let when = rules
                    .get(position)
                    .map(|rule| rule.when.trim())
                    .filter(|when| !when.is_empty());
                self.add(
                    format!("access[{position}]"),
                    true,
                    format!("allows it: {}", when.unwrap_or("for everybody")),
                )
            }
            None => self.add(
                "access".into(),
                false,
                format!("none of {} rules allows it for this caller", rules.len()),
            ),
        }
    }

    fn tool_list(
        &mut self,
        visible: &VisibleTools,
        tool_list: &ToolList,
        position: usize,
        chosen: Option<&[String]>,
    ) {
        let filtering = &visible.config().filtering;
        let listed = tool_list.lists(position);
        if let Some(chosen) = chosen {
            let name = visible.tools.get(position).map_or("", |tool| tool.exposed.as_str());
            let reason = match chosen.iter().position(|one| one == name) {
                Some(rank) => format!("selected it as number {} of {}", rank + 1, chosen.len()),
                None => format!("selected {} other tools", chosen.len()),
            };
            self.add("prompt".into(), chosen.iter().any(|one| one == name), reason);
        }
        let mut reason =
            explain_exposure(filtering, visible.is_pinned(position), listed, chosen.is_some());
        if let Some(budget) = filtering.tool_budget.as_ref().filter(|_| tool_list.unlisted() > 0) {
            reason = format!(
                "{reason}; the list has {} tools of at most {} and {} tokens of at most {}",
                tool_list.entries(),
                budget.max_tools,
                tool_list.tokens(),
                budget.max_tokens
            );
        }
        let tool = visible.tools.get(position);
        let is_in = |dispatcher: &&Dispatcher| {
            dispatcher
                .group
                .tools
                .iter()
                .any(|member| Some(&member.exposed) == tool.map(|tool| &tool.exposed))
        };
        if let Some(dispatcher) = tool_list.dispatchers.iter().find(is_in) {
            reason = format!("{reason}; it is an action of {}", dispatcher.group.name);
        }
        if !listed {
            reason = format!(
                "{reason}; {}",
                if tool_list.search {
                    "hub__find_tools finds it, and it can be called"
                } else {
                    "it can be called by its name"
                }
            );
        }
        self.add("list".into(), listed, reason);
    }
}

/// Whether this is one of the names of a server's tool.
fn has_name(server: &Server, own: &str, name: &str) -> bool {
    let bare = server.tools.rename.get(own).map_or(own, String::as_str);
    own == name || bare == name || names::exposed(server.prefix.as_deref(), bare) == name
}

/// The names that have most words in common with an unknown one.
fn similar_names<'v>(visibility: &'v Visibility, name: &str) -> Vec<&'v str> {
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase)
            .collect()
    };
    let in_name = words(name);
    let shared = |tool: &Arc<Tool>| {
        let has = words(&tool.exposed);
        in_name.iter().filter(|word| has.contains(word)).count()
    };
    let mut found: Vec<(usize, &str)> = visibility
        .catalog
        .entries
        .iter()
        .map(|tool| (shared(tool), tool.exposed.as_str()))
        .filter(|(n, _)| *n > 0)
        .collect();
    found.sort_by(|(a, x), (b, y)| b.cmp(a).then_with(|| x.cmp(y)));
    found.into_iter().take(MAX_SUGGESTIONS).map(|(_, name)| name).collect()
}

fn explain_mode(filtering: &Filtering, visibility: &Visibility, tool: &Tool) -> String {
    let server = || {
        let name = &*tool.server_name;
        let named = |names: &[String]| names.iter().any(|one| one == name);
        if named(&filtering.servers.deny) {
            format!("server {name} is in filtering.servers.deny")
        } else if named(&filtering.servers.allow) {
            format!("server {name} is in filtering.servers.allow")
        } else if filtering.servers.allow.is_empty() {
            "filtering.servers.allow is empty".to_owned()
        } else {
            format!("server {name} is not in filtering.servers.allow")
        }
    };
    let category = || {
        let (name, from) = match visibility.categories.mapping(&tool.exposed) {
            Some((pattern, name)) => (name, format!("custom \"{pattern}\"")),
            None => match visibility.categories.llm().category(tool) {
                Some(name) => (name, "from the language model".to_owned()),
                None => (tool.builtin_category().name(), "built in".to_owned()),
            },
        };
        let is =
            if filtering.categories.expose.iter().any(|one| one == name) { "is" } else { "is not" };
        format!("category {name} ({from}) {is} in filtering.categories.expose")
    };
    match filtering.mode {
        FilterMode::None => "shows everything".into(),
        FilterMode::PromptBased => "denies nothing".into(),
        FilterMode::Static => {
            match filtering.static_tools.iter().find(|one| pattern::matches(one, &tool.exposed)) {
                Some(pattern) => format!("\"{pattern}\" of filtering.static.tools matches"),
                None => "no pattern of filtering.static.tools matches".into(),
            }
        }
        FilterMode::ServerAllowlist => server(),
        FilterMode::Category => category(),
        FilterMode::Hybrid => {
            let join = if filtering.hybrid == HybridMatch::Any {
                "one is enough"
            } else {
                "both must hold"
            };
            format!("{}; {}; {join}", server(), category())
        }
    }
}

fn explain_exposure(filtering: &Filtering, pinned: bool, listed: bool, prompted: bool) -> String {
    let by_prompt = filtering.mode == FilterMode::PromptBased;
    match (by_prompt, filtering.prompt_based.default_exposure, listed) {
        (false, _, true) if pinned => "it is pinned, or everything fits".into(),
        (false, _, true) => "everything fits".into(),
        (false, _, false) => {
            "not everything fits, and it is not pinned in filtering.static.tools, or pinned tools \
             before it take up the budget"
                .into()
        }
        (true, _, true) if prompted => "the prompt added it, or it is pinned".into(),
        (true, DefaultExposure::All, true) => {
            "promptBased.defaultExposure All, and everything fits".into()
        }
        (true, tool_list, true) => format!(
            "promptBased.defaultExposure {tool_list:?} lists pinned \
                                            tools"
        ),
        (true, _, false) if prompted => {
            "the prompt did not add it, or the budget was used up".into()
        }
        (true, tool_list, false) => format!(
            "promptBased.defaultExposure {tool_list:?} does not \
                                             list it before a prompt"
        ),
    }
}

#[cfg(test)]
mod tests;
