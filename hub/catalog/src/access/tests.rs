use std::sync::Arc;

use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::catalog::ToolCatalog;
use crate::fixtures::{config, visibility};

fn principal(json: &Value) -> Principal {
    let texts = |value: &Value| {
        value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|v| Some(v.as_str()?.to_owned()))
            .collect()
    };
    Principal {
        sub: json["sub"].as_str().unwrap_or_default().to_owned(),
        claims: json["claims"].as_object().cloned().unwrap_or_default(),
        groups: texts(&json["groups"]),
        key_name: json["keyName"].as_str().unwrap_or_default().to_owned(),
    }
}

/// Which of files__{get,put} and mail__{get,put} the principal sees under these rules.
fn visible_names(rules: &Value, principal: &Principal, view: Option<&str>) -> Vec<String> {
    let visibility = visibility(&["files", "mail"], &["get", "put"], |config| {
        config.access = serde_json::from_value(rules.clone()).unwrap();
        config.filtering.views =
            serde_json::from_value(json!([{"name": "all"}, {"name": "other"}])).unwrap();
    });
    let visible = visibility.visible_tools(view, principal).unwrap();
    visible.tools.iter().map(|tool| tool.exposed.clone()).collect()
}

const ALL: [&str; 4] = ["files__get", "files__put", "mail__get", "mail__put"];

#[rstest]
#[case::no_rules_allow_everything(json!([]), &ALL)]
#[case::a_rule_without_conditions_allows_everything(json!([{}]), &ALL)]
#[case::a_tool_that_no_rule_allows_is_denied(json!([{"servers": ["mail"]}]), &ALL[2..])]
#[case::by_pattern(json!([{"tools": ["*__put"]}]), &[ALL[1], ALL[3]])]
#[case::server_and_pattern_must_both_hold(json!([{"servers": ["mail"], "tools": ["*__put"]}]),
    &ALL[3..])]
#[case::rules_add_up(json!([{"servers": ["mail"]}, {"tools": ["files__get"]}]),
    &[ALL[0], ALL[2], ALL[3]])]
#[case::by_subject(json!([{"when": "caller.sub == 'ann'"}]), &ALL)]
#[case::by_group(json!([{"when": "'dev' in caller.groups", "servers": ["files"]}]), &ALL[..2])]
#[case::by_claim(json!([{"when": "caller.claims.level == 3 && caller.claims.org.name == 'x'"}]),
    &ALL)]
#[case::a_missing_claim_denies(json!([{"when": "caller.claims.missing == 1"}]), &[])]
#[case::an_expression_that_is_not_a_boolean_denies(json!([{"when": "caller.sub"}]), &[])]
#[case::by_server(json!([{"when": "tool.server == 'mail'"}]), &ALL[2..])]
#[case::by_name(json!([{"when": "tool.name.endsWith('__get')"}]), &[ALL[0], ALL[2]])]
#[case::macros_work(json!([{"when": "caller.groups.exists(g, g == tool.server)"}]), &ALL[..2])]
#[case::the_negation_of_an_error_denies(json!([{"when": "!(caller.claims.missing == 1)"}]), &[])]
#[case::a_rule_for_nobody(json!([{"when": "false"}]), &[])]
fn the_tools_of_a_known_principal(#[case] rules: Value, #[case] expected: &[&str]) {
    let ann = principal(&json!({"sub": "ann", "groups": ["dev", "files"],
            "claims": {"level": 3, "org": {"name": "x"}}}));
    assert_eq!(visible_names(&rules, &ann, None), expected);
}

#[test]
fn the_fields_of_the_anonymous_principal_are_empty_and_no_error() {
    let rules =
        json!([{"when": "caller.sub == '' && caller.groups.size() == 0 && caller.keyName == ''"}]);
    assert_eq!(visible_names(&rules, &Principal::anonymous(), None), ALL);
    assert!(
        visible_names(&json!([{"when": "'dev' in caller.groups"}]), &Principal::anonymous(), None)
            .is_empty()
    );
}

#[test]
fn a_rule_can_apply_to_one_view() {
    let rules = json!([{"when": "view == 'all'"}]);
    assert_eq!(visible_names(&rules, &Principal::anonymous(), Some("all")), ALL);
    assert!(visible_names(&rules, &Principal::anonymous(), Some("other")).is_empty());
    assert!(visible_names(&rules, &Principal::anonymous(), None).is_empty());
}

#[test]
fn missing_annotations_are_an_empty_object() {
    let define = |text: &str| crate::catalog::Definition {
        name: text[9..10].to_owned(),
        text: text.to_owned(),
    };
    let texts = [
        r#"{"name":"a","annotations":{"readOnlyHint":true}}"#,
        r#"{"name":"b","annotations":{"readOnlyHint":false}}"#,
        r#"{"name":"c"}"#,
        r#"{"name":"d","annotations":7}"#,
    ];
    let list =
        crate::catalog::ServerList { definitions: texts.map(define).into(), ..Default::default() };
    let catalog = ToolCatalog::new(&config(&["s"]), &[Some(Arc::new(list))]);
    let rule = |when: &str| [AccessRule { when: when.into(), ..AccessRule::default() }];
    let allowed = |when: &str| {
        Access::new(&rule(when), &catalog).allowed(&catalog, &Principal::anonymous(), None)
    };
    assert_eq!(
        allowed("has(tool.annotations.readOnlyHint) && tool.annotations.readOnlyHint"),
        [true, false, false, false]
    );
    assert_eq!(allowed("tool.annotations.readOnlyHint"), [true, false, false, false]);
}

