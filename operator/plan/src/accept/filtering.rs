//! What only two parts of the spec together can say wrongly of what clients see. The schema says it first; beside an
//! older CRD a view of a misspelt server would show nothing, and nobody would know why.

use std::collections::BTreeSet;

use mcphub_crds::McpHubSpec;
use mcphub_crds::filtering::SelectorBackend;
use mcphub_crds::rollout::Metric;

use super::Problem;

pub(super) fn problems(spec: &McpHubSpec) -> Vec<Problem> {
    let mut problems = unknown_servers(spec);
    problems.extend(recall_of_nothing(spec));
    let Some(filtering) = &spec.filtering else { return problems };
    let backend = filtering.selector.as_ref().and_then(|selector| selector.backend);
    if backend == Some(SelectorBackend::Llm) && filtering.llm.is_none() {
        problems.push(Problem::invalid(
            "filtering.selector.backend is Llm, but there is no filtering.llm; add it, or write backend: Embedded"
                .into(),
        ));
    }
    let mut seen = BTreeSet::new();
    let twice = filtering.views.iter().filter(|view| !seen.insert(&view.name));
    problems.extend(twice.map(|view| {
        let name = &view.name;
        Problem::invalid(format!("filtering.views has \"{name}\" twice; give each view a name of its own"))
    }));
    problems
}

/// Such a rule would never be judged, and be trusted.
fn recall_of_nothing(spec: &McpHubSpec) -> Option<Problem> {
    let rules = spec.rollout.as_ref().map(|rollout| &rollout.rules[..]).unwrap_or_default();
    let at = rules.iter().position(|rule| rule.metric == Some(Metric::SelectionRecall))?;
    let golden = spec.filtering.as_ref().is_some_and(|filtering| !filtering.golden_questions.is_empty());
    (!golden).then(|| {
        Problem::invalid(format!(
            "rollout.rules[{at}].metric is SelectionRecall, but there are no filtering.goldenQuestions; add some, or \
             remove the rule"
        ))
    })
}

fn unknown_servers(spec: &McpHubSpec) -> Vec<Problem> {
    let mut lists: Vec<(String, &[String])> = Vec::new();
    if let Some(filtering) = &spec.filtering {
        if let Some(servers) = &filtering.servers {
            lists.push(("filtering.servers.allow".into(), &servers.allow));
            lists.push(("filtering.servers.deny".into(), &servers.deny));
        }
        let views = filtering.views.iter();
        lists.extend(views.map(|view| (format!("filtering.views \"{}\"", view.name), &view.servers[..])));
    }
    lists.extend(spec.access.iter().enumerate().map(|(at, rule)| (format!("access[{at}].servers"), &rule.servers[..])));
    let known: BTreeSet<&str> = spec.servers.iter().map(|server| server.name.as_str()).collect();
    let unknown = lists.iter().flat_map(|(field, names)| names.iter().map(move |name| (field, name)));
    let unknown = unknown.filter(|(_, name)| !known.contains(name.as_str()));
    unknown
        .map(|(field, name)| {
            let all = known.iter().copied().collect::<Vec<_>>().join(", ");
            Problem::invalid(format!("{field} names the server \"{name}\", which is not in servers; use one of {all}"))
        })
        .collect()
}
