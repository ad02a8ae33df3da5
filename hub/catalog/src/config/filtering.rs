//! Checks the filtering and the access rules of a config.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use mcphub_hub_wire::config::{Backend, FilterMode, Filtering, HubConfig, Llm, Provider, View};

use crate::access::Expression;
use crate::category::Categories;
use crate::meta_tools::MetaTool;

/// Reports an error: its path in the config, and what is wrong and what to write instead.
type Report<'r> = &'r mut dyn FnMut(String, String);

pub(super) fn check(config: &HubConfig, report: Report<'_>) {
    let filtering = &config.filtering;
    let known = KnownNames::new(config);
    check_mode(filtering, report);
    known.check_servers("filtering.servers.allow", &filtering.servers.allow, report);
    known.check_servers("filtering.servers.deny", &filtering.servers.deny, report);
    known.check_categories("filtering.categories.expose", &filtering.categories.expose, report);
    let mut names = HashSet::new();
    for (position, view) in filtering.views.iter().enumerate() {
        let at = format!("filtering.views[{position}]");
        check_view_name(view, &mut names, &at, report);
        known.check_servers(&format!("{at}.servers"), &view.servers, report);
        known.check_categories(&format!("{at}.categories"), &view.categories, report);
    }
    for (position, rule) in config.access.iter().enumerate() {
        let at = format!("access[{position}]");
        known.check_servers(&format!("{at}.servers"), &rule.servers, report);
        if !rule.when.trim().is_empty()
            && let Err(message) = Expression::compile(&rule.when)
        {
            report(format!("{at}.when"), message);
        }
    }
    check_budget(config, report);
    check_prompts(filtering, report);
    check_llm(filtering, report);
}

/// A mode that shows nothing is a mistake. Whoever wants to hide everything uses `deny`.
fn check_mode(filtering: &Filtering, report: Report<'_>) {
    let mut report_empty = |at: &str, advice: &str| {
        let message = format!("is empty, so mode {:?} shows nothing; {advice}", filtering.mode);
        report(at.to_owned(), message);
    };
    let categories = "write categories such as filesystem";
    match filtering.mode {
        FilterMode::Static if filtering.static_tools.is_empty() => {
            report_empty("filtering.static.tools", "write patterns such as files__*");
        }
        FilterMode::Category if filtering.categories.expose.is_empty() => {
            report_empty("filtering.categories.expose", categories);
        }
        FilterMode::Hybrid
            if filtering.categories.expose.is_empty() && filtering.servers.allow.is_empty() =>
        {
            report_empty(
                "filtering.categories.expose",
                &format!("{categories}, or servers in filtering.servers.allow"),
            );
        }
        _ => {}
    }
}

/// Names that a config may refer to.
struct KnownNames<'c> {
    servers: Vec<&'c str>,
    custom: &'c BTreeMap<String, String>,
}

impl<'c> KnownNames<'c> {
    fn new(config: &'c HubConfig) -> Self {
        let servers = config.servers.iter().map(|server| server.name.as_str()).collect();
        Self { servers, custom: &config.filtering.categories.custom }
    }

    fn check_servers(&self, at: &str, names: &[String], report: Report<'_>) {
        for name in names.iter().filter(|name| !self.servers.contains(&name.as_str())) {
            let existing =
                if self.servers.is_empty() { "none".to_owned() } else { self.servers.join(", ") };
            report(
                at.to_owned(),
                format!("\"{name}\" is not a server of this hub; the servers are {existing}"),
            );
        }
    }

    fn check_categories(&self, at: &str, names: &[String], report: Report<'_>) {
        let categories = Categories::new(self.custom, Arc::default());
        let known: Vec<&str> = categories.names().collect();
        for name in names.iter().filter(|name| !known.contains(&name.as_str())) {
            let existing = known.join(", ");
            let message = format!(
                "\"{name}\" is not a category; the categories are {existing}; add others in \
                 filtering.categories.custom"
            );
            report(at.to_owned(), message);
        }
    }
}

