use mcphub_hub_wire::config::HubConfig;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::access::Caller;
use crate::catalog::{Catalog, Definition, ServerList};
use crate::client_limits;
use crate::visibility::Visibility;

/// A visible of servers with these definitions; each server's name is its prefix.
fn visible_tools(servers: &[(&str, Vec<Value>)]) -> VisibleTools {
    filtered(servers, &json!({}))
}

/// The same with this filter.
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
        Some(Arc::new(ServerList { tools: tools.collect(), ..Default::default() }))
    };
    let lists: Vec<_> = servers.iter().map(|(_, tools)| list(tools)).collect();
    let catalog = Catalog::of(&config, &lists);
    Visibility::of(Arc::new(config), catalog).whole(&Caller::anonymous())
}

fn whole(visible: &VisibleTools) -> Grouping {
    Grouping::of(visible, 0..visible.tools.len())
}

fn tool(name: &str) -> Value {
    json!({"name": name, "description": format!("Does {name}. And more."), "inputSchema": {"type": "object"}})
}

fn files() -> VisibleTools {
    let read = json!({
        "name": "read", "description": "Reads a file.", "annotations": {"readOnlyHint": true},
        "inputSchema": {"type": "object", "properties": {"at": {"$ref": "#/$defs/at"}}, "$defs": {"at": {"type": "array"}}}
    });
    visible_tools(&[("files", vec![read, tool("write")]), ("one", vec![tool("only")])])
}

fn definition(hierarchy: &Grouping, position: usize) -> Value {
    serde_json::from_str(hierarchy.dispatchers[position].entry.definition()).unwrap()
}

#[test]
fn the_tools_of_a_server_become_one_and_a_single_tool_stays() {
    let hierarchy = whole(&files());
    assert_eq!(hierarchy.dispatchers.len(), 1);
    assert_eq!(hierarchy.tools[0].exposed, "one__only");
    let definition = definition(&hierarchy, 0);
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
        json!({"title": "read", "type": "object", "properties": {"at": {"type": "array", "items": {}}}})
    );
    assert_eq!(client_limits::violations("files__do", schema), []);
}

/// Of two servers, by what tools are for.
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
fn by_category_the_tools_of_several_servers_become_one() {
    let hierarchy = whole(&by_category());
    let names: Vec<&str> =
        hierarchy.dispatchers.iter().map(|dispatcher| dispatcher.entry.name.as_str()).collect();
    assert_eq!(names, ["filesystem__do"]);
    assert_eq!(hierarchy.tools[0].exposed, "disk__send_mail");
    let definition = definition(&hierarchy, 0);
    let description = definition["description"].as_str().unwrap();
    assert!(
        description.starts_with("Calls one of 4 tools for filesystem (servers: disk, nas): "),
        "{description}"
    );
    let actions = &definition["inputSchema"]["properties"]["action"]["enum"];
    // What both servers have goes by its whole name.
    assert_eq!(
        *actions,
        json!(["disk__read_file", "write_file", "nas__read_file", "delete_file", "help"])
    );
    assert_eq!(client_limits::violations("filesystem__do", &definition["inputSchema"]), []);
}

#[test]
fn in_hybrid_the_servers_that_are_named_stay_together() {
    let servers = [
        ("disk", vec![tool("read_file"), tool("send_mail")]),
        ("nas", vec![tool("read_file"), tool("delete_file"), tool("send_mail")]),
    ];
    let rules = json!({"mode": "Hybrid", "servers": {"allow": ["disk"]}, "categories": {"expose": ["filesystem"]}});
    let hierarchy = whole(&filtered(&servers, &rules));
    let names: Vec<&str> =
        hierarchy.dispatchers.iter().map(|dispatcher| dispatcher.entry.name.as_str()).collect();
    assert_eq!(names, ["disk__do", "filesystem__do"]);
    assert!(hierarchy.tools.is_empty());
}

// A category's name is whatever somebody writes; `hub__` is that of the hub's own tools.
#[test]
fn a_category_of_any_name_gives_a_name_that_clients_take() {
    for (category, expected) in
        [("hub", "category__do"), ("Über uns", "_ber_uns__do"), ("disk", "disk__do_2")]
    {
        let servers = [("disk", vec![tool("do"), tool("b")])];
        let rules = json!({"mode": "Category", "categories": {"expose": [category], "custom": {"*": category}}});
        assert_eq!(whole(&filtered(&servers, &rules)).dispatchers[0].entry.name, expected);
    }
}