#[rstest]
#[case::syntax("caller.sub ==", "is not CEL: ")]
#[case::empty_call("(", "is not CEL: ")]
#[case::unknown_variable(
    "user.sub == 'a'",
    "uses \"user\", which does not exist; use caller, tool, view"
)]
#[case::unknown_field(
    "caller.name == 'a'",
    "uses caller.name, which does not exist; use sub, claims, groups, keyName"
)]
#[case::misspelled_in_has(
    "has(tool.anotations)",
    "uses tool.anotations, which does not exist; use server, name, annotations"
)]
#[case::field_of_a_string(
    "view.name == 'a'",
    "uses view.name, which does not exist; it is a string"
)]
#[case::nested(
    "[1].all(a, [1].all(b, [1].all(c, true)))",
    "nests macros more than 2 deep; write it with fewer"
)]
fn the_error_for_an_invalid_expression_says_what_to_write(
    #[case] text: &str,
    #[case] expected: &str,
) {
    let error = Expression::compile(text).unwrap_err();
    assert!(error.starts_with(expected), "{error}");
    assert!(!error.contains('\n'), "{error}");
}

#[test]
fn huge_expressions_deep_expressions_and_huge_claims_are_rejected() {
    assert!(
        Expression::compile(&format!("'{}' == ''", "a".repeat(3000)))
            .unwrap_err()
            .contains("at most 1024")
    );
    let nested =
        Expression::compile(&format!("{}true{}", "(".repeat(300), ")".repeat(300))).unwrap_err();
    assert_eq!(
        nested,
        "nests brackets or conditions more than 16 deep; split it into several rules"
    );
    assert!(Expression::compile(&"true?true:".repeat(40)).unwrap_err().starts_with("nests"));
    let huge = principal(&json!({"claims": {"x": "a".repeat(40_000)}}));
    assert!(visible_names(&json!([{"when": "true"}]), &huge, None).is_empty());
    assert_eq!(visible_names(&json!([{}]), &huge, None), ALL);
}

// A stack overflow aborts the process and every request in it.
#[rstest]
#[case::brackets(format!("{}true{}", "(".repeat(16), ")".repeat(16)))]
#[case::conditions("true ? ".repeat(16) + "true" + &" : true".repeat(16))]
#[case::sums(format!("0 <= {}1", "1+".repeat(500)))]
#[case::conjunctions(format!("{}true", "true&&".repeat(168)))]
#[case::negations(format!("{}true", "!".repeat(1000)))]
#[case::signs(format!("{}1 > 0 || true", "-".repeat(1000)))]
#[case::selections(format!("has(caller.claims{}) || true", ".a".repeat(490)))]
#[case::indexes(format!("caller.claims{} || true", "['a']".repeat(190)))]
fn evaluating_the_deepest_allowed_expressions_ends(#[case] text: String) {
    let rules = json!([{"when": text}]);
    let allowed = visible_names(&rules, &Principal::anonymous(), None).len();
    assert!(Expression::compile(&text).is_err() || allowed <= 4, "it ends");
}

// Evaluating an expression for each of 10,000 tools, although its value cannot differ, takes tens
// of milliseconds.
#[rstest]
#[case("caller.sub == 'a' && view == ''", DependsOn::Caller)]
#[case("tool.server in caller.groups", DependsOn::Server)]
#[case("has(tool.annotations.x)", DependsOn::Tool)]
#[case("[tool].size() == 1", DependsOn::Tool)]
#[case("caller.groups.exists(tool, tool == 'a')", DependsOn::Caller)]
fn the_dependencies_of_an_expression_are_known(#[case] text: &str, #[case] expected: DependsOn) {
    assert_eq!(Expression::compile(text).unwrap().depends_on(), expected);
}

#[test]
fn a_rule_that_does_not_compile_allows_nothing_and_the_first_allowing_rule_is_found() {
    let catalog = ToolCatalog::new(&config(&["s"]), &[Some(crate::fixtures::list(&["a"]))]);
    let rule = |when: &str| AccessRule { when: when.into(), ..AccessRule::default() };
    let access = Access::new(&[rule("("), rule("caller.sub == 'x'"), rule("true")], &catalog);
    let first = |sub: &str| {
        access.first_allowing(
            0,
            &catalog,
            &Principal { sub: sub.into(), ..Principal::default() },
            None,
        )
    };
    assert_eq!((first("x"), first("y")), (Some(1), Some(2)));
}
