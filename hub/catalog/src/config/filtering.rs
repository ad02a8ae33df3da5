//! What is wrong in the filtering and access rules of a config.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use mcphub_hub_wire::config::{Backend, FilterMode, Filtering, HubConfig, Llm, Provider, View};

use crate::access::Expression;
use crate::category::Categories;
use crate::meta_tools::MetaTool;

/// Reports a problem: its place, and what is wrong and what to write instead.
type Report<'r> = &'r mut dyn FnMut(String, String);

pub(super) fn problems(config: &HubConfig, report: Report<'_>) {
    let filtering = &config.filtering;
    let known = Known::of(config);
    mode(filtering, report);
    known.servers("filtering.servers.allow", &filtering.servers.allow, report);
    known.servers("filtering.servers.deny", &filtering.servers.deny, report);
    known.categories("filtering.categories.expose", &filtering.categories.expose, report);
    let mut names = HashSet::new();
    for (position, view) in filtering.views.iter().enumerate() {
        let at = format!("filtering.views[{position}]");
        view_name(view, &mut names, &at, report);
        known.servers(&format!("{at}.servers"), &view.servers, report);
        known.categories(&format!("{at}.categories"), &view.categories, report);
    }
    for (position, rule) in config.access.iter().enumerate() {
        let at = format!("access[{position}]");
        known.servers(&format!("{at}.servers"), &rule.servers, report);
        if !rule.when.trim().is_empty()
            && let Err(message) = Expression::compile(&rule.when)
        {
            report(format!("{at}.when"), message);
        }
    }
    budget(config, report);
    prompts(filtering, report);
    llm(filtering, report);
}

/// A mode that cannot show anything is a mistake, not a wish: `deny` says that better.
fn mode(filtering: &Filtering, report: Report<'_>) {
    let mut nothing = |at: &str, what: &str| {
        let message = format!("is empty, so mode {:?} shows nothing; {what}", filtering.mode);
        report(at.to_owned(), message);
    };
    let categories = "write categories such as filesystem";
    match filtering.mode {
        FilterMode::Static if filtering.static_tools.is_empty() => {
            nothing("filtering.staticTools", "write patterns such as files__*");
        }
        FilterMode::Category if filtering.categories.expose.is_empty() => {
            nothing("filtering.categories.expose", categories);
        }
        FilterMode::Hybrid
            if filtering.categories.expose.is_empty() && filtering.servers.allow.is_empty() =>
        {
            nothing(
                "filtering.categories.expose",
                &format!("{categories}, or servers in filtering.servers.allow"),
            );
        }
        _ => {}
    }
}

/// Names that a config may refer to.
struct Known<'c> {
    servers: Vec<&'c str>,
    custom: &'c BTreeMap<String, String>,
}

impl<'c> Known<'c> {
    fn of(config: &'c HubConfig) -> Self {
        let servers = config.servers.iter().map(|server| server.name.as_str()).collect();
        Self { servers, custom: &config.filtering.categories.custom }
    }

    fn servers(&self, at: &str, names: &[String], report: Report<'_>) {
        for name in names.iter().filter(|name| !self.servers.contains(&name.as_str())) {
            let there =
                if self.servers.is_empty() { "none".to_owned() } else { self.servers.join(", ") };
            report(
                at.to_owned(),
                format!("\"{name}\" is no server of this hub; there are {there}"),
            );
        }
    }

    fn categories(&self, at: &str, names: &[String], report: Report<'_>) {
        let categories = Categories::new(self.custom, Arc::default());
        let known: Vec<&str> = categories.names().collect();
        for name in names.iter().filter(|name| !known.contains(&name.as_str())) {
            let there = known.join(", ");
            let message = format!(
                "\"{name}\" is a category that no tool can have; there are {there}; your own go into filtering.categories.custom"
            );
            report(at.to_owned(), message);
        }
    }
}

fn view_name<'c>(view: &'c View, seen: &mut HashSet<&'c str>, at: &str, report: Report<'_>) {
    let name = view.name.as_str();
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if name.is_empty() || name.len() > 63 || !name.bytes().all(good) {
        let message = format!("\"{name}\" is the last part of a path; write 1 to 63 of a-z 0-9 -");
        report(format!("{at}.name"), message);
    }
    if !seen.insert(name) {
        report(format!("{at}.name"), format!("\"{name}\" is there twice; give one another name"));
    }
}

fn budget(config: &HubConfig, report: Report<'_>) {
    let Some(budget) = &config.filtering.tool_budget else { return };
    let prompts = config.filtering.mode == FilterMode::PromptBased;
    let meta = MetaTool::ALL.into_iter().filter(|tool| prompts || *tool != MetaTool::AnalyzePrompt);
    let tokens: Vec<u32> = meta.map(MetaTool::min_tokens).collect();
    let (count, tokens) = (tokens.len(), tokens.iter().sum::<u32>());
    if (budget.max_tools as usize) <= count {
        let message = format!(
            "is {}, and the hub's own tools, by which the rest is found, are {count}; use at least {}",
            budget.max_tools,
            count + 1
        );
        report("filtering.toolBudget.maxTools".into(), message);
    }
    if budget.max_tokens <= tokens {
        let message = format!(
            "is {}, and the hub's own tools, by which the rest is found, take {tokens}; use at least {}",
            budget.max_tokens,
            tokens * 2
        );
        report("filtering.toolBudget.maxTokens".into(), message);
    }
}

fn prompts(filtering: &Filtering, report: Report<'_>) {
    let rules = &filtering.prompt_based;
    if rules.min_score.is_some_and(|score| !(0.0..=1.0).contains(&score)) {
        report(
            "filtering.promptBased.minScore".into(),
            "is not from 0 to 1; leave it out for the calibrated floor".into(),
        );
    }
    if rules.max_tools == 0 {
        report(
            "filtering.promptBased.maxTools".into(),
            "0 would add nothing; leave it out for the default".into(),
        );
    }
    for (position, question) in filtering.golden_questions.iter().enumerate() {
        let at = format!("filtering.goldenQuestions[{position}]");
        if question.query.trim().is_empty() {
            report(format!("{at}.query"), "is empty; write what a user asks".into());
        }
        if question.tools.is_empty() {
            report(
                format!("{at}.tools"),
                "is empty; write the names of the tools that answer it".into(),
            );
        }
    }
}

fn llm(filtering: &Filtering, report: Report<'_>) {
    let Some(llm) = &filtering.llm else {
        if filtering.selector == Backend::Llm {
            let message = "is Llm, and there is no filtering.llm; add provider, model and apiKey, or write Embedded";
            report("filtering.selector".into(), message.into());
        }
        return;
    };
    let Llm { provider, model, base_url, timeout_ms, max_concurrent, .. } = llm;
    if model.trim().is_empty() {
        report("filtering.llm.model".into(), "is empty; write the model's name".into());
    }
    match base_url.as_deref() {
        None if *provider == Provider::OpenAICompatible => {
            report(
                "filtering.llm.baseUrl".into(),
                "is missing; OpenAICompatible has no address of its own".into(),
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
        let message = "0 for timeoutMs or maxConcurrent would end every question at once; leave it out for the default";
        report("filtering.llm".into(), message.into());
    }
}