// Two actions of one name are a schema that vendors refuse, and a call that may go to the wrong tool.
#[test]
fn a_name_that_looks_like_that_of_another_server_s_tool_is_no_action_twice() {
    let servers = [
        ("x", vec![tool("disk__read_file"), tool("write_file")]),
        ("disk", vec![tool("read_file"), tool("write_file")]),
    ];
    let rules = json!({"mode": "Category", "categories": {"expose": ["filesystem"], "custom": {"*": "filesystem"}}});
    let visible = filtered(&servers, &rules);
    let hierarchy = whole(&visible);
    let dispatcher = &hierarchy.dispatchers[0];
    for tool in &visible.tools {
        let call = json!({"action": tool.exposed}).to_string();
        let Asked::Call { name, .. } = dispatcher.asked(Some(&call), false) else {
            panic!("{call} is a call")
        };
        assert_eq!(name, tool.exposed);
    }
    let definition = definition(&hierarchy, 0);
    let actions = &definition["inputSchema"]["properties"]["action"]["enum"];
    assert_eq!(
        *actions,
        json!(["x__disk__read_file", "x__write_file", "read_file", "disk__write_file", "help"])
    );
}

// A client's "always allow" for the dispatcher would else be one for every tool that destroys.
#[test]
fn a_dispatching_tool_is_as_dangerous_as_the_worst_of_its_tools() {
    let said = |annotations: &[Value]| {
        let with = |(position, annotations): (usize, &Value)| json!({"name": format!("t{position}"), "inputSchema": {"type": "object"}, "annotations": annotations});
        let hierarchy =
            whole(&visible_tools(&[("s", annotations.iter().enumerate().map(with).collect())]));
        let said = definition(&hierarchy, 0)["annotations"].clone();
        (said["readOnlyHint"].clone(), said["destructiveHint"].clone())
    };
    let (reads, writes, says_nothing) =
        (json!({"readOnlyHint": true}), json!({"destructiveHint": false}), json!({}));
    assert_eq!(said(&[reads.clone(), reads.clone()]), (json!(true), json!(false)));
    assert_eq!(said(&[reads.clone(), writes.clone()]), (json!(false), json!(false)));
    assert_eq!(said(&[reads, writes, says_nothing]), (json!(false), json!(true)));
}

