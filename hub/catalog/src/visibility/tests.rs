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
#[case::none_shows_all(json!({"mode": "None"}), &ALL)]
#[case::by_prompt_denies_nothing(json!({"mode": "PromptBased"}), &ALL)]
#[case::a_static_list_shows_what_matches(json!({"mode": "Static", "staticTools": ["*_file"]}), &[ALL[0], ALL[2]])]
#[case::an_empty_static_list_shows_nothing(json!({"mode": "Static"}), &[])]
#[case::servers_by_name(json!({"mode": "ServerAllowlist", "servers": {"allow": ["mail"]}}), &[ALL[2], ALL[3]])]
#[case::no_allowed_servers_is_all(json!({"mode": "ServerAllowlist", "servers": {"deny": ["mail"]}}), &[ALL[0], ALL[1]])]
#[case::deny_wins(json!({"mode": "ServerAllowlist", "servers": {"allow": ["mail"], "deny": ["mail"]}}), &[])]
#[case::by_category(json!({"mode": "Category", "categories": {"expose": ["communication"]}}), &[ALL[1], ALL[3]])]
#[case::no_category_shows_nothing(json!({"mode": "Category"}), &[])]
#[case::custom_categories_come_first(
    json!({"mode": "Category", "categories": {"expose": ["mine"], "custom": {"*__read_file": "mine"}}}),
    &[ALL[0], ALL[2]]
)]
#[case::any_of_server_and_category(
    json!({"mode": "Hybrid", "servers": {"allow": ["files"]}, "categories": {"expose": ["communication"]}}),
    &[ALL[0], ALL[1], ALL[3]]
)]
#[case::any_with_one_half_empty_is_the_other(
    json!({"mode": "Hybrid", "categories": {"expose": ["communication"]}}),
    &[ALL[1], ALL[3]]
)]
#[case::any_of_nothing_is_nothing(json!({"mode": "Hybrid"}), &[])]
#[case::deny_wins_in_hybrid_too(
    json!({"mode": "Hybrid", "servers": {"allow": ["files"], "deny": ["mail"]}, "categories": {"expose": ["communication"]}}),
    &[ALL[0], ALL[1]]
)]
#[case::both_server_and_category(
    json!({"mode": "Hybrid", "hybrid": "All", "servers": {"allow": ["files"]}, "categories": {"expose": ["communication"]}}),
    &[ALL[1]]
)]
fn the_mode(#[case] rules: Value, #[case] expected: &[&str]) {
    let visible = visible_tools_with(&["files", "mail"], &["read_file", "send_mail"], |config| {
        filtering(config, rules)
    });
    assert_eq!(names(&visible), expected);
}

#[test]
fn a_view_narrows_what_the_mode_shows_and_one_that_is_not_there_is_none() {
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
    let seen = |view: &str| {
        let visible = visibility.visible_tools(Some(view), &Principal::anonymous());
        visible.map(|visible| {
            visible.tools.iter().map(|tool| tool.exposed.clone()).collect::<Vec<_>>()
        })
    };
    assert_eq!(seen("by-server").unwrap(), [ALL[0], ALL[1]]);
    assert_eq!(seen("by-category").unwrap(), [ALL[1]]);
    assert_eq!(seen("by-tool").unwrap(), [ALL[0]]);
    assert_eq!(seen("both").unwrap(), [""; 0]);
    assert_eq!(seen("all").unwrap(), [ALL[0], ALL[1]]);
    assert_eq!(seen("none"), None);
}

#[rstest]
#[case::every_tool(json!({"mode": "Category", "categories": {"expose": ["web"]}}), &ALL)]
#[case::but_what_a_mapping_decides(
    json!({"mode": "Category", "categories": {"expose": ["web"], "custom": {"files__*": "mine"}}}),
    &[ALL[2], ALL[3]]
)]
#[case::not_where_the_server_is_enough(
    json!({"mode": "Hybrid", "servers": {"allow": ["files"]}, "categories": {"expose": ["web"]}}),
    &[ALL[2], ALL[3]]
)]
#[case::nor_where_it_is_not(
    json!({"mode": "Hybrid", "hybrid": "All", "servers": {"allow": ["files"]}, "categories": {"expose": ["web"]}}),
    &[ALL[0], ALL[1]]
)]
#[case::nor_of_a_denied_one(
    json!({"mode": "Hybrid", "servers": {"deny": ["mail"]}, "categories": {"expose": ["web"]}}),
    &[ALL[0], ALL[1]]
)]
#[case::where_a_view_asks(json!({"views": [{"name": "v", "tools": ["*__read_*"], "categories": ["web"]}]}), &[ALL[0], ALL[2]])]
#[case::and_the_mode_lets_it(
    json!({"mode": "Static", "staticTools": ["files__*"], "views": [{"name": "v", "categories": ["web"]}]}),
    &[ALL[0], ALL[1]]
)]
#[case::nobody_asks(json!({"views": [{"name": "v", "servers": ["mail"]}]}), &[])]
fn what_a_language_model_would_decide(#[case] rules: Value, #[case] expected: &[&str]) {
    let visibility = visibility(&["files", "mail"], &["read_file", "send_mail"], |config| {
        filtering(config, rules)
    });
    let undecided: Vec<&str> =
        visibility.tools_for_llm().map(|tool| tool.exposed.as_str()).collect();
    assert_eq!(undecided, expected);
}

