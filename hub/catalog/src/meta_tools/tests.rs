use rstest::rstest;

use super::*;
use crate::fixtures::{tool, visible_tools};

#[rstest]
#[case::say_that_it_reads(r#"{"readOnlyHint":true,"destructiveHint":true}"#, Class::Read)]
#[case::say_that_it_destroys_nothing(
    r#"{"readOnlyHint":false,"destructiveHint":false}"#,
    Class::Write
)]
#[case::say_only_that_it_writes(r#"{"readOnlyHint":false}"#, Class::Destructive)]
#[case::say_that_it_destroys(r#"{"destructiveHint":true}"#, Class::Destructive)]
#[case::say_nothing("{}", Class::Destructive)]
#[case::have_another_type(r#"{"readOnlyHint":"true"}"#, Class::Destructive)]
#[case::are_not_an_object("7", Class::Destructive)]
fn the_class_of_a_tool_whose_annotations(#[case] annotations: &str, #[case] expected: Class) {
    let tool = tool(&format!(r#"{{"name":"t","annotations":{annotations}}}"#));
    assert_eq!(Class::from_hints(tool.hints()), expected);
}

// A user who always allows hub__call_read must not allow a deletion by that.
#[test]
fn a_dispatcher_calls_no_tool_that_may_do_more_harm_than_its_class() {
    let admitted = |class: Class| Class::ALL.map(|other| class.admits(other));
    assert_eq!(admitted(Class::Read), [true, false, false]);
    assert_eq!(admitted(Class::Write), [true, true, false]);
    assert_eq!(admitted(Class::Destructive), [true, true, true]);
    let tool = tool(r#"{"name":"rm","annotations":{"destructiveHint":true}}"#);
    assert_eq!(
        wrong_class(&tool, Class::Read),
        "a__rm may destroy something, so hub__call_read does not call it; use \
         hub__call_destructive with the same arguments"
    );
}

// If the constants are too low, a budget is accepted that no list can keep.
#[test]
fn the_constants_for_the_minimal_cost_are_what_an_empty_hub_counts() {
    let empty = visible_tools(&[], &[]);
    let counted = MetaTool::ALL.map(|meta| (meta.name(), meta.definition(&empty).tokens));
    assert_eq!(MetaTool::ALL.map(|meta| (meta.name(), meta.min_tokens())), counted);
}

#[test]
fn every_definition_is_valid_and_its_name_leads_back_to_its_meta_tool() {
    let visible = visible_tools(&["files", "web"], &["get"]);
    for meta in MetaTool::ALL {
        let definition: serde_json::Value =
            serde_json::from_str(&meta.definition(&visible).text).unwrap();
        assert_eq!(MetaTool::from_name(definition["name"].as_str().unwrap()), Some(meta));
        assert_eq!(definition["inputSchema"]["type"], "object");
        assert!(definition["description"].as_str().unwrap().len() < 300);
    }
    assert!(MetaTool::FindTools.definition(&visible).text.contains("Servers: files, web."));
    assert_eq!(MetaTool::from_name("hub__nothing"), None);
}

#[rstest]
#[case::no_arguments(
    None,
    "query is missing; say what the tool should do: {\"query\": \"what the tool should do\"}"
)]
#[case::a_list(
    Some("[1]"),
    "arguments must be an object: {\"query\": \"what the tool should do\"}"
)]
#[case::blank(
    Some(r#"{"query":" \n"}"#),
    "query is empty; say what the tool should do: {\"query\": \"what the tool should do\"}"
)]
#[case::a_number(
    Some(r#"{"query":7}"#),
    "query must be a string: {\"query\": \"what the tool should do\"}"
)]
#[case::misspelled(
    Some(r#"{"query":"a","servr":"b"}"#),
    "there is no argument \"servr\"; the arguments are query, limit, server"
)]
#[case::no_tools(Some(r#"{"query":"a","limit":0}"#), "limit must be a whole number from 1 to 50")]
#[case::too_many(Some(r#"{"query":"a","limit":51}"#), "limit must be a whole number from 1 to 50")]
fn the_error_for_invalid_search_arguments_says_what_to_write(
    #[case] arguments: Option<&str>,
    #[case] expected: &str,
) {
    assert_eq!(FindTools::parse(arguments).unwrap_err(), expected);
}

#[rstest]
#[case(r#"{"query":"a"}"#, 10)]
#[case(r#"{"query":"a","limit":null}"#, 10)]
#[case(r#"{"query":"a","limit":50}"#, 50)]
#[case(r#"{"query":"a","limit":3.0}"#, 3)]
#[case(r#"{"query":"a","limit":"4"}"#, 4)]
fn limits_are_read_in_every_notation_that_models_use(
    #[case] arguments: &str,
    #[case] expected: usize,
) {
    assert_eq!(FindTools::parse(Some(arguments)).unwrap().limit, expected);
}

#[test]
fn the_arguments_for_a_tool_are_passed_on_byte_for_byte() {
    let written = r#"{ "x" : 1.0e+05,"\u0061":[ ] }"#;
    let text = format!(r#"{{"name":"a__get","arguments":{written},"selectionId":"s1"}}"#);
    let dispatch = Dispatch::parse(Some(&text)).unwrap();
    assert_eq!(
        (&*dispatch.name, &*dispatch.arguments, dispatch.selection_id.as_deref()),
        ("a__get", written, Some("s1"))
    );
    let as_string = Dispatch::parse(Some(r#"{"name":"a__get","arguments":"{\"x\":1}"}"#)).unwrap();
    assert_eq!(as_string.arguments, r#"{"x":1}"#);
    assert_eq!(Dispatch::parse(Some(r#"{"name":"a__get"}"#)).unwrap().arguments, "{}");
    let error = Dispatch::parse(Some(r#"{"name":"a__get","arguments":[1]}"#)).unwrap_err();
    assert!(error.starts_with("arguments must be an object"), "{error}");
}

#[test]
fn a_prompt_of_a_megabyte_is_rejected_and_every_script_is_read() {
    let huge = format!(r#"{{"prompt":"{}"}}"#, "a".repeat(1 << 20));
    assert!(
        AnalyzePrompt::parse(Some(&huge))
            .unwrap_err()
            .starts_with("prompt has 1048576 bytes, but at most 65536")
    );
    let parsed =
        AnalyzePrompt::parse(Some(r#"{"prompt":"删除文件","context":"\u0442\u0435\u0441\u0442"}"#))
            .unwrap();
    assert_eq!((&*parsed.prompt, parsed.context.as_deref()), ("删除文件", Some("тест")));
}
