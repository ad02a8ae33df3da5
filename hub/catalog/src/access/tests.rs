use std::sync::Arc;

use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::catalog::ToolCatalog;
use crate::fixtures::{config, visibility};

fn caller(json: &Value) -> Principal {
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

/// What the caller sees of files__{get,put} and mail__{get,put} under these rules.
fn seen(rules: &Value, caller: &Principal, view: Option<&str>) -> Vec<String> {
    let visibility = visibility(&["files", "mail"], &["get", "put"], |config| {
        config.access = serde_json::from_value(rules.clone()).unwrap();
        config.filtering.views =
            serde_json::from_value(json!([{"name": "all"}, {"name": "other"}])).unwrap();
    });
    let visible = visibility.visible_tools(view, caller).unwrap();
    visible.tools.iter().map(|tool| tool.exposed.clone()).collect()
}

const ALL: [&str; 4] = ["files__get", "files__put", "mail__get", "mail__put"];

#[rstest]
#[case::no_rules_allow_everything(json!([]), &ALL)]
#[case::a_rule_without_conditions_allows_everything(json!([{}]), &ALL)]
#[case::what_no_rule_allows_is_denied(json!([{"servers": ["mail"]}]), &ALL[2..])]
#[case::by_pattern(json!([{"tools": ["*__put"]}]), &[ALL[1], ALL[3]])]
#[case::server_and_pattern_must_both_hold(json!([{"servers": ["mail"], "tools": ["*__put"]}]), &ALL[3..])]
#[case::rules_add_up(json!([{"servers": ["mail"]}, {"tools": ["files__get"]}]), &[ALL[0], ALL[2], ALL[3]])]
#[case::by_subject(json!([{"when": "caller.sub == 'ann'"}]), &ALL)]
#[case::by_group(json!([{"when": "'dev' in caller.groups", "servers": ["files"]}]), &ALL[..2])]
#[case::by_claim(json!([{"when": "caller.claims.level == 3 && caller.claims.org.name == 'x'"}]), &ALL)]
#[case::a_claim_that_is_not_there_denies(json!([{"when": "caller.claims.missing == 1"}]), &[])]
#[case::an_expression_that_is_no_boolean_denies(json!([{"when": "caller.sub"}]), &[])]
#[case::by_server(json!([{"when": "tool.server == 'mail'"}]), &ALL[2..])]
#[case::by_name(json!([{"when": "tool.name.endsWith('__get')"}]), &[ALL[0], ALL[2]])]
#[case::macros_work(json!([{"when": "caller.groups.exists(g, g == tool.server)"}]), &ALL[..2])]
#[case::negation_is_not_fooled_by_errors(json!([{"when": "!(caller.claims.missing == 1)"}]), &[])]
#[case::nobody(json!([{"when": "false"}]), &[])]
fn rules_for_a_known_caller(#[case] rules: Value, #[case] expected: &[&str]) {
    let ann = caller(
        &json!({"sub": "ann", "groups": ["dev", "files"], "claims": {"level": 3, "org": {"name": "x"}}}),
    );
    assert_eq!(seen(&rules, &ann, None), expected);
}

#[test]
fn the_anonymous_caller_has_empty_fields_and_is_no_error() {
    let rules =
        json!([{"when": "caller.sub == '' && caller.groups.size() == 0 && caller.keyName == ''"}]);
    assert_eq!(seen(&rules, &Principal::anonymous(), None), ALL);
    assert!(
        seen(&json!([{"when": "'dev' in caller.groups"}]), &Principal::anonymous(), None)
            .is_empty()
    );
}

#[test]
fn a_rule_can_be_of_one_view() {
    let rules = json!([{"when": "view == 'all'"}]);
    assert_eq!(seen(&rules, &Principal::anonymous(), Some("all")), ALL);
    assert!(seen(&rules, &Principal::anonymous(), Some("other")).is_empty());
    assert!(seen(&rules, &Principal::anonymous(), None).is_empty());
}

#[test]
fn annotations_are_read_as_the_server_wrote_them_and_none_are_an_empty_object() {
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
    "uses \"user\", which is not there; there are caller, tool, view"
)]
#[case::unknown_field(
    "caller.name == 'a'",
    "uses caller.name, which is not there; there are sub, claims, groups, keyName"
)]
#[case::misspelt_in_has(
    "has(tool.anotations)",
    "uses tool.anotations, which is not there; there are server, name, annotations"
)]
#[case::field_of_a_text("view.name == 'a'", "uses view.name, which is not there; it is a text")]
#[case::nested(
    "[1].all(a, [1].all(b, [1].all(c, true)))",
    "nests macros more than 2 deep; write it with fewer"
)]
fn a_wrong_expression_is_refused_with_what_to_write(#[case] text: &str, #[case] expected: &str) {
    let error = Expression::compile(text).unwrap_err();
    assert!(error.starts_with(expected), "{error}");
    assert!(!error.contains('\n'), "{error}");
}

#[test]
fn a_huge_expression_a_deep_one_and_huge_claims_are_refused() {
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
    let huge = caller(&json!({"claims": {"x": "a".repeat(40_000)}}));
    assert!(seen(&json!([{"when": "true"}]), &huge, None).is_empty());
    assert_eq!(seen(&json!([{}]), &huge, None), ALL);
}

// Stack that is out takes the process down with all its callers.
#[rstest]
#[case::brackets(format!("{}true{}", "(".repeat(16), ")".repeat(16)))]
#[case::conditions("true ? ".repeat(16) + "true" + &" : true".repeat(16))]
#[case::sums(format!("0 <= {}1", "1+".repeat(500)))]
#[case::conjunctions(format!("{}true", "true&&".repeat(168)))]
#[case::negations(format!("{}true", "!".repeat(1000)))]
#[case::signs(format!("{}1 > 0 || true", "-".repeat(1000)))]
#[case::selections(format!("has(caller.claims{}) || true", ".a".repeat(490)))]
#[case::indexes(format!("caller.claims{} || true", "['a']".repeat(190)))]
fn the_deepest_expressions_that_are_taken_end(#[case] text: String) {
    let rules = json!([{"when": text}]);
    let allowed = seen(&rules, &Principal::anonymous(), None).len();
    assert!(Expression::compile(&text).is_err() || allowed <= 4, "it ends");
}

// Asking for each of ten thousand tools where the answer cannot differ makes a list take tens of milliseconds.
#[rstest]
#[case("caller.sub == 'a' && view == ''", DependsOn::Caller)]
#[case("tool.server in caller.groups", DependsOn::Server)]
#[case("has(tool.annotations.x)", DependsOn::Tool)]
#[case("[tool].size() == 1", DependsOn::Tool)]
#[case("caller.groups.exists(tool, tool == 'a')", DependsOn::Caller)]
fn an_expression_is_asked_as_often_as_its_answer_can_differ(
    #[case] text: &str,
    #[case] expected: DependsOn,
) {
    assert_eq!(Expression::compile(text).unwrap().depends_on(), expected);
}

#[test]
fn a_rule_that_does_not_compile_allows_nothing_and_the_first_that_allows_is_named() {
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
