//! Why a caller sees a tool, or does not: the rules on its way, one by one.

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

/// Other names that an answer offers for one that is not there.
const OFFERED: usize = 3;

/// Who asks for what.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Name of the tool: exposed, without prefix, or the server's own.
    pub tool: &'a str,
    /// The view that it is looked for in.
    pub view: Option<&'a str>,
    /// Who looks.
    pub principal: &'a Principal,
    /// The tools that a prompt chose in a legacy session, best first.
    pub chosen: Option<&'a [String]>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Exposed name of the tool that was meant; the name as asked where there is none.
    pub tool: String,
    /// What came of it.
    pub status: ListStatus,
    /// The rules on its way, up to the one that ended it.
    pub steps: Vec<RuleResult>,
}

/// What a caller has of a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListStatus {
    /// It is in the list.
    Listed,
    /// It is not in the list; it is found by search where that is there, and can be called.
    Unlisted,
    /// For the caller it does not exist.
    Denied,
    /// No server lists it.
    Unknown,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleResult {
    /// Where in the config it is.
    pub rule: String,
    /// It let the tool pass.
    pub passed: bool,
    /// What it said.
    pub reason: String,
}

impl ListStatus {
    /// The word for people.
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
        for RuleResult { rule, passed, reason } in &self.steps {
            write!(f, "\n  {} {rule}: {reason}", if *passed { "+" } else { "-" })?;
        }
        Ok(())
    }
}

/// Answers. `lists` are what the servers list, in the order of the config; `None` where one has not listed.
pub fn explain(
    visibility: &Arc<Visibility>,
    lists: &[Option<Arc<ServerList>>],
    question: Question<'_>,
) -> Explanation {
    let mut way = Trace { tool: question.tool.to_owned(), steps: Vec::new() };
    let Some(place) = place(visibility, question.tool) else {
        return way.absent(visibility, lists);
    };
    let Some(tool) = visibility.catalog.entries.get(place) else {
        return way.end(ListStatus::Unknown);
    };
    way.tool.clone_from(&tool.exposed);
    let class = Class::from_hints(tool.hints()).name();
    way.passed(
        format!("servers.{}", tool.server_name),
        format!("lists it as {}; class {class}", tool.own),
    );
    if !way.mode(visibility, place, tool)
        || !way.view(visibility, place, question)
        || !way.access(visibility, place, question)
    {
        return way.end(ListStatus::Denied);
    }
    let Some(visible) = visibility.visible_tools(question.view, question.principal) else {
        return way.end(ListStatus::Denied);
    };
    let Some(position) = visible.find(&tool.exposed) else { return way.end(ListStatus::Denied) };
    let mut additions = Additions::default();
    if let Some(chosen) = question.chosen {
        additions.add_for_prompt(chosen.iter().map(String::as_str));
    }
    let cache = GroupCache::default();
    let tool_list = match question.chosen {
        Some(_) => ToolList::new(&visible, ListScope::Session(&additions), &cache),
        None => ToolList::new(&visible, ListScope::Stateless, &cache),
    };
    way.tool_list(&visible, &tool_list, position, question.chosen);
    way.end(if tool_list.lists(position) { ListStatus::Listed } else { ListStatus::Unlisted })
}

/// Place in the catalog of the tool that is meant.
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
    steps: Vec<RuleResult>,
}

impl Trace {
    fn step(&mut self, rule: String, passed: bool, reason: String) -> bool {
        self.steps.push(RuleResult { rule, passed, reason });
        passed
    }

    fn passed(&mut self, rule: String, said: String) {
        self.step(rule, true, said);
    }

    fn end(self, status: ListStatus) -> Explanation {
        Explanation { tool: self.tool, status, steps: self.steps }
    }

