//! Validates arguments against schemas: what is refused, what is corrected, and the messages.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use mcphub_hub_catalog::arguments::correction::{
    Correction, CorrectionKind, CorrectionResult, correct,
};
use mcphub_hub_catalog::arguments::schema::{Schema, SchemaError};
use mcphub_hub_catalog::arguments::{
    Validation, ValidationOptions, advice, error, example, validate,
};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

fn files() -> Schema {
    compiled(&json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "path": {"type": "string", "description": "Where to read."},
            "maxBytes": {"type": "integer", "minimum": 1},
            "ratio": {"type": "number"},
            "follow": {"type": "boolean"},
            "mode": {"enum": ["text", "binary", "tail"],
                "enumDescriptions": ["as UTF-8", "as base64", "the end of it"]},
            "tags": {"type": "array", "items": {"type": "string"}},
            "lines": {"anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "null"}]},
            "options": {
                "type": "object",
                "properties": {"dryRun": {"type": "boolean"}, "sort_by": {"type": "string"}},
                "additionalProperties": false
            },
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "kind": {"oneOf": [{"const": "file"}, {"const": "folder", "description": "a folder"}]}
        },
        "required": ["path"]
    }))
}

fn compiled(schema: &Value) -> Schema {
    Schema::compile(&schema.to_string()).unwrap()
}

const BOTH: ValidationOptions = ValidationOptions { validate: true, correct: true };

fn corrected(schema: &Schema, text: &str) -> (String, Vec<Correction>) {
    match validate(schema, Some(text), BOTH) {
        Validation::Corrected { arguments, corrections } => (arguments, corrections),
        other => panic!("{text} is {other:?}"),
    }
}

// Each case has one mistake. All other bytes stay: escapes, white space, order.
#[rstest]
#[case::key_in_another_case(
    r#"{ "Path":"\u0061" , "mode":"text"}"#,
    r#"{ "path":"\u0061" , "mode":"text"}"#,
    CorrectionKind::Key
)]
#[case::key_in_snake(
    r#"{"path":"a","max_bytes":5}"#,
    r#"{"path":"a","maxBytes":5}"#,
    CorrectionKind::Key
)]
#[case::key_in_kebab(
    r#"{"path":"a","max-bytes" : 5}"#,
    r#"{"path":"a","maxBytes" : 5}"#,
    CorrectionKind::Key
)]
#[case::key_below(
    r#"{"path":"a","options":{"dry_run":true}}"#,
    r#"{"path":"a","options":{"dryRun":true}}"#,
    CorrectionKind::Key
)]
#[case::option_in_another_case(
    r#"{"path":"a","mode":"TEXT"}"#,
    r#"{"path":"a","mode":"text"}"#,
    CorrectionKind::Enum
)]
#[case::option_with_a_typo(
    r#"{"path":"a","mode":"binari"}"#,
    r#"{"path":"a","mode":"binary"}"#,
    CorrectionKind::Enum
)]
#[case::one_of_constants(
    r#"{"path":"a","kind":"Folder"}"#,
    r#"{"path":"a","kind":"folder"}"#,
    CorrectionKind::Enum
)]
#[case::integer(
    r#"{"path":"a","maxBytes":"12"}"#,
    r#"{"path":"a","maxBytes":12}"#,
    CorrectionKind::Number
)]
#[case::number(
    r#"{"path":"a","ratio":"-0.50"}"#,
    r#"{"path":"a","ratio":-0.50}"#,
    CorrectionKind::Number
)]
#[case::boolean(
    r#"{"path":"a","follow":"True"}"#,
    r#"{"path":"a","follow":true}"#,
    CorrectionKind::Boolean
)]
#[case::single_item(
    r#"{"path":"a","tags": "b" }"#,
    r#"{"path":"a","tags": ["b"] }"#,
    CorrectionKind::Array
)]
#[case::item_of_a_branch(
    r#"{"path":"a","lines":3}"#,
    r#"{"path":"a","lines":[3]}"#,
    CorrectionKind::Array
)]
#[case::in_a_wrapper(
    r#"{"arguments": {"path":"a", "mode":"text"} }"#,
    r#"{"path":"a", "mode":"text" }"#,
    CorrectionKind::Hoist
)]
#[case::required_below(
    r#"{"options":{"dryRun":true, "path":"a"},"mode":"text"}"#,
    r#"{"path":"a","options":{"dryRun":true},"mode":"text"}"#,
    CorrectionKind::Hoist
)]
#[case::unknown_below(
    r#"{"path":"a","options":{"follow":true,"dryRun":true}}"#,
    r#"{"follow":true,"path":"a","options":{"dryRun":true}}"#,
    CorrectionKind::Hoist
)]
fn what_is_wrong_in_one_way_is_made_right_and_nothing_else_changes(
    #[case] text: &str,
    #[case] expected: &str,
    #[case] kind: CorrectionKind,
) {
    let (arguments, corrections) = corrected(&files(), text);
    assert_eq!(arguments, expected);
    assert!(
        !corrections.is_empty() && corrections.iter().all(|correction| correction.kind == kind),
        "{corrections:?}"
    );
}

