use mcphub_hub_wire::config::HubConfig;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::catalog::{Definition, ServerList, ToolCatalog};
use crate::client_limits;
use crate::principal::Principal;
use crate::visibility::Visibility;

/// The visible tools of servers with these definitions. The name of each server is its prefix.
fn visible_tools(servers: &[(&str, Vec<Value>)]) -> VisibleTools {
    filtered(servers, &json!({}))
}

/// The same with this filtering.
fn filtered(servers: &[(&str, Vec<Value>)], filtering: &Value) -> VisibleTools {
    let config: Vec<Value> = servers
        .iter()
        .map(|(name, _)| json!({"name": name, "prefix": name, "url": "http://localhost:1/mcp"}))
        .collect();
    let config =
        serde_json::from_value(json!({"schema": 1, "servers": config, "filtering": filtering}))
            .unwrap();
    let list = |tools: &Vec<Value>| {
        let tools = tools.iter().map(|tool| Definition {
            name: tool["name"].as_str().unwrap().into(),
            text: tool.to_string(),
        });
        Some(Arc::new(ServerList { definitions: tools.collect(), ..Default::default() }))
    };
    let lists: Vec<_> = servers.iter().map(|(_, tools)| list(tools)).collect();
    let catalog = ToolCatalog::new(&config, &lists);
    Visibility::new(Arc::new(config), catalog).whole(&Principal::anonymous())
}

fn whole(visible: &VisibleTools) -> Grouping {
    Grouping::new(visible, 0..visible.tools.len(), &GroupCache::default())
}

fn tool(name: &str) -> Value {
    json!({"name": name, "description": format!("Does {name}. And more."),
        "inputSchema": {"type": "object"}})
}

fn files() -> VisibleTools {
    let read = json!({
        "name": "read", "description": "Reads a file.", "annotations": {"readOnlyHint": true},
        "inputSchema": {"type": "object", "properties": {"at": {"$ref": "#/$defs/at"}},
            "$defs": {"at": {"type": "array"}}}
    });
    visible_tools(&[("files", vec![read, tool("write")]), ("one", vec![tool("only")])])
}

fn definition(grouping: &Grouping, position: usize) -> Value {
    serde_json::from_str(grouping.dispatchers[position].group.definition()).unwrap()
}

#[test]
fn the_tools_of_a_server_become_one_entry_and_a_single_tool_stays() {
    let grouping = whole(&files());
    assert_eq!(grouping.dispatchers.len(), 1);
    assert_eq!(grouping.tools[0].exposed, "one__only");
    let definition = definition(&grouping, 0);
    assert_eq!(definition["name"], "files__do");
    let schema = &definition["inputSchema"];
    assert_eq!(schema["properties"]["action"]["enum"], json!(["read", "write", "help"]));
    assert_eq!(schema["properties"]["action"]["enumDescriptions"][0], "Reads a file.");
    assert!(
        schema["properties"]["action"]["description"]
            .as_str()
            .unwrap()
            .contains("- write: Does write.\n")
    );
    assert_eq!(
        schema["properties"]["arguments"]["anyOf"][0],
        json!({"title": "read", "type": "object",
            "properties": {"at": {"type": "array", "items": {}}}})
    );
    assert_eq!(client_limits::violations("files__do", schema), []);
}

/// The tools of two servers, filtered by category.
fn by_category() -> VisibleTools {
    let servers = [
        ("disk", vec![tool("read_file"), tool("write_file"), tool("send_mail")]),
        ("nas", vec![tool("read_file"), tool("delete_file")]),
    ];
    filtered(
        &servers,
        &json!({"mode": "Category", "categories": {"expose": ["filesystem", "communication"]}}),
    )
}

#[test]
fn in_mode_category_the_tools_of_several_servers_become_one_entry() {
    let grouping = whole(&by_category());
    let names: Vec<&str> =
        grouping.dispatchers.iter().map(|dispatcher| dispatcher.group.name.as_str()).collect();
    assert_eq!(names, ["filesystem__do"]);
    assert_eq!(grouping.tools[0].exposed, "disk__send_mail");
    let definition = definition(&grouping, 0);
    let description = definition["description"].as_str().unwrap();
    assert!(
        description.starts_with("Calls one of 4 tools for filesystem (servers: disk, nas): "),
        "{description}"
    );
    let actions = &definition["inputSchema"]["properties"]["action"]["enum"];
    // A tool that both servers have is an action with its exposed name.
    assert_eq!(
        *actions,
        json!(["disk__read_file", "write_file", "nas__read_file", "delete_file", "help"])
    );
    assert_eq!(client_limits::violations("filesystem__do", &definition["inputSchema"]), []);
}

