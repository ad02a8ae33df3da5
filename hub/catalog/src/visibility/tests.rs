use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::catalog::{ServerList, ToolDetails};
use crate::fixtures::{config, filtering, visibility, visible_tools, visible_tools_with};
use crate::grouping::GroupCache;
use crate::tool_list::{ListScope, ToolList};

fn names(visible: &VisibleTools) -> Vec<&str> {
    visible.tools.iter().map(|tool| tool.exposed.as_str()).collect()
}

const ALL: [&str; 4] =
    ["files__read_file", "files__send_mail", "mail__read_file", "mail__send_mail"];

#[rstest]
#[case::mode_none_shows_all(json!({"mode": "None"}), &ALL)]
#[case::prompt_based_denies_nothing(json!({"mode": "PromptBased"}), &ALL)]
#[case::static_shows_the_tools_that_match(json!({"mode": "Static", "staticTools": ["*_file"]}),
    &[ALL[0], ALL[2]])]
#[case::static_without_patterns_shows_nothing(json!({"mode": "Static"}), &[])]
#[case::server_allowlist_by_name(json!({"mode": "ServerAllowlist", "servers": {"allow": ["mail"]}}),
    &[ALL[2], ALL[3]])]
#[case::an_empty_allowlist_allows_all(json!({"mode": "ServerAllowlist",
    "servers": {"deny": ["mail"]}}), &[ALL[0], ALL[1]])]
#[case::deny_wins(json!({"mode": "ServerAllowlist",
    "servers": {"allow": ["mail"], "deny": ["mail"]}}), &[])]
#[case::by_category(json!({"mode": "Category", "categories": {"expose": ["communication"]}}),
    &[ALL[1], ALL[3]])]
#[case::category_without_names_shows_nothing(json!({"mode": "Category"}), &[])]
#[case::custom_categories_come_first(
    json!({"mode": "Category",
        "categories": {"expose": ["mine"], "custom": {"*__read_file": "mine"}}}),
    &[ALL[0], ALL[2]]
)]
#[case::hybrid_any(
    json!({"mode": "Hybrid", "servers": {"allow": ["files"]},
        "categories": {"expose": ["communication"]}}),
    &[ALL[0], ALL[1], ALL[3]]
)]
#[case::hybrid_any_with_one_empty_half(
    json!({"mode": "Hybrid", "categories": {"expose": ["communication"]}}),
    &[ALL[1], ALL[3]]
)]
#[case::hybrid_any_with_two_empty_halves_shows_nothing(json!({"mode": "Hybrid"}), &[])]
#[case::deny_wins_in_hybrid_too(
    json!({"mode": "Hybrid", "servers": {"allow": ["files"], "deny": ["mail"]},
        "categories": {"expose": ["communication"]}}),
    &[ALL[0], ALL[1]]
)]
#[case::hybrid_all(
    json!({"mode": "Hybrid", "hybrid": "All", "servers": {"allow": ["files"]},
        "categories": {"expose": ["communication"]}}),
    &[ALL[1]]
)]
fn the_filter_mode_selects_tools(#[case] rules: Value, #[case] expected: &[&str]) {
    let visible = visible_tools_with(&["files", "mail"], &["read_file", "send_mail"], |config| {
        filtering(config, rules);
    });
    assert_eq!(names(&visible), expected);
}

#[test]
fn a_view_narrows_the_filter_mode_and_an_unknown_view_is_none() {
    let visibility = visibility(&["files", "mail"], &["read_file", "send_mail"], |config| {
        filtering(
            config,
            json!({"mode": "ServerAllowlist", "servers": {"deny": ["mail"]}, "views": [
                {"name": "by-server", "servers": ["files", "mail"]},
                {"name": "by-category", "categories": ["communication"]},
                {"name": "by-tool", "tools": ["*__read_*", "mail__*"]},
                {"name": "both", "categories": ["communication"], "tools": ["*__read_*"]},
                {"name": "all"}]}),
        );
    });
    let names_in = |view: &str| {
        let visible = visibility.visible_tools(Some(view), &Principal::anonymous());
        visible.map(|visible| {
            visible.tools.iter().map(|tool| tool.exposed.clone()).collect::<Vec<_>>()
        })
    };
    assert_eq!(names_in("by-server").unwrap(), [ALL[0], ALL[1]]);
    assert_eq!(names_in("by-category").unwrap(), [ALL[1]]);
    assert_eq!(names_in("by-tool").unwrap(), [ALL[0]]);
    assert_eq!(names_in("both").unwrap(), [""; 0]);
    assert_eq!(names_in("all").unwrap(), [ALL[0], ALL[1]]);
    assert_eq!(names_in("none"), None);
}