#[test]
fn several_things_are_corrected_together_and_each_is_told() {
    let text = r#"{"Path":"a","max_bytes":"7","tags":"x","mode":"Text"}"#;
    let (arguments, corrections) = corrected(&files(), text);
    assert_eq!(arguments, r#"{"path":"a","maxBytes":7,"tags":["x"],"mode":"text"}"#);
    let mut told: Vec<(CorrectionKind, &str)> =
        corrections.iter().map(|c| (c.kind, c.path.as_str())).collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            (CorrectionKind::Key, "maxBytes"),
            (CorrectionKind::Key, "path"),
            (CorrectionKind::Enum, "mode"),
            (CorrectionKind::Number, "maxBytes"),
            (CorrectionKind::Array, "tags")
        ]
    );
}

#[rstest]
#[case::two_spellings_of_one_key(r#"{"Path":"a","PATH":"b"}"#)]
#[case::the_key_is_there_already(r#"{"path":"a","maxBytes":1,"max_bytes":2}"#)]
#[case::two_options_fit(r#"{"path":"a","mode":"tait"}"#)]
#[case::perhaps_a_list(r#"{"path":"a","tags":"x, y"}"#)]
#[case::perhaps_a_list_as_text(r#"{"path":"a","tags":"[\"x\"]"}"#)]
#[case::more_digits_than_a_double_holds(r#"{"path":"a","maxBytes":"12345678901234567890"}"#)]
#[case::leading_zero(r#"{"path":"a","maxBytes":"007"}"#)]
#[case::not_a_boolean(r#"{"path":"a","follow":"yes"}"#)]
#[case::below_the_minimum(r#"{"path":"a","maxBytes":"0"}"#)]
#[case::a_key_twice(r#"{"path":"a","mode":"Text","mode":"text ","mode":"TEXT"}"#)]
#[case::in_two_places(r#"{"options":{"path":"a"},"input":{"path":"b"}}"#)]
#[case::data_of_a_map(r#"{"labels":{"path":"a"}}"#)]
fn what_could_mean_two_things_is_refused(#[case] text: &str) {
    let schema = compiled(&json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "path": {"type": "string"},
            "maxBytes": {"type": "integer", "minimum": 1},
            "follow": {"type": "boolean"},
            "mode": {"enum": ["text", "tail", "taut"]},
            "tags": {"type": "array", "items": {"type": "string"}},
            "options": {"type": "object", "properties": {"dryRun": {}}},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}}
        },
        "required": ["path"]
    }));
    assert!(matches!(validate(&schema, Some(text), BOTH), Validation::Invalid(_)));
    assert!(!matches!(correct(&schema, text), CorrectionResult::Corrected { .. }));
}