#[test]
fn in_mode_hybrid_the_tools_of_an_allowed_server_stay_together() {
    let servers = [
        ("disk", vec![tool("read_file"), tool("send_mail")]),
        ("nas", vec![tool("read_file"), tool("delete_file"), tool("send_mail")]),
    ];
    let rules = json!({"mode": "Hybrid", "servers": {"allow": ["disk"]},
        "categories": {"expose": ["filesystem"]}});
    let grouping = whole(&filtered(&servers, &rules));
    let names: Vec<&str> =
        grouping.dispatchers.iter().map(|dispatcher| dispatcher.group.name.as_str()).collect();
    assert_eq!(names, ["disk__do", "filesystem__do"]);
    assert!(grouping.tools.is_empty());
}

// A custom category may have any name, and `hub__` is the prefix of the hub's own tools.
#[test]
fn a_category_with_any_name_gives_a_valid_tool_name() {
    for (category, expected) in
        [("hub", "category__do"), ("Über uns", "_ber_uns__do_d9b500"), ("disk", "disk__do_2")]
    {
        let servers = [("disk", vec![tool("do"), tool("b")])];
        let rules = json!({"mode": "Category",
            "categories": {"expose": [category], "custom": {"*": category}}});
        assert_eq!(whole(&filtered(&servers, &rules)).dispatchers[0].group.name, expected);
    }
}

// Vendors refuse a schema with two equal actions, and a call might go to the wrong tool.
#[test]
fn two_tools_never_give_the_same_action() {
    let servers = [
        ("x", vec![tool("disk__read_file"), tool("write_file")]),
        ("disk", vec![tool("read_file"), tool("write_file")]),
    ];
    let rules = json!({"mode": "Category",
        "categories": {"expose": ["filesystem"], "custom": {"*": "filesystem"}}});
    let visible = filtered(&servers, &rules);
    let grouping = whole(&visible);
    let dispatcher = &grouping.dispatchers[0];
    for tool in &visible.tools {
        let call = json!({"action": tool.exposed}).to_string();
        let DispatchCall::Tool { name, .. } = dispatcher.parse(Some(&call), false) else {
            panic!("{call} is a call")
        };
        assert_eq!(name, tool.exposed);
    }
    let definition = definition(&grouping, 0);
    let actions = &definition["inputSchema"]["properties"]["action"]["enum"];
    assert_eq!(
        *actions,
        json!(["x__disk__read_file", "x__write_file", "read_file", "disk__write_file", "help"])
    );
}

// Otherwise a user who always allows the dispatching tool would always allow destructive tools too.
#[test]
fn a_dispatching_tool_has_the_hints_of_its_most_harmful_tool() {
    let said = |annotations: &[Value]| {
        let with = |(position, annotations): (usize, &Value)| {
            json!({"name": format!("t{position}"), "inputSchema": {"type": "object"},
                "annotations": annotations})
        };
        let grouping =
            whole(&visible_tools(&[("s", annotations.iter().enumerate().map(with).collect())]));
        let said = definition(&grouping, 0)["annotations"].clone();
        (said["readOnlyHint"].clone(), said["destructiveHint"].clone())
    };
    let (reads, writes, says_nothing) =
        (json!({"readOnlyHint": true}), json!({"destructiveHint": false}), json!({}));
    assert_eq!(said(&[reads.clone(), reads.clone()]), (json!(true), json!(false)));
    assert_eq!(said(&[reads.clone(), writes.clone()]), (json!(false), json!(false)));
    assert_eq!(said(&[reads, writes, says_nothing]), (json!(false), json!(true)));
}