#[rstest]
#[case::every_tool(json!({"mode": "Category", "categories": {"expose": ["web"]}}), &ALL)]
#[case::unless_a_mapping_decides(
    json!({"mode": "Category", "categories": {"expose": ["web"], "custom": {"files__*": "mine"}}}),
    &[ALL[2], ALL[3]]
)]
#[case::unless_the_server_is_enough(
    json!({"mode": "Hybrid", "servers": {"allow": ["files"]}, "categories": {"expose": ["web"]}}),
    &[ALL[2], ALL[3]]
)]
#[case::unless_the_server_is_excluded(
    json!({"mode": "Hybrid", "hybrid": "All", "servers": {"allow": ["files"]},
        "categories": {"expose": ["web"]}}),
    &[ALL[0], ALL[1]]
)]
#[case::unless_the_server_is_denied(
    json!({"mode": "Hybrid", "servers": {"deny": ["mail"]}, "categories": {"expose": ["web"]}}),
    &[ALL[0], ALL[1]]
)]
#[case::if_a_view_uses_categories(json!({"views": [{"name": "v", "tools": ["*__read_*"],
    "categories": ["web"]}]}), &[ALL[0], ALL[2]])]
#[case::if_a_view_uses_categories_and_the_mode_shows_it(
    json!({"mode": "Static", "staticTools": ["files__*"],
        "views": [{"name": "v", "categories": ["web"]}]}),
    &[ALL[0], ALL[1]]
)]
#[case::never_if_nothing_uses_categories(json!({"views": [{"name": "v", "servers": ["mail"]}]}),
    &[])]
fn a_language_model_is_asked_only_about_tools_whose_category_decides(
    #[case] rules: Value,
    #[case] expected: &[&str],
) {
    let visibility = visibility(&["files", "mail"], &["read_file", "send_mail"], |config| {
        filtering(config, rules);
    });
    let undecided: Vec<&str> =
        visibility.tools_for_llm().map(|tool| tool.exposed.as_str()).collect();
    assert_eq!(undecided, expected);
}

#[test]
fn the_answers_of_a_language_model_apply_to_modes_and_views() {
    let rules = json!({"mode": "Category", "categories": {"expose": ["web"]},
        "views": [{"name": "v", "categories": ["web"]}]});
    let before = visibility(&["files", "mail"], &["read_file", "send_mail"], |config| {
        filtering(config, rules);
    });
    assert_eq!(names(&before.whole(&Principal::anonymous())), [""; 0]);
    let mut answers = LlmCategories::default();
    before.catalog.entries.iter().take(1).for_each(|tool| answers.insert(tool, Some("web")));
    let inputs = RuntimeInputs { llm_categories: Arc::new(answers), ..RuntimeInputs::default() };
    let after = Visibility::with(Arc::clone(&before.config), before.catalog.clone(), inputs);
    assert_eq!(names(&after.whole(&Principal::anonymous())), [ALL[0]]);
    assert_eq!(names(&after.visible_tools(Some("v"), &Principal::anonymous()).unwrap()), [ALL[0]]);
}

#[test]
fn a_tool_that_the_rules_of_its_server_deny_does_not_exist() {
    let visible = visible_tools_with(&["a", "b"], &["get", "put"], |config| {
        config.servers[0].tools.deny = vec!["p*".into()];
    });
    assert_eq!(names(&visible), ["a__get", "b__get", "b__put"]);
    assert_eq!(visible.find("a__put"), None);
    assert_eq!(visible.find("put"), Some(2), "the name is unique again");
}