// A server may read keys that its schema does not name, so a valid call must reach it unchanged.
#[test]
fn a_valid_call_is_not_touched_even_where_it_looks_wrong() {
    let schema =
        compiled(&json!({"type": "object", "properties": {"maxBytes": {"type": "integer"}}}));
    assert!(matches!(validate(&schema, Some(r#"{"max_bytes":"5"}"#), BOTH), Validation::Valid));
}

#[test]
fn an_optional_key_is_respelled_along_in_a_call_that_is_wrong_anyway() {
    let schema = compiled(&json!({
        "type": "object",
        "properties": {"path": {"type": "string"}, "maxBytes": {"type": "integer"}},
        "required": ["path"]
    }));
    assert_eq!(
        corrected(&schema, r#"{"Path":"a","max_bytes":5}"#).0,
        r#"{"path":"a","maxBytes":5}"#
    );
}

#[test]
fn rules_say_what_is_done() {
    let schema = files();
    let with = |check, correct| {
        validate(&schema, Some(r#"{"Path":"a"}"#), ValidationOptions { validate: check, correct })
            .outcome()
    };
    assert_eq!(
        [with(false, false), with(true, false), with(false, true), with(true, true)],
        ["valid", "invalid", "corrected", "corrected"]
    );
    assert_eq!(validate(&schema, None, BOTH).outcome(), "invalid");
    assert_eq!(validate(&compiled(&json!({"type": "object"})), None, BOTH).outcome(), "valid");
}

#[test]
fn what_cannot_be_judged_passes() {
    let schema = compiled(&json!({"type": "object", "properties": {"n": {"type": "integer"}}}));
    assert_eq!(validate(&schema, Some(r#"{"n":1e400}"#), BOTH).outcome(), "unusable");
    let deep = format!(r#"{{"n":{}{}}}"#, "[".repeat(500), "]".repeat(500));
    assert_eq!(validate(&schema, Some(&deep), BOTH).outcome(), "unusable");
}

#[test]
fn a_short_message_names_the_arguments_and_no_values() {
    let schema = files();
    let text = r#"{"maxBytes":"s3cret","mode":"s3cret","options":{"dry":1},"Follow":"s3cret"}"#;
    let Validation::Invalid(problems) =
        validate(&schema, Some(text), ValidationOptions { validate: true, correct: false })
    else {
        panic!("invalid")
    };
    let message = error::message("files__read", &problems);
    insta_like(
        &message,
        &[
            "Invalid arguments for files__read: ",
            "\"path\" is missing",
            "\"maxBytes\" must be integer, not string",
            "\"mode\" is none of the allowed values",
            "\"options.dry\" is unknown",
            "\"Follow\" is unknown; write \"follow\"",
        ],
    );
    assert!(!message.contains("s3cret"), "{message}");
}

#[test]
fn an_enhanced_message_says_what_is_allowed_and_gives_a_valid_example() {
    let schema = files();
    let text = r#"{"mode":"txet","lines":"x","kind":"file "}"#;
    let Validation::Invalid(problems) =
        validate(&schema, Some(text), ValidationOptions { validate: true, correct: false })
    else {
        panic!("invalid")
    };
    let message = advice::message("files__read", &schema, Some(text), &problems);
    insta_like(
        &message,
        &[
            "- \"path\" is missing: string - Where to read.",
            "- \"mode\" is none of the allowed values: one of \"text\" (as UTF-8), \"binary\" (as \
             base64), \"tail\" (the end of it)",
            "- \"lines\" must be array, not string; expected: array or null",
            "- \"kind\" is none of the allowed values: one of \"file\", \"folder\" (a folder); did \
             you mean \"file\"?",
            "Example of valid arguments: {\"path\":\"…\"}",
        ],
    );
}

fn insta_like(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "no {part:?} in\n{message}");
    }
}

#[test]
fn an_example_follows_bounds_references_and_required_branches() {
    let schema = compiled(&json!({
        "type": "object",
        "properties": {
            "n": {"type": "integer", "minimum": 3, "multipleOf": 2},
            "list": {"type": "array", "minItems": 2, "items": {"$ref": "#/$defs/item"}},
            "when": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
            "word": {"type": "string", "minLength": 4, "maxLength": 5}
        },
        "required": ["n", "list", "when", "word"],
        "$defs": {"item": {"type": "object", "properties": {"mode": {"const": "x"}},
            "required": ["mode"]}}
    }));
    let example = example::generate(&schema).unwrap();
    assert_eq!(
        example,
        json!({"n": 4, "list": [{"mode": "x"}, {"mode": "x"}], "when": "2026-01-31",
            "word": "…xxx"})
    );
}

// Schemas come from servers that are not trusted. None of them may crash the process or block a
// thread.
#[rstest]
#[case::no_schema_at_all(r#"{"name":"x"}"#)]
#[case::unknown_type(r#"{"inputSchema":{"type":"dict"}}"#)]
#[case::reference_to_elsewhere(r#"{"inputSchema":{"$ref":"https://example.com/s.json"}}"#)]
#[case::reference_to_a_file(r#"{"inputSchema":{"$ref":"file:///etc/passwd"}}"#)]
#[case::reference_to_nothing(r##"{"inputSchema":{"$ref":"#/$defs/none"}}"##)]
#[case::no_object(r#"{"inputSchema":true}"#)]
#[case::bad_pattern(r#"{"inputSchema":{"properties":{"a":{"pattern":"("}}}}"#)]
fn a_schema_that_cannot_be_used_says_why(#[case] definition: &str) {
    let error = Schema::from_definition(definition).unwrap_err();
    assert!(matches!(error, SchemaError::Missing | SchemaError::Malformed(_)), "{error}");
}

#[test]
fn a_schema_that_doubles_with_every_reference_is_refused() {
    let mut definitions = serde_json::Map::new();
    for level in 0..40 {
        let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
        definitions.insert(format!("d{level}"), json!({"anyOf": [next, next]}));
    }
    definitions.insert("d40".into(), json!({"type": "string"}));
    let schema = json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/d0"}},
        "$defs": definitions});
    assert_eq!(Schema::compile(&schema.to_string()).unwrap_err(), SchemaError::TooLarge);
}

#[test]
fn a_schema_that_is_deep_only_through_its_references_is_refused_before_the_stack_ends() {
    let mut definitions = serde_json::Map::new();
    for level in 0..900 {
        definitions.insert(
            format!("d{level}"),
            json!({"not": {"$ref": format!("#/$defs/d{}", level + 1)}}),
        );
    }
    definitions.insert("d900".into(), json!({}));
    let schema = json!({"allOf": [{"$ref": "#/$defs/d0"}], "$defs": definitions});
    assert_eq!(Schema::compile(&schema.to_string()).unwrap_err(), SchemaError::TooLarge);
}

#[rstest]
#[case::itself(json!({"$ref": "#"}))]
#[case::two_that_name_each_other(json!({"$ref": "#/$defs/a",
    "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}))]
#[case::a_tree(json!({"type": "object",
    "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}, "additionalProperties": false}))]
#[case::branches(json!({"anyOf": [{"properties": {"c": {"$ref": "#"}}, "required": ["x"]},
    {"properties": {"c": {"$ref": "#"}}, "required": ["y"]}]}))]
fn a_schema_that_contains_itself_ends(#[case] schema: Value) {
    let schema = compiled(&schema);
    let deep = (0..100).fold("{}".to_owned(), |inner, _| format!(r#"{{"c":{inner},"Left":{{}}}}"#));
    for text in [r#"{"left":{"Right":{}}}"#, &deep, "{}"] {
        validate(&schema, Some(text), BOTH);
        example::generate(&schema);
    }
}

/// Schemas without nested objects, each with valid arguments.
fn tools() -> impl Strategy<Value = (Value, Value)> {
    let member = prop_oneof![
        any::<i32>().prop_map(|n| (json!({"type": "integer"}), json!(n))),
        any::<bool>().prop_map(|b| (json!({"type": "boolean"}), json!(b))),
        "[a-zA-Z0-9 ,\"{]{0,8}".prop_map(|s| (json!({"type": "string"}), json!(s))),
        prop::collection::vec("[a-z,]{0,4}", 0..3)
            .prop_map(|v| (json!({"type": "array", "items": {"type": "string"}}), json!(v))),
        (prop::collection::btree_set("[a-c]{3,4}", 1..5), any::<prop::sample::Index>()).prop_map(
            |(options, index)| {
                let options: Vec<String> = options.into_iter().collect();
                (json!({"enum": options}), json!(options[index.index(options.len())]))
            }
        ),
    ];
    let members = prop::collection::btree_map(
        "[a-b]{1,2}(_[a-b]|[A-B])?",
        (member, any::<bool>(), any::<bool>()),
        1..6,
    );
    (members, any::<bool>()).prop_map(|(members, open)| {
        let properties: serde_json::Map<String, Value> =
            members.iter().map(|(key, ((schema, _), ..))| (key.clone(), schema.clone())).collect();
        let required: Vec<&String> =
            members.iter().filter(|(_, (_, required, _))| *required).map(|(key, _)| key).collect();
        let schema = json!({"type": "object", "properties": properties, "required": required,
                "additionalProperties": open});
        let given = members.iter().filter(|(_, (_, required, given))| *required || *given);
        let arguments = given.map(|(key, ((_, value), ..))| (key.clone(), value.clone())).collect();
        (schema, Value::Object(arguments))
    })
}

/// Arguments that a model may have written instead.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-c0-9,]{0,4}".prop_map(Value::from),
        Just(json!("true")),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-bA-B]{1,2}(_[a-b])?", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn a_valid_call_never_changes((schema, arguments) in tools()) {
        let schema = compiled(&schema);
        prop_assert!(matches!(validate(&schema, Some(&arguments.to_string()), BOTH),
            Validation::Valid));
        prop_assert_eq!(correct(&schema, &arguments.to_string()), CorrectionResult::NotCorrectable);
    }

    #[test]
    fn a_corrected_call_is_valid_and_what_was_corrected_is_told((schema, _) in tools(),
        written in anything()) {
        let schema = compiled(&schema);
        let text = written.to_string();
        if let CorrectionResult::Corrected { arguments, corrections } = correct(&schema, &text) {
            let value: Value = serde_json::from_str(&arguments).unwrap();
            prop_assert!(schema.accepts(&value));
            prop_assert!(!corrections.is_empty());
            prop_assert!(!schema.accepts(&written));
        }
    }

    // A correction neither drops nor invents a value.
    #[test]
    fn a_correction_keeps_every_leaf((schema, _) in tools(), written in anything()) {
        let schema = compiled(&schema);
        if let CorrectionResult::Corrected { arguments, corrections } = correct(&schema,
            &written.to_string()) {
            let after: Value = serde_json::from_str(&arguments).unwrap();
            let (before, after) = (leaves(&written), leaves(&after));
            prop_assert_eq!(before.len(), after.len());
            let respelled = corrections.iter().filter(|c| c.kind == CorrectionKind::Enum).count();
            let kept = after.iter().filter(|leaf| before.contains(leaf)).count();
            prop_assert!(kept + respelled >= after.len(), "{:?} {:?}", before, after);
        }
    }

    #[test]
    fn a_key_that_two_are_written_as_is_refused(key in "[a-b]{1,3}_[a-b]{1,3}") {
        let schema = compiled(&json!({
            "type": "object", "properties": {&key: {}}, "required": [&key],
            "additionalProperties": false
        }));
        let twice = json!({key.to_uppercase(): 1, key.replace('_', "-"): 1}).to_string();
        prop_assert_eq!(correct(&schema, &twice), CorrectionResult::Ambiguous);
    }

    #[test]
    fn an_option_that_two_could_be_is_refused(word in "[a-f]{3,6}") {
        let schema = compiled(&json!({
            "type": "object",
            "properties": {"o": {"enum": [format!("{word}x"), format!("{word}y")]}}
        }));
        for meant in [word.clone(), format!("{word}z")] {
            prop_assert_eq!(correct(&schema, &json!({"o": meant}).to_string()),
                CorrectionResult::Ambiguous);
        }
    }
}

/// The leaves of a value as text, whatever their type.
fn leaves(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().flat_map(leaves).collect(),
        Value::Object(members) => members.values().flat_map(leaves).collect(),
        Value::String(text) => vec![text.to_lowercase()],
        other => vec![other.to_string()],
    }
}