fn check_view_name<'c>(view: &'c View, seen: &mut HashSet<&'c str>, at: &str, report: Report<'_>) {
    let name = view.name.as_str();
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if name.is_empty() || name.len() > 63 || !name.bytes().all(good) {
        let message = format!("\"{name}\" cannot be part of a path; write 1 to 63 of a-z 0-9 -");
        report(format!("{at}.name"), message);
    }
    if !seen.insert(name) {
        report(format!("{at}.name"), format!("\"{name}\" is used twice; rename one of the views"));
    }
}

fn check_budget(config: &HubConfig, report: Report<'_>) {
    let Some(budget) = &config.filtering.tool_budget else { return };
    let prompts = config.filtering.mode == FilterMode::PromptBased;
    let meta = MetaTool::ALL.into_iter().filter(|tool| prompts || *tool != MetaTool::AnalyzePrompt);
    let tokens: Vec<u32> = meta.map(MetaTool::min_tokens).collect();
    let (count, tokens) = (tokens.len(), tokens.iter().sum::<u32>());
    if (budget.max_tools as usize) <= count {
        let message = format!(
            "is {}, but the hub's own tools, which find the rest, are {count}; use at least {}",
            budget.max_tools,
            count + 1
        );
        report("filtering.toolBudget.maxTools".into(), message);
    }
    if budget.max_tokens <= tokens {
        let message = format!(
            "is {}, but the hub's own tools, which find the rest, need {tokens}; use at least {}",
            budget.max_tokens,
            tokens * 2
        );
        report("filtering.toolBudget.maxTokens".into(), message);
    }
}

fn check_prompts(filtering: &Filtering, report: Report<'_>) {
    let rules = &filtering.prompt_based;
    if rules.min_score.is_some_and(|score| !(0.0..=1.0).contains(&score)) {
        report(
            "filtering.promptBased.minScore".into(),
            "must be from 0 to 1; omit it for the calibrated floor".into(),
        );
    }
    if rules.max_tools == 0 {
        report(
            "filtering.promptBased.maxTools".into(),
            "must not be 0, because that adds nothing; omit it for the default".into(),
        );
    }
    for (position, question) in filtering.golden_questions.iter().enumerate() {
        let at = format!("filtering.goldenQuestions[{position}]");
        if question.query.trim().is_empty() {
            report(format!("{at}.query"), "is empty; write a question of a user".into());
        }
        if question.tools.is_empty() {
            report(
                format!("{at}.tools"),
                "is empty; write the names of the tools that answer the question".into(),
            );
        }
    }
}

fn check_llm(filtering: &Filtering, report: Report<'_>) {
    let Some(llm) = &filtering.llm else {
        if filtering.selector == Backend::Llm {
            let message = "is Llm, but filtering.llm is missing; add provider, model and apiKey, \
                           or write Embedded";
            report("filtering.selector".into(), message.into());
        }
        return;
    };
    let Llm { provider, model, base_url, timeout_ms, max_concurrent, .. } = llm;
    if model.trim().is_empty() {
        report("filtering.llm.model".into(), "is empty; write the name of the model".into());
    }
    match base_url.as_deref() {
        None if *provider == Provider::OpenAICompatible => {
            report(
                "filtering.llm.baseUrl".into(),
                "is missing; OpenAICompatible has no default".into(),
            );
        }
        Some(url) if !url.starts_with("https://") && !url.starts_with("http://") => {
            report(
                "filtering.llm.baseUrl".into(),
                "is not an http or https URL; write https://host/path".into(),
            );
        }
        _ => {}
    }
    if *timeout_ms == 0 || *max_concurrent == 0 {
        let message = "timeoutMs and maxConcurrent must not be 0, because that rejects every \
                       request; omit them for the default";
        report("filtering.llm".into(), message.into());
    }
}