// If a denied tool changed how a bare name resolves, the caller could notice that it exists.
#[test]
fn a_bare_name_resolves_if_only_one_visible_tool_has_it() {
    let both = visible_tools(&["a", "b"], &["get", "put"]);
    assert_eq!((both.find("get"), both.find("b__put"), both.find("c__put")), (None, Some(3), None));
    let one = visible_tools_with(&["a", "b"], &["get", "put"], |config| {
        filtering(config, json!({"mode": "ServerAllowlist", "servers": {"deny": ["a"]}}));
    });
    assert_eq!((one.find("get"), one.find("a__get")), (Some(0), None));
    assert_eq!(one.place(0), Some(2));
}

#[test]
fn everything_in_the_config_without_effect_is_reported() {
    let visibility = visibility(&["files"], &["read_file"], |config| {
        filtering(
            config,
            json!({"mode": "Category", "staticTools": ["*__read_*", "gone__*"],
                "categories": {"expose": ["filesystem", "docker"], "custom": {"x__*": "mine"}},
                "views": [{"name": "v", "tools": ["nothing"], "categories": ["web"]}],
                "goldenQuestions": [{"query": "q", "tools": ["files__read_file", "files__gone"]}]}),
        );
    });
    let advice = "matches no tool; patterns match whole names such as server__tool";
    assert_eq!(
        visibility.warnings(),
        [
            format!("filtering.static.tools: \"gone__*\" {advice}"),
            format!("filtering.views[0].tools: \"nothing\" {advice}"),
            format!("filtering.categories.custom: \"x__*\" {advice}"),
            "filtering.goldenQuestions[0].tools: there is no tool \"files__gone\"".to_owned(),
            "filtering.categories.expose: no tool is in category \"docker\"".to_owned(),
            "filtering.views[0].categories: no tool is in category \"web\"".to_owned(),
        ]
    );
}

// A server's own name where a shown name belongs hides everything, and so does the reverse.
#[test]
fn a_name_of_the_wrong_kind_is_reported_with_the_one_that_was_meant() {
    let visibility = visibility(&["a"], &["ask_question", "read_wiki"], |config| {
        filtering(
            config,
            json!({"mode": "Static", "staticTools": ["ask_question"],
            "views": [{"name": "v", "tools": ["a__read_wikis"]}]}),
        );
        config.servers[0].tools = serde_json::from_value(json!({
            "allow": ["*", "a__ask_*"], "deny": ["drop_*"], "rename": {"ask_questions": "ask"},
            "describe": {"a__read_wiki": "Reads."}}))
        .unwrap();
    });
    assert_eq!(
        visibility.warnings(),
        [
            "filtering.static.tools: \"ask_question\" matches no tool; did you mean \
             \"a__ask_question\"?",
            "filtering.views[0].tools: \"a__read_wikis\" matches no tool; did you mean \
             \"a__read_wiki\"?",
        ]
    );
    let lists = [Some(crate::fixtures::list(&["ask_question", "read_wiki"]))];
    assert_eq!(
        visibility.server_warnings(&lists),
        [
            "servers[a].tools.allow: \"a__ask_*\" matches no tool of the server; did you mean \
             \"ask_*\"?",
            "servers[a].tools.deny: \"drop_*\" matches no tool of the server; names here are the \
             server's own, without a prefix",
            "servers[a].tools.rename: \"ask_questions\" matches no tool of the server; did you \
             mean \"ask_question\"?",
            "servers[a].tools.describe: \"a__read_wiki\" matches no tool of the server; did you \
             mean \"read_wiki\"?",
        ]
    );
    assert_eq!(visibility.server_warnings(&[None]), [""; 0], "it has not listed yet");
}

#[test]
fn servers_are_those_with_a_visible_tool() {
    let visible = visible_tools_with(&["a", "b", "c"], &["get", "put"], |config| {
        filtering(config, json!({"mode": "Static", "staticTools": ["a__*", "c__put"]}));
    });
    assert_eq!(visible.servers(), [("a", 2), ("c", 1)]);
}

