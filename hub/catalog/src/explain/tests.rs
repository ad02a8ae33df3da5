use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::fixtures::{config, list};

/// Explains a tool of the servers files and mail, which both have `read_file` and `send_mail`.
fn explained(
    config_json: &Value,
    tool: &str,
    view: Option<&str>,
    chosen: Option<&[String]>,
) -> Explanation {
    let mut config = config(&["files", "mail"]);
    config.filtering = serde_json::from_value(config_json["filtering"].clone()).unwrap_or_default();
    config.access = serde_json::from_value(config_json["access"].clone()).unwrap_or_default();
    config.flags = serde_json::from_value(config_json["flags"].clone()).unwrap_or_default();
    config.servers[1].tools =
        serde_json::from_value(config_json["mail"].clone()).unwrap_or_default();
    let lists = [Some(list(&["read_file", "send_mail"])), Some(list(&["read_file", "send_mail"]))];
    let catalog = crate::catalog::ToolCatalog::new(&config, &lists);
    let visibility = Visibility::new(Arc::new(config), catalog);
    explain(
        &visibility,
        &lists,
        Question { tool, view, principal: &Principal::anonymous(), chosen },
    )
}

#[rstest]
#[case::shown(
    json!({}), "files__read_file", None,
    "files__read_file: listed\n  + servers.files: lists it as read_file; class destructive\n  + \
     filtering.mode None: shows everything\n  + access: there are no rules, so everybody may see \
     everything\n  + list: everything fits"
)]
#[case::by_category(
    json!({"filtering": {"mode": "Category", "categories": {"expose": ["communication"]}}}),
    "files__read_file", None,
    "files__read_file: denied\n  + servers.files: lists it as read_file; class destructive\n  - \
     filtering.mode Category: category filesystem (built in) is not in filtering.categories.expose"
)]
#[case::by_view(
    json!({"filtering": {"views": [{"name": "v", "servers": ["mail"]}]}}), "files__send_mail",
    Some("v"),
    "files__send_mail: denied\n  + servers.files: lists it as send_mail; class destructive\n  + \
     filtering.mode None: shows everything\n  - filtering.views.v: does not have it; its servers, \
     categories and tools must all match"
)]
#[case::by_access(
    json!({"access": [{"when": "caller.sub == 'ann'"}]}), "mail__read_file", None,
    "mail__read_file: denied\n  + servers.mail: lists it as read_file; class destructive\n  + \
     filtering.mode None: shows everything\n  - access: none of 1 rules allows it for this caller"
)]
#[case::by_the_server_s_rules(
    json!({"mail": {"deny": ["send_*"]}}), "mail__send_mail", None,
    "mail__send_mail: denied\n  - servers.mail.tools.deny: \"send_*\" matches send_mail"
)]
#[case::unknown(
    json!({}), "files__read_files", None,
    "files__read_files: unknown\n  - servers: no server lists a tool of this name; similar names \
     are files__read_file, files__send_mail, mail__read_file"
)]
fn the_explanation_ends_with_the_rule_that_decided(
    #[case] config: Value,
    #[case] tool: &str,
    #[case] view: Option<&str>,
    #[case] expected: &str,
) {
    assert_eq!(explained(&config, tool, view, None).to_string(), expected);
}

#[test]
fn a_category_from_a_language_model_is_explained_as_such() {
    let mut config = config(&["files"]);
    config.filtering =
        serde_json::from_value(json!({"mode": "Category", "categories": {"expose": ["cloud"]}}))
            .unwrap();
    let lists = [Some(list(&["read_file"]))];
    let catalog = crate::catalog::ToolCatalog::new(&config, &lists);
    let mut answers = crate::category::LlmCategories::default();
    answers.insert(&catalog.entries[0], Some("cloud"));
    let shape = crate::visibility::RuntimeInputs {
        llm_categories: Arc::new(answers),
        ..crate::visibility::RuntimeInputs::default()
    };
    let visibility = Visibility::with(Arc::new(config), catalog, shape);
    let question = Question {
        tool: "files__read_file",
        view: None,
        principal: &Principal::anonymous(),
        chosen: None,
    };
    let text = explain(&visibility, &lists, question).to_string();
    assert!(
        text.contains("category cloud (from the language model) is in filtering.categories.expose"),
        "{text}"
    );
}

#[test]
fn a_tool_that_the_budget_unlists_is_explained_with_the_budget() {
    let budget = json!({"filtering": {"toolBudget": {"maxTools": 3, "maxTokens": 5000}}});
    let explanation = explained(&budget, "files__read_file", None, None);
    assert_eq!(explanation.status, ListStatus::Unlisted);
    let last = &explanation.rules.last().unwrap().reason;
    assert!(
        last.contains("the list has 4 tools of at most 3")
            && last.ends_with("hub__find_tools finds it, and it can be called"),
        "{last}"
    );
}

#[test]
fn a_tool_that_is_an_action_is_explained_with_its_dispatching_tool() {
    let rules = json!({"flags": {"hierarchicalTools": true},
        "filtering": {"toolBudget": {"maxTools": 2, "maxTokens": 5000}}});
    let explanation = explained(&rules, "files__read_file", None, None);
    assert_eq!(
        explanation.rules.last().unwrap().reason,
        "everything fits; it is an action of files__do"
    );
}

#[test]
fn a_tool_that_a_prompt_selected_is_explained_with_its_rank() {
    let rules = json!({"filtering": {"mode": "PromptBased"}});
    let chosen = ["mail__send_mail".to_owned()];
    assert_eq!(explained(&rules, "mail__send_mail", None, None).status, ListStatus::Unlisted);
    let with = explained(&rules, "mail__send_mail", None, Some(&chosen));
    assert_eq!(
        (with.status, with.rules[3].reason.as_str()),
        (ListStatus::Listed, "selected it as number 1 of 1")
    );
    assert_eq!(
        explained(&rules, "files__read_file", None, Some(&chosen)).status,
        ListStatus::Unlisted
    );
}
