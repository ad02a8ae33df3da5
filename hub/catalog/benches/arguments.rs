//! The cost of validating and correcting the arguments of a call.

use divan::{Bencher, black_box};
use mcphub_hub_catalog::arguments::schema::Schema;
use mcphub_hub_catalog::arguments::{Validation, ValidationOptions, validate};

const SCHEMA: &str = r#"{
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "properties": {
        "owner": {"type": "string", "description": "Owner of the repository"},
        "repo": {"type": "string"},
        "title": {"type": "string", "minLength": 1},
        "state": {"type": "string", "enum": ["open", "closed", "all"]},
        "labels": {"type": "array", "items": {"type": "string"}},
        "perPage": {"type": "integer", "minimum": 1, "maximum": 100},
        "draft": {"type": "boolean"},
        "filter": {"anyOf": [{"type": "object", "properties": {"since": {"type": "string"}}, "additionalProperties": false}, {"type": "null"}]}
    },
    "required": ["owner", "repo"],
    "additionalProperties": false
}"#;
const VALID: &str = r#"{"owner":"a","repo":"b","state":"open","labels":["x","y"],"perPage":30,"draft":false,"filter":{"since":"2026"}}"#;
const WRONG: &str =
    r#"{"Owner":"a","repo":"b","state":"Open","labels":"x","per_page":"30","draft":"true"}"#;
const RULES: ValidationOptions = ValidationOptions { validate: true, correct: true };

fn main() {
    divan::main();
}

#[allow(clippy::expect_used, reason = "a bench")]
fn schema() -> Schema {
    Schema::compile(SCHEMA).expect("the schema above is one")
}

#[divan::bench]
fn compiling_a_schema() -> Schema {
    schema()
}

#[divan::bench]
fn a_valid_call(bencher: Bencher<'_, '_>) {
    let schema = schema();
    bencher.bench_local(|| validate(&schema, Some(black_box(VALID)), RULES));
}

#[divan::bench]
fn a_call_with_five_mistakes(bencher: Bencher<'_, '_>) {
    let schema = schema();
    assert!(matches!(validate(&schema, Some(WRONG), RULES), Validation::Corrected { .. }));
    bencher.bench_local(|| validate(&schema, Some(black_box(WRONG)), RULES));
}

#[divan::bench]
fn a_call_that_is_beyond_correction(bencher: Bencher<'_, '_>) {
    let schema = schema();
    bencher.bench_local(|| {
        validate(&schema, Some(black_box(r#"{"owner":"a","state":"sideways"}"#)), RULES)
    });
}