// No definition of a server may stop the hub or hide the tools of another server.
#[test]
fn odd_definitions_are_kept_and_hide_nothing() {
    let nested = format!(
        r#"{{"name":"deep","inputSchema":{}{}}}"#,
        r#"{"properties":{"a":"#.repeat(100),
        "{}".to_owned() + &"}}".repeat(100)
    );
    let huge = format!(
        r#"{{"name":"huge","description":"{}","inputSchema":{{"type":"object"}}}}"#,
        "word ".repeat(100_000)
    );
    let cyclic = r##"{"name":"cyclic","inputSchema":{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/a"}}}}"##;
    let texts = [
        nested.as_str(),
        huge.as_str(),
        cyclic,
        r#"{"name":"bare"}"#,
        r#"{"name":"读取","description":null,"annotations":[]}"#,
    ];
    let page = format!(r#"{{"tools":[{}]}}"#, texts.join(","));
    let list = crate::catalog::Page::parse::<ToolDetails>(&page, 9).unwrap().list;
    let mut config = config(&["s"]);
    filtering(
        &mut config,
        json!({"mode": "PromptBased", "views": [{"name": "v", "categories": ["other"]}]}),
    );
    let catalog = ToolCatalog::new(&config, &[Some(Arc::new(ServerList::from_pages(vec![list])))]);
    let visibility = Visibility::new(Arc::new(config), catalog);
    let visible = visibility.whole(&Principal::anonymous());
    let mut bare: Vec<&str> = visible.tools.iter().map(|tool| tool.bare.as_str()).collect();
    bare.sort_unstable();
    assert_eq!(bare, ["___a7f276", "bare", "cyclic", "deep", "huge"]);
    assert!(visibility.unfiltered_tokens() > 100_000);
    assert_eq!(
        visibility.visible_tools(Some("v"), &Principal::anonymous()).unwrap().tools.len(),
        5
    );
    let refused: Vec<bool> =
        visible.tools.iter().map(|tool| !tool.violations().is_empty()).collect();
    assert_eq!(
        refused.iter().filter(|refused| **refused).count(),
        1,
        "all got a type at the root, one refers to itself"
    );
}

#[test]
fn of_50_000_tools_a_list_holds_what_fits_into_the_budget_and_none_is_lost() {
    let tools: Vec<String> = (0..500).map(|n| format!("tool_{n}")).collect();
    let tools: Vec<&str> = tools.iter().map(String::as_str).collect();
    let servers: Vec<String> = (0..100).map(|n| format!("s{n}")).collect();
    let servers: Vec<&str> = servers.iter().map(String::as_str).collect();
    let visible = visible_tools_with(&servers, &tools, |config| {
        filtering(
            config,
            json!({"staticTools": ["s7__*"], "toolBudget": {"maxTools": 100, "maxTokens": 8000}}),
        );
    });
    let tool_list = ToolList::new(&visible, ListScope::Stateless, &GroupCache::default());
    assert_eq!(tool_list.tools.len() + tool_list.unlisted(), 50_000);
    assert!(tool_list.tools.len() > 10 && tool_list.tokens() <= 8000);
    assert!(tool_list.tools.iter().all(|tool| &*tool.server_name == "s7"));
    assert_eq!(visible.find("s99__tool_499"), Some(49_999));
}

#[test]
fn of_50_000_tools_a_grouped_list_holds_what_fits_into_the_budget_and_none_is_lost() {
    let tools: Vec<String> = (0..500).map(|n| format!("tool_{n}")).collect();
    let tools: Vec<&str> = tools.iter().map(String::as_str).collect();
    let servers: Vec<String> = (0..100).map(|n| format!("s{n}")).collect();
    let servers: Vec<&str> = servers.iter().map(String::as_str).collect();
    let visible = visible_tools_with(&servers, &tools, |config| {
        config.flags.insert(HIERARCHICAL_TOOLS.to_owned(), true);
        filtering(
            config,
            json!({"staticTools": ["s7__*"], "toolBudget": {"maxTools": 100, "maxTokens": 8000}}),
        );
    });
    let tool_list = ToolList::new(&visible, ListScope::Stateless, &GroupCache::default());
    assert_eq!(tool_list.listed() + tool_list.unlisted(), 50_000);
    assert!(tool_list.listed() > 10 && tool_list.tokens() <= 8000 && tool_list.search);
    assert!(
        tool_list.dispatchers.iter().all(|dispatcher| dispatcher.group.name.starts_with("s7__do"))
    );
}