#[test]
fn a_name_that_a_tool_has_is_not_taken_and_a_tool_called_help_keeps_its_name() {
    let visible = visible_tools(&[("s", vec![tool("do"), tool("help")])]);
    let hierarchy = whole(&visible);
    let dispatcher = &hierarchy.dispatchers[0];
    assert_eq!(dispatcher.entry.name, "s__do_2");
    assert!(matches!(
        dispatcher.asked(Some(r#"{"action":"help"}"#), false),
        Asked::Call { name: "s__help", .. }
    ));
    assert!(matches!(dispatcher.asked(Some(r#"{"action":"hub_help"}"#), false), Asked::Help(_)));
}

#[test]
fn a_server_with_many_tools_gets_several() {
    let many = (0..250).map(|number| tool(&format!("t{number:03}"))).collect();
    let hierarchy = whole(&visible_tools(&[("s", many)]));
    let names: Vec<&str> =
        hierarchy.dispatchers.iter().map(|dispatcher| dispatcher.entry.name.as_str()).collect();
    assert_eq!(names, ["s__do", "s__do_2", "s__do_3"]);
    assert_eq!(hierarchy.dispatchers[2].entry.tools.len(), 50);
}

#[test]
fn what_is_asked_wrongly_says_what_to_write() {
    let (visible, refused) = (files(), |asked: Asked<'_>| match asked {
        Asked::Refused(message) => message,
        other => panic!("refused, not {other:?}"),
    });
    let hierarchy = whole(&visible);
    let dispatcher = &hierarchy.dispatchers[0];
    assert_eq!(
        refused(dispatcher.asked(None, false)),
        "action is missing; it is one of read, write, help"
    );
    assert_eq!(
        refused(dispatcher.asked(Some(r#"{"action":"erase"}"#), true)),
        "there is no action \"erase\"; there are read, write, help"
    );
    assert_eq!(
        refused(dispatcher.asked(Some(r#"{"action":"read","path":"x"}"#), false)),
        "\"path\" is not known here; put it into arguments"
    );
    assert_eq!(
        refused(dispatcher.asked(Some(r#"{"action":"read","arguments":[]}"#), false)),
        "arguments must be an object"
    );
    assert!(
        refused(dispatcher.asked(Some(r#"{"action":"read","action":"write"}"#), false))
            .contains("twice")
    );
}

#[test]
fn an_action_with_a_typo_is_found_only_where_correction_is_on() {
    let visible = files();
    let hierarchy = whole(&visible);
    let asked = |correct| hierarchy.dispatchers[0].asked(Some(r#"{"action":"Write"}"#), correct);
    assert!(matches!(asked(false), Asked::Refused(_)));
    let Asked::Call { name, correction: Some(correction), .. } = asked(true) else {
        panic!("corrected")
    };
    assert_eq!(
        (name, correction.path.as_str(), correction.to.as_deref()),
        ("files__write", "action", Some("write"))
    );
}

#[test]
fn help_shows_a_definition_as_it_is() {
    let visible = files();
    let hierarchy = whole(&visible);
    let asked = hierarchy.dispatchers[0]
        .asked(Some(r#"{"action":"help","arguments":{"action":"read"}}"#), false);
    assert_eq!(asked, Asked::Help(visible.tools[0].definition.clone()));
}

#[test]
fn a_schema_that_contains_itself_or_is_huge_is_shown_short() {
    let recursive = json!({"name": "tree", "inputSchema": {"type": "object", "properties": {"left": {"$ref": "#"}}}});
    let properties: serde_json::Map<String, Value> = (0..4_000)
        .map(|number| (format!("property_{number}"), json!({"type": "string"})))
        .collect();
    let huge = json!({"name": "huge", "inputSchema": {"type": "object", "properties": properties}});
    let odd = json!({"name": "odd", "inputSchema": {"type": "object", "properties": {"$top": {"type": "integer"}}}});
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

/// A call of an action of the first dispatching tool; its arguments as they go on.
fn dispatched(
    visible: &VisibleTools,
    action: &str,
    exposed: &str,
    inner: &str,
    first: bool,
) -> Result<(), TestCaseError> {
    let hierarchy = whole(visible);
    let action = format!("\"action\" : \"{action}\"");
    let text = if first {
        format!("{{{action},\"arguments\":{inner}}}")
    } else {
        format!("{{\"arguments\": {inner} ,{action}}}")
    };
    let asked = hierarchy.dispatchers[0].asked(Some(&text), true);
    let Asked::Call { position, name, arguments, correction } = asked else {
        panic!("{text}: {asked:?}")
    };
    prop_assert_eq!((visible.tools[position].exposed.as_str(), name), (exposed, exposed));
    prop_assert_eq!(arguments, inner);
    prop_assert_eq!(correction, None);
    Ok(())
}

// A new caller of a large catalog would else wait until schemas that others have seen are written again.
#[test]
fn callers_who_see_the_same_tools_share_what_lists_say_of_them() {
    let rules = json!([{"when": "tool.server == 'a'"}, {"when": "'dev' in caller.groups"}, {"when": "tool.name == 'b__x'"}]);
    let servers = ["a", "b"]
        .map(|name| json!({"name": name, "prefix": name, "url": "http://localhost:1/mcp"}));
    let config: HubConfig =
        serde_json::from_value(json!({"schema": 1, "servers": servers, "access": rules})).unwrap();
    let list = |names: &[&str]| Some(crate::visibility::tests::list(names));
    let caller = |groups: &[&str]| Caller {
        groups: groups.iter().map(|&name| name.into()).collect(),
        ..Caller::default()
    };
    let seen = |catalog: &Catalog, groups: &[&str]| {
        whole(&Visibility::of(Arc::new(config.clone()), catalog.clone()).whole(&caller(groups)))
    };
    let catalog = Catalog::of(&config, &[list(&["x", "y"]), list(&["x", "y", "z"])]);
    let (nobody, dev) = (seen(&catalog, &[]), seen(&catalog, &["dev"]));
    assert_eq!((nobody.dispatchers.len(), dev.dispatchers.len()), (1, 2));
    assert!(Arc::ptr_eq(&nobody.dispatchers[0].entry, &dev.dispatchers[0].entry));
    // When one server lists anew, the other's is kept, and the new list is what is shown.
    let next = Catalog::of(&config, &[list(&["x", "y"]), list(&["x", "y", "w"])]).keeping(&catalog);
    let later = seen(&next, &["dev"]);
    assert!(Arc::ptr_eq(&later.dispatchers[0].entry, &dev.dispatchers[0].entry));
    assert!(later.dispatchers[1].entry.definition().contains("\"w\""));
    assert!(!later.dispatchers[1].entry.definition().contains("\"z\""));
}

// Entries of one name are of different tools: what somebody else was shown must not be what this caller is.
#[test]
fn who_sees_a_part_of_a_server_is_shown_that_part_whoever_came_before() {
    let tools: Vec<Value> = (0..30).map(|number| tool(&format!("t{number}"))).collect();
    let shared = visible_tools(&[("s", tools.clone())]);
    for step in 1..10 {
        let part = || (0..30).step_by(step);
        let alone = visible_tools(&[("s", tools.clone())]);
        let (alone, kept) = (Grouping::of(&alone, part()), Grouping::of(&shared, part()));
        let (alone, kept) = (&alone.dispatchers[0].entry, &kept.dispatchers[0].entry);
        assert_eq!((alone.definition(), alone.tokens()), (kept.definition(), kept.tokens()));
        assert_eq!(kept.tools.len(), part().count());
    }
}

proptest! {
    // What is dispatched is the call that the model would have made itself.
    #[test]
    fn arguments_go_on_byte_for_byte(
        inner in "\\{ ?(\"[a-z\\u00e9]{0,3}\" ?: ?(1e400|1\\.0|\"\\\\\\\\u0061\"|\\[ ?null\\]) ?)?\\}",
        first in any::<bool>(),
    ) {
        dispatched(&files(), r"wr\u0069te", "files__write", &inner, first)?;
        dispatched(&by_category(), r"delet\u0065_file", "nas__delete_file", &inner, first)?;
        dispatched(&by_category(), "nas__read_file", "nas__read_file", &inner, first)?;
    }
}