#[test]
fn the_dispatching_tool_avoids_the_names_of_tools_and_help_avoids_the_names_of_actions() {
    let visible = visible_tools(&[("s", vec![tool("do"), tool("help")])]);
    let grouping = whole(&visible);
    let dispatcher = &grouping.dispatchers[0];
    assert_eq!(dispatcher.group.name, "s__do_2");
    assert!(matches!(
        dispatcher.parse(Some(r#"{"action":"help"}"#), false),
        DispatchCall::Tool { name: "s__help", .. }
    ));
    assert!(matches!(
        dispatcher.parse(Some(r#"{"action":"hub_help"}"#), false),
        DispatchCall::Help(_)
    ));
}

#[test]
fn a_server_with_many_tools_gets_several_dispatching_tools() {
    let many = (0..250).map(|number| tool(&format!("t{number:03}"))).collect();
    let grouping = whole(&visible_tools(&[("s", many)]));
    let names: Vec<&str> =
        grouping.dispatchers.iter().map(|dispatcher| dispatcher.group.name.as_str()).collect();
    assert_eq!(names, ["s__do", "s__do_2", "s__do_3"]);
    assert_eq!(grouping.dispatchers[2].group.tools.len(), 50);
}

#[test]
fn the_error_for_an_invalid_call_says_what_to_write() {
    let (visible, error) = (files(), |call: DispatchCall<'_>| match call {
        DispatchCall::Invalid(message) => message,
        other => panic!("invalid, not {other:?}"),
    });
    let grouping = whole(&visible);
    let dispatcher = &grouping.dispatchers[0];
    assert_eq!(
        error(dispatcher.parse(None, false)),
        "action is missing; choose one of read, write, help"
    );
    assert_eq!(
        error(dispatcher.parse(Some(r#"{"action":"erase"}"#), true)),
        "there is no action \"erase\"; the actions are read, write, help"
    );
    assert_eq!(
        error(dispatcher.parse(Some(r#"{"action":"read","path":"x"}"#), false)),
        "\"path\" is unknown here; put it into arguments"
    );
    assert_eq!(
        error(dispatcher.parse(Some(r#"{"action":"read","arguments":[]}"#), false)),
        "arguments must be an object"
    );
    assert!(
        error(dispatcher.parse(Some(r#"{"action":"read","action":"write"}"#), false))
            .contains("only once")
    );
}

#[test]
fn an_action_with_a_typo_is_found_only_with_correction() {
    let visible = files();
    let grouping = whole(&visible);
    let parse = |correct| grouping.dispatchers[0].parse(Some(r#"{"action":"Write"}"#), correct);
    assert!(matches!(parse(false), DispatchCall::Invalid(_)));
    let DispatchCall::Tool { name, correction: Some(correction), .. } = parse(true) else {
        panic!("corrected")
    };
    assert_eq!(
        (name, correction.path.as_str(), correction.to.as_deref()),
        ("files__write", "action", Some("write"))
    );
}

#[test]
fn help_returns_the_definition_byte_for_byte() {
    let visible = files();
    let grouping = whole(&visible);
    let call = grouping.dispatchers[0]
        .parse(Some(r#"{"action":"help","arguments":{"action":"read"}}"#), false);
    assert_eq!(call, DispatchCall::Help(visible.tools[0].definition.clone()));
}

#[test]
fn a_recursive_or_huge_schema_is_embedded_in_short() {
    let recursive = json!({"name": "tree",
        "inputSchema": {"type": "object", "properties": {"left": {"$ref": "#"}}}});
    let properties: serde_json::Map<String, Value> = (0..4_000)
        .map(|number| (format!("property_{number}"), json!({"type": "string"})))
        .collect();
    let huge = json!({"name": "huge", "inputSchema": {"type": "object", "properties": properties}});
    let odd = json!({"name": "odd",
        "inputSchema": {"type": "object", "properties": {"$top": {"type": "integer"}}}});
    let visible = visible_tools(&[("s", vec![recursive, huge, odd])]);
    let definition = definition(&whole(&visible), 0);
    let forms = &definition["inputSchema"]["properties"]["arguments"]["anyOf"];
    assert_eq!(
        forms[0]["properties"],
        json!({"left": {"type": "object", "properties": {"left": {}}}})
    );
    assert_eq!((&forms[1]["properties"], &forms[2]["properties"]), (&Value::Null, &Value::Null));
    assert_eq!(client_limits::violations("s__do", &definition["inputSchema"]), []);
}

/// Checks that a call of an action of the first dispatching tool keeps these arguments.
fn assert_dispatched(
    visible: &VisibleTools,
    action: &str,
    exposed: &str,
    inner: &str,
    first: bool,
) -> Result<(), TestCaseError> {
    let grouping = whole(visible);
    let action = format!("\"action\" : \"{action}\"");
    let text = if first {
        format!("{{{action},\"arguments\":{inner}}}")
    } else {
        format!("{{\"arguments\": {inner} ,{action}}}")
    };
    let call = grouping.dispatchers[0].parse(Some(&text), true);
    let DispatchCall::Tool { position, name, arguments, correction } = call else {
        panic!("{text}: {call:?}")
    };
    prop_assert_eq!((visible.tools[position].exposed.as_str(), name), (exposed, exposed));
    prop_assert_eq!(arguments, inner);
    prop_assert_eq!(correction, None);
    Ok(())
}

// Otherwise a new caller of a large catalog waits until schemas that others have seen are rendered
// again.
#[test]
fn callers_who_see_the_same_tools_share_their_groups() {
    let rules = json!([
        {"when": "tool.server == 'a'"},
        {"when": "'dev' in caller.groups"},
        {"when": "tool.name == 'b__x'"}
    ]);
    let servers = ["a", "b"]
        .map(|name| json!({"name": name, "prefix": name, "url": "http://localhost:1/mcp"}));
    let config: HubConfig =
        serde_json::from_value(json!({"schema": 1, "servers": servers, "access": rules})).unwrap();
    let list = |names: &[&str]| Some(crate::fixtures::list(names));
    let catalog = ToolCatalog::new(&config, &[list(&["x", "y"]), list(&["x", "y", "z"])]);
    let cache = GroupCache::new(&catalog.entries, None);
    let groups_of = |catalog: &ToolCatalog, groups: &[&str], cache: &GroupCache| {
        let groups = groups.iter().map(|&name| name.into()).collect();
        let visibility = Visibility::new(Arc::new(config.clone()), catalog.clone());
        let visible = visibility.whole(&Principal { groups, ..Principal::default() });
        Grouping::new(&visible, 0..visible.tools.len(), cache).dispatchers
    };
    let (nobody, dev) = (groups_of(&catalog, &[], &cache), groups_of(&catalog, &["dev"], &cache));
    assert_eq!((nobody.len(), dev.len()), (1, 2));
    assert!(Arc::ptr_eq(&nobody[0].group, &dev[0].group));
    // When server b lists again, the group of server a is reused, and that of b is rendered again.
    let next = ToolCatalog::new(&config, &[list(&["x", "y"]), list(&["x", "y", "w"])]);
    let next = next.reuse(&catalog);
    let cache = GroupCache::new(&next.entries, Some(&cache));
    let later = groups_of(&next, &["dev"], &cache);
    assert!(Arc::ptr_eq(&later[0].group, &dev[0].group));
    assert!(later[1].group.definition().contains("\"w\""));
    assert!(!later[1].group.definition().contains("\"z\""));
}

// Groups of different tools may have one name. A caller must not get the group of another caller.
#[test]
fn a_cached_group_is_used_only_for_the_same_tools() {
    let tools: Vec<Value> = (0..30).map(|number| tool(&format!("t{number}"))).collect();
    let visible = visible_tools(&[("s", tools)]);
    let cache = GroupCache::default();
    for step in 1..10 {
        let part = || (0..30).step_by(step);
        let fresh = Grouping::new(&visible, part(), &GroupCache::default());
        let cached = Grouping::new(&visible, part(), &cache);
        let (fresh, cached) = (&fresh.dispatchers[0].group, &cached.dispatchers[0].group);
        assert_eq!((fresh.definition(), fresh.tokens()), (cached.definition(), cached.tokens()));
        assert_eq!(cached.tools.len(), part().count());
    }
}

proptest! {
    // A dispatched call must be the same as a direct call.
    #[test]
    fn arguments_are_passed_on_byte_for_byte(
        inner in "\\{ ?(\"[a-z\\u00e9]{0,3}\" ?: ?(1e400|1\\.0|\"\\\\\\\\u0061\"|\\[ ?null\\]) \
                  ?)?\\}",
        first in any::<bool>(),
    ) {
        assert_dispatched(&files(), r"wr\u0069te", "files__write", &inner, first)?;
        assert_dispatched(&by_category(), r"delet\u0065_file", "nas__delete_file", &inner, first)?;
        assert_dispatched(&by_category(), "nas__read_file", "nas__read_file", &inner, first)?;
    }
}