#[test]
fn what_a_language_model_said_decides_in_modes_and_views() {
    let rules = json!({"mode": "Category", "categories": {"expose": ["web"]}, "views": [{"name": "v", "categories": ["web"]}]});
    let before = visibility(&["files", "mail"], &["read_file", "send_mail"], |config| {
        filtering(config, rules)
    });
    assert_eq!(names(&before.whole(&Principal::anonymous())), [""; 0]);
    let mut given = LlmCategories::default();
    before.catalog.entries.iter().take(1).for_each(|tool| given.insert(tool, Some("web")));
    let inputs = RuntimeInputs { llm_categories: Arc::new(given), ..RuntimeInputs::default() };
    let after = Visibility::with(Arc::clone(&before.config), before.catalog.clone(), inputs);
    assert_eq!(names(&after.whole(&Principal::anonymous())), [ALL[0]]);
    assert_eq!(names(&after.visible_tools(Some("v"), &Principal::anonymous()).unwrap()), [ALL[0]]);
}

#[test]
fn a_tool_that_its_server_s_rules_deny_is_nowhere() {
    let visible = visible_tools_with(&["a", "b"], &["get", "put"], |config| {
        config.servers[0].tools.deny = vec!["p*".into()]
    });
    assert_eq!(names(&visible), ["a__get", "b__get", "b__put"]);
    assert_eq!(visible.find("a__put"), None);
    assert_eq!(visible.find("put"), Some(2), "the name is unique again");
}

// A bare name that resolves differently when a denied tool of that name exists tells the caller of it.
#[test]
fn a_bare_name_resolves_only_while_it_is_unique_in_this_sight() {
    let both = visible_tools(&["a", "b"], &["get", "put"]);
    assert_eq!((both.find("get"), both.find("b__put"), both.find("c__put")), (None, Some(3), None));
    let one = visible_tools_with(&["a", "b"], &["get", "put"], |config| {
        filtering(config, json!({"mode": "ServerAllowlist", "servers": {"deny": ["a"]}}));
    });
    assert_eq!((one.find("get"), one.find("a__get")), (Some(0), None));
    assert_eq!(one.place(0), Some(2));
}

#[test]
fn what_can_have_no_effect_on_the_catalog_is_said() {
    let visibility = visibility(&["files"], &["read_file"], |config| {
        filtering(
            config,
            json!({"mode": "Category", "staticTools": ["*__read_*", "gone__*"],
                "categories": {"expose": ["filesystem", "docker"], "custom": {"x__*": "mine"}},
                "views": [{"name": "v", "tools": ["nothing"], "categories": ["web"]}],
                "goldenQuestions": [{"query": "q", "tools": ["files__read_file", "files__gone"]}]}),
        );
    });
    let advice = "matches no tool; patterns are on whole names such as server__tool";
    assert_eq!(
        visibility.warnings(),
        [
            format!("filtering.staticTools: \"gone__*\" {advice}"),
            format!("filtering.views[0].tools: \"nothing\" {advice}"),
            format!("filtering.categories.custom: \"x__*\" {advice}"),
            "filtering.goldenQuestions[0].tools: there is no tool \"files__gone\"".to_owned(),
            "filtering.categories.expose: no tool is in category \"docker\"".to_owned(),
            "filtering.views[0].categories: no tool is in category \"web\"".to_owned(),
        ]
    );
}

#[test]
fn servers_are_those_with_a_tool_in_sight() {
    let visible = visible_tools_with(&["a", "b", "c"], &["get", "put"], |config| {
        filtering(config, json!({"mode": "Static", "staticTools": ["a__*", "c__put"]}));
    });
    assert_eq!(visible.servers(), [("a", 2), ("c", 1)]);
}

// What servers list is not ours to choose: none of it may stop the hub or lose another server's tools.
#[test]
fn odd_definitions_are_kept_as_they_are_and_hide_nothing() {
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
    let list = crate::catalog::Page::parse::<ToolDetails>(&page).unwrap().list;
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
    assert_eq!(bare, ["__", "bare", "cyclic", "deep", "huge"]);
    assert!(visibility.unfiltered_tokens() > 100_000);
    assert_eq!(
        visibility.visible_tools(Some("v"), &Principal::anonymous()).unwrap().tools.len(),
        5
    );
    let refused: Vec<bool> =
        visible.tools.iter().map(|tool| !tool.violations().is_empty()).collect();
    assert_eq!(
        refused.iter().filter(|refused| **refused).count(),
        4,
        "all but the huge one have no type at the root"
    );
}

#[test]
fn fifty_thousand_tools_leave_a_list_within_the_budget_and_none_is_lost() {
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
fn fifty_thousand_tools_leave_a_grouped_list_within_the_budget_and_none_is_lost() {
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