    /// Of a tool that is not in the catalog: a server's own rules keep it out, or nobody lists it.
    fn absent(mut self, visibility: &Visibility, lists: &[Option<Arc<ServerList>>]) -> Explanation {
        if let Some(meta) = MetaTool::from_name(&self.tool) {
            self.step(
                "meta".into(),
                true,
                format!(
                    "{} is a tool of the hub itself; it is there where something is not listed",
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
                .find(|own| is_called(server, own, &self.tool))
            else {
                continue;
            };
            let rule = format!("servers.{}", server.name);
            if server.disabled {
                self.step(format!("{rule}.disabled"), false, "the server is switched off".into());
            } else {
                let denied =
                    server.tools.deny.iter().find(|pattern| pattern::matches(pattern, own));
                let (rule, said) = match denied {
                    Some(pattern) => {
                        (format!("{rule}.tools.deny"), format!("\"{pattern}\" matches {own}"))
                    }
                    None => (format!("{rule}.tools.allow"), format!("nothing in it matches {own}")),
                };
                self.step(rule, false, said);
            }
            return self.end(ListStatus::Denied);
        }
        let mut said = "no server lists a tool of this name".to_owned();
        let near = near(visibility, &self.tool);
        if !near.is_empty() {
            said = format!("{said}; there are {}", near.join(", "));
        }
        if !silent.is_empty() {
            said = format!("{said}; not listed yet: {}", silent.join(", "));
        }
        self.step("servers".into(), false, said);
        self.end(ListStatus::Unknown)
    }

    fn mode(&mut self, visibility: &Visibility, place: usize, tool: &Tool) -> bool {
        let filtering = &visibility.config.filtering;
        let rule = format!("filtering.mode {:?}", filtering.mode);
        self.step(rule, visibility.shows(place), mode_says(filtering, visibility, tool))
    }

    fn view(&mut self, visibility: &Visibility, place: usize, question: Question<'_>) -> bool {
        let Some(name) = question.view else { return true };
        let rule = format!("filtering.views.{name}");
        match visibility.view_has(name, place) {
            None => self.step(rule, false, "there is no such view".into()),
            Some(true) => self.step(rule, true, "has it".into()),
            Some(false) => self.step(
                rule,
                false,
                "does not have it: its servers, categories and tools must all match".into(),
            ),
        }
    }

    fn access(&mut self, visibility: &Visibility, place: usize, question: Question<'_>) -> bool {
        let rules = &visibility.config.access;
        if rules.is_empty() {
            return self.step(
                "access".into(),
                true,
                "no rules, so everybody may know of everything".into(),
            );
        }
        match visibility.allowing_rule(place, question.principal, question.view) {
            Some(position) => {
                let when = rules
                    .get(position)
                    .map(|rule| rule.when.trim())
                    .filter(|when| !when.is_empty());
                self.step(
                    format!("access[{position}]"),
                    true,
                    format!("allows it: {}", when.unwrap_or("to everybody")),
                )
            }
            None => self.step(
                "access".into(),
                false,
                format!("none of {} rules allows it to this caller", rules.len()),
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
            let said = match chosen.iter().position(|one| one == name) {
                Some(rank) => format!("chose it as number {} of {}", rank + 1, chosen.len()),
                None => format!("chose {} other tools", chosen.len()),
            };
            self.step("prompt".into(), chosen.iter().any(|one| one == name), said);
        }
        let mut said =
            exposure_says(filtering, visible.is_pinned(position), listed, chosen.is_some());
        if let Some(budget) = filtering.tool_budget.as_ref().filter(|_| tool_list.unlisted() > 0) {
            said = format!(
                "{said}; the list has {} tools of at most {} and {} tokens of at most {}",
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
            said = format!("{said}; it is an action of {}", dispatcher.group.name);
        }
        if !listed {
            said = format!(
                "{said}; {}",
                if tool_list.search {
                    "hub__find_tools finds it, and it can be called"
                } else {
                    "it can be called by who knows its name"
                }
            );
        }
        self.step("list".into(), listed, said);
    }
}

/// Whether a server's tool would be known by this name.
fn is_called(server: &Server, own: &str, name: &str) -> bool {
    let bare = server.tools.rename.get(own).map_or(own, String::as_str);
    own == name || bare == name || names::exposed(server.prefix.as_deref(), bare) == name
}

/// Names that share most with one that is not there.
fn near<'v>(visibility: &'v Visibility, name: &str) -> Vec<&'v str> {
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase)
            .collect()
    };
    let wanted = words(name);
    let shared = |tool: &Arc<Tool>| {
        let has = words(&tool.exposed);
        wanted.iter().filter(|word| has.contains(word)).count()
    };
    let mut found: Vec<(usize, &str)> = visibility
        .catalog
        .entries
        .iter()
        .map(|tool| (shared(tool), tool.exposed.as_str()))
        .filter(|(n, _)| *n > 0)
        .collect();
    found.sort_by(|(a, x), (b, y)| b.cmp(a).then_with(|| x.cmp(y)));
    found.into_iter().take(OFFERED).map(|(_, name)| name).collect()
}

fn mode_says(filtering: &Filtering, visibility: &Visibility, tool: &Tool) -> String {
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
                Some(name) => (name, "said by the language model".to_owned()),
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
                Some(pattern) => format!("\"{pattern}\" of filtering.staticTools matches"),
                None => "nothing in filtering.staticTools matches".into(),
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

fn exposure_says(filtering: &Filtering, pinned: bool, listed: bool, prompted: bool) -> String {
    let by_prompt = filtering.mode == FilterMode::PromptBased;
    match (by_prompt, filtering.prompt_based.default_exposure, listed) {
        (false, _, true) if pinned => "it is pinned, or everything fits".into(),
        (false, _, true) => "everything fits".into(),
        (false, _, false) => {
            "not everything fits, and it is not pinned in filtering.staticTools or comes too late there".into()
        }
        (true, _, true) if prompted => "the prompt added it, or it is pinned".into(),
        (true, DefaultExposure::All, true) => "promptBased.defaultExposure All, and everything fits".into(),
        (true, tool_list, true) => format!("promptBased.defaultExposure {tool_list:?} lists pinned tools"),
        (true, _, false) if prompted => "the prompt did not add it, or there was no room".into(),
        (true, tool_list, false) => format!("promptBased.defaultExposure {tool_list:?} does not list it before a prompt"),
    }
}

#[cfg(test)]
mod tests;
