use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::fixtures::{filtering, visible_tools, visible_tools_with};

fn visible_with(rules: Value) -> VisibleTools {
    visible_tools_with(&["a", "b"], &["get", "put"], |config| filtering(config, rules))
}

fn build_list(visible: &VisibleTools, scope: ListScope<'_>) -> ToolList {
    ToolList::new(visible, scope, &GroupCache::default())
}

fn listed(tool_list: &ToolList) -> Vec<String> {
    let page: Vec<Value> = serde_json::from_str(tool_list.page(None).unwrap().0).unwrap();
    page.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

fn stateless(visible: &VisibleTools) -> Vec<String> {
    listed(&build_list(visible, ListScope::Stateless))
}

fn added(prompted: bool, names: &[&str]) -> Additions {
    let mut additions = Additions::default();
    if prompted {
        additions.add_for_prompt(names.iter().copied());
    } else {
        additions.add(names.iter().copied());
    }
    additions
}

const SEARCH: [&str; 4] =
    ["hub__find_tools", "hub__call_read", "hub__call_write", "hub__call_destructive"];

fn with_search(tools: &[&str]) -> Vec<String> {
    SEARCH.iter().chain(tools).map(|&name| name.to_owned()).collect()
}

fn with_all_meta(tools: &[&str]) -> Vec<String> {
    std::iter::once("hub__analyze_prompt".to_owned()).chain(with_search(tools)).collect()
}

#[test]
fn if_everything_fits_everything_is_listed_and_there_is_no_search() {
    let visible = visible_with(json!({"toolBudget": {"maxTools": 4, "maxTokens": 100_000}}));
    let tool_list = build_list(&visible, ListScope::Stateless);
    assert_eq!(listed(&tool_list), ["a__get", "a__put", "b__get", "b__put"]);
    assert_eq!((tool_list.search, tool_list.unlisted()), (false, 0));
    assert!(MetaTool::ALL.iter().all(|meta| !tool_list.has(*meta)));
}

// Without search, nobody could find the tools that do not fit.
#[test]
fn over_the_budget_pinned_tools_and_search_are_listed_and_the_rest_is_unlisted() {
    let visible = visible_with(
        json!({"staticTools": ["*__put"], "toolBudget": {"maxTools": 3, "maxTokens": 100_000}}),
    );
    let tool_list = build_list(&visible, ListScope::Stateless);
    assert_eq!(listed(&tool_list), SEARCH, "meta-tools are listed with any budget");
    assert_eq!((tool_list.search, tool_list.unlisted()), (true, 4));

    let visible = visible_tools_with(&["a", "b", "c"], &["get", "put"], |config| {
        filtering(
            config,
            json!({"staticTools": ["*__put"], "toolBudget": {"maxTools": 5, "maxTokens": 100_000}}),
        );
    });
    assert_eq!(stateless(&visible), with_search(&["a__put"]), "meta-tools count too");
}

#[test]
fn a_budget_in_tokens_is_kept_like_one_in_tools() {
    let meta: u32 = SEARCH
        .iter()
        .map(|name| MetaTool::from_name(name).unwrap().definition(&visible_with(json!({}))).tokens)
        .sum();
    let one = visible_with(json!({})).tools[0].tokens();
    let rules =
        |max: u32| json!({"staticTools": ["*"], "toolBudget": {"maxTools": 99, "maxTokens": max}});
    assert_eq!(stateless(&visible_with(rules(4 * one))), ["a__get", "a__put", "b__get", "b__put"]);
    assert_eq!(stateless(&visible_with(rules(4 * one - 1))), SEARCH);
    // With many tools a budget can exceed the meta-tools and still be too small for all.
    let many = visible_tools_with(
        &["a"],
        &(0..200)
            .map(|n| format!("t{n:03}"))
            .collect::<Vec<_>>()
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
        |config| {
            filtering(config, rules(meta + 100));
        },
    );
    let tool_list = build_list(&many, ListScope::Stateless);
    assert!(
        tool_list.tools.len() > 1 && tool_list.tokens() <= meta + 100,
        "{}",
        tool_list.tokens()
    );
}

/// The same servers and tools, grouped by server.
fn grouped(rules: Value) -> VisibleTools {
    visible_tools_with(&["a", "b"], &["get", "put"], |config| {
        filtering(config, rules);
        config.flags.insert("hierarchicalTools".into(), true);
    })
}

// If tools were counted before they are grouped, a budget of ten would hide forty tools in two
// entries.
#[test]
fn if_the_grouped_list_fits_into_the_budget_everything_is_listed() {
    let visible = grouped(json!({"toolBudget": {"maxTools": 2, "maxTokens": 100_000}}));
    let tool_list = build_list(&visible, ListScope::Stateless);
    assert_eq!(listed(&tool_list), ["a__do", "b__do"]);
    assert_eq!(
        (tool_list.listed(), tool_list.unlisted(), tool_list.entries(), tool_list.search),
        (4, 0, 2, false)
    );
    assert!((0..4).all(|position| tool_list.lists(position)));
    let tokens = tool_list.tokens();
    let list =
        |max: u32| stateless(&grouped(json!({"toolBudget": {"maxTools": 9, "maxTokens": max}})));
    assert_eq!(list(tokens), ["a__do", "b__do"]);
    assert_eq!(list(tokens - 1), SEARCH);
}

#[test]
fn if_the_grouped_list_does_not_fit_pinned_tools_and_search_are_listed() {
    let rules = |max: u32| {
        json!({"staticTools": ["a__*", "b__put"],
        "toolBudget": {"maxTools": max, "maxTokens": 100_000}})
    };
    let tool_list = build_list(&grouped(rules(1)), ListScope::Stateless);
    assert_eq!((listed(&tool_list), tool_list.unlisted()), (with_search(&[]), 4));
    let (with_a, with_both) = (with_search(&["a__do"]), with_search(&["a__do", "b__put"]));
    assert_eq!(list_of_seven_servers(4), (with_search(&[]), 0), "meta-tools count too");
    assert_eq!(list_of_seven_servers(5), (with_a, 2));
    assert_eq!(list_of_seven_servers(6), (with_both, 3));
}

/// The list of seven servers and its number of tools. None of the tested budgets holds seven
/// entries.
fn list_of_seven_servers(max: u32) -> (Vec<String>, usize) {
    let visible =
        visible_tools_with(&["a", "b", "c", "d", "e", "f", "g"], &["get", "put"], |config| {
            let budget = json!({"maxTools": max, "maxTokens": 100_000});
            filtering(config, json!({"staticTools": ["a__*", "b__put"], "toolBudget": budget}));
            config.flags.insert("hierarchicalTools".into(), true);
        });
    let tool_list = build_list(&visible, ListScope::Stateless);
    (listed(&tool_list), tool_list.listed())
}

// Otherwise one huge pinned tool would hide all tools that are pinned after it.
#[test]
fn a_tool_that_does_not_fit_into_a_grouped_list_leaves_room_for_others() {
    let visible = visible_tools_with(&["a", "b", "c"], &["get", "put"], |config| {
        config.servers[1].tools.describe.insert("get".into(), "word ".repeat(9_000));
        let budget = json!({"maxTools": 20, "maxTokens": 8_000});
        filtering(config, json!({"staticTools": ["*"], "toolBudget": budget}));
        config.flags.insert("hierarchicalTools".into(), true);
    });
    // As an action the tool has only the start of its description, so it fits. By itself it does
    // not.
    assert_eq!(stateless(&visible), ["a__do", "b__do", "c__do"]);
    let visible = visible_tools_with(&["a", "b", "c"], &["get"], |config| {
        config.servers[1].tools.describe.insert("get".into(), "word ".repeat(9_000));
        let budget = json!({"maxTools": 20, "maxTokens": 8_000});
        filtering(config, json!({"staticTools": ["*"], "toolBudget": budget}));
        config.flags.insert("hierarchicalTools".into(), true);
    });
    assert_eq!(stateless(&visible), with_search(&["a__get", "c__get"]));
}

#[test]
fn additions_of_a_session_are_grouped_and_the_least_recently_used_is_dropped_first() {
    let visible = grouped(
        json!({"mode": "PromptBased", "toolBudget": {"maxTools": 6, "maxTokens": 100_000}}),
    );
    let list = |additions: &Additions| listed(&build_list(&visible, ListScope::Session(additions)));
    let mut additions = added(true, &["a__get", "a__put"]);
    assert_eq!(list(&additions), with_all_meta(&["a__do"]));
    additions.add(["b__put"].into_iter());
    assert_eq!(
        list(&additions),
        with_all_meta(&["b__put"]),
        "there is room for one entry, and b__put was used last"
    );
    additions.mark_used("a__get");
    additions.mark_used("a__put");
    assert_eq!(list(&additions), with_all_meta(&["a__do"]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_grouped_list_keeps_its_budget_and_loses_no_tool(
        max_tools in 0_u32..16, max_tokens in 0_u32..4_000, pinned in "(\\*|[abc]__\\*|\\*__t1?)",
        servers in 1_usize..4, tools in 1_usize..30,
    ) {
        let names: Vec<String> = (0..tools).map(|n| format!("t{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let visible = visible_tools_with(&["a", "b", "c"][..servers], &names, |config| {
            let budget = json!({"maxTools": max_tools, "maxTokens": max_tokens});
            filtering(config, json!({"staticTools": [pinned], "toolBudget": budget}));
            config.flags.insert("hierarchicalTools".into(), true);
        });
        let tool_list = build_list(&visible, ListScope::Stateless);
        let only_meta_tools = tool_list.tools.is_empty() && tool_list.dispatchers.is_empty();
        let is_in_budget =
            tool_list.entries() <= max_tools as usize && tool_list.tokens() <= max_tokens;
        prop_assert!(only_meta_tools || is_in_budget);
        prop_assert_eq!(tool_list.search, tool_list.unlisted() > 0);
        let groups = tool_list.dispatchers.iter().map(|dispatcher| &dispatcher.group);
        let grouped: usize = groups.map(|group| group.tools.len()).sum();
        prop_assert_eq!((tool_list.listed(), tool_list.tools.len() + grouped),
            (grouped + tool_list.tools.len(), servers * tools - tool_list.unlisted()));
    }
}

#[test]
fn before_the_first_prompt_a_list_has_the_default_exposure() {
    let rules = |tool_list: &str| {
        json!({"mode": "PromptBased", "staticTools": ["b__*"],
        "promptBased": {"defaultExposure": tool_list}})
    };
    let lists = |tool_list: &str| {
        let visible = visible_with(rules(tool_list));
        let session = build_list(&visible, ListScope::Session(&Additions::default()));
        (listed(&session), stateless(&visible))
    };
    assert_eq!(lists("Zero"), (vec![], vec![]));
    assert_eq!(lists("MetaOnly"), (with_all_meta(&[]), with_search(&[])));
    let pinned = ["b__get", "b__put"];
    assert_eq!(lists("Minimal"), (with_all_meta(&pinned), with_search(&pinned)));
    let all = ["a__get", "a__put", "b__get", "b__put"];
    assert_eq!(lists("All"), (with_all_meta(&all), with_search(&all)));
    let zero = build_list(&visible_with(rules("Zero")), ListScope::Stateless);
    assert!(
        zero.search && !zero.has(MetaTool::AnalyzePrompt),
        "an unlisted meta-tool can be called"
    );
}

#[test]
fn without_meta_tools_there_is_no_search() {
    let visible = visible_with(json!({"mode": "PromptBased", "promptBased": {"metaTools": false}}));
    let tool_list = build_list(&visible, ListScope::Session(&Additions::default()));
    assert_eq!((listed(&tool_list), tool_list.search), (vec![], false));
}

#[test]
fn after_the_first_prompt_its_tools_replace_everything() {
    let visible =
        visible_with(json!({"mode": "PromptBased", "promptBased": {"defaultExposure": "All"}}));
    let additions = added(true, &["b__put"]);
    assert_eq!(
        listed(&build_list(&visible, ListScope::Session(&additions))),
        with_all_meta(&["b__put"])
    );
}

#[test]
fn additions_are_listed_once_and_in_the_order_in_which_they_were_added() {
    let visible = visible_with(json!({"mode": "PromptBased", "staticTools": ["a__put"],
            "promptBased": {"defaultExposure": "Minimal"}}));
    let mut additions = added(true, &["b__put", "gone", "a__put"]);
    additions.add(["a__get"].into_iter());
    additions.mark_used("b__put");
    let tool_list = build_list(&visible, ListScope::Session(&additions));
    assert_eq!(listed(&tool_list), with_all_meta(&["a__put", "b__put", "a__get"]));
    let lists: Vec<bool> = (0..4).map(|position| tool_list.lists(position)).collect();
    assert_eq!(lists, [true, true, false, true]);
}

#[test]
fn over_the_budget_the_least_recently_used_additions_are_dropped_first() {
    let visible = visible_with(
        json!({"mode": "PromptBased", "toolBudget": {"maxTools": 7, "maxTokens": 100_000}}),
    );
    let list = |additions: &Additions| listed(&build_list(&visible, ListScope::Session(additions)));
    let mut additions = added(true, &["a__get", "a__put", "b__get"]);
    assert_eq!(
        list(&additions),
        with_all_meta(&["a__get", "a__put"]),
        "of one prompt, the worst is dropped"
    );
    additions.mark_used("b__get");
    additions.mark_used("a__put");
    assert_eq!(list(&additions), with_all_meta(&["a__put", "b__get"]));
    additions.add(["b__put"].into_iter());
    assert_eq!(list(&additions), with_all_meta(&["a__put", "b__put"]));
}

#[test]
fn at_most_a_thousand_additions_are_remembered() {
    let names: Vec<String> = (0..1500).map(|n| format!("t{n}")).collect();
    let mut additions = Additions::default();
    for name in &names {
        additions.add([name.as_str()].into_iter());
    }
    assert!(
        !additions.contains("t499") && additions.contains("t500") && additions.contains("t1499")
    );
}

#[test]
fn the_digest_changes_with_the_list_and_with_nothing_else() {
    let digest = |visible: &VisibleTools| build_list(visible, ListScope::Stateless).digest;
    let described = visible_tools_with(&["a", "b"], &["get", "put"], |config| {
        config.servers[0].tools.describe.insert("get".into(), "new".into());
    });
    assert_ne!(digest(&visible_with(json!({}))), digest(&described));
    assert_eq!(digest(&visible_with(json!({}))), digest(&visible_with(json!({"toolBudget": {}}))));
}

#[test]
fn a_huge_list_has_pages_and_a_cursor_for_another_list_is_rejected() {
    let visible = visible_with(json!({}));
    let mut tool_list = build_list(&visible, ListScope::Stateless);
    let lengths: Vec<usize> = visible.tools.iter().map(|tool| tool.definition.len()).collect();
    tool_list.pages = ListPages::with_limit(lengths.iter().copied(), lengths[0] + lengths[1] + 4);
    assert_eq!(tool_list.pages.len(), 2);
    let (first, cursor) = tool_list.page(None).unwrap();
    assert_eq!(serde_json::from_str::<Vec<Value>>(first).unwrap().len(), 2);
    let (second, end) = tool_list.page(cursor.as_deref()).unwrap();
    assert_eq!((serde_json::from_str::<Vec<Value>>(second).unwrap().len(), end), (2, None));
    assert!(tool_list.page(Some("0000000000000000-1")).is_none());
    assert!(tool_list.page(Some("nonsense")).is_none());
    assert!(tool_list.page(Some(&cursor.unwrap().replace("-1", "-9"))).is_none());
}

#[test]
fn without_tools_the_list_is_empty() {
    assert_eq!(
        build_list(&visible_tools(&[], &[]), ListScope::Stateless).page(None),
        Some(("[]", None))
    );
}
