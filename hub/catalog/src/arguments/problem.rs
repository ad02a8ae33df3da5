//! What is wrong with arguments, in a line each. Values of the caller are not repeated: answers are logged by clients.

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use serde_json::Value;

use super::fixes::path_of;
use super::place::Place;
use super::schema::Schema;
use super::spelling::normalized;
use super::text::{self, Path};

/// Most problems that are told.
pub const MOST: usize = 8;
const LONGEST: usize = 200;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub(super) path: Path,
    pub(super) what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// This member is missing.
    Missing(String),
    /// This member is not known, and was perhaps meant as that.
    Unknown(String, Option<String>),
    /// It must have one of these types and has that.
    Type(Vec<String>, &'static str),
    /// It must be one of the values that the schema lists.
    Choice,
    /// It fits none of several forms.
    Form,
    /// Anything else, in the words of the validator, which say "value" for the value.
    Other(String),
}

/// What is wrong, the first [`MOST`].
pub(super) fn of(schema: &Schema, value: &Value) -> Vec<Problem> {
    let mut problems: Vec<Problem> = Vec::new();
    for error in schema.errors(value) {
        for problem in of_error(schema.root(), value, &error) {
            if problems.len() < MOST && !problems.contains(&problem) {
                problems.push(problem);
            }
        }
        if problems.len() >= MOST {
            break;
        }
    }
    problems
}

fn of_error(root: &Value, value: &Value, error: &ValidationError<'_>) -> Vec<Problem> {
    let path = path_of(error);
    let what = match error.kind() {
        ValidationErrorKind::Required { property } => {
            What::Missing(property.as_str().unwrap_or_default().to_owned())
        }
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            let declared = Place::at(root, &path).declared();
            let meant = |key: &String| {
                let mut same =
                    declared.keys().filter(|declared| normalized(declared) == normalized(key));
                same.next().map(|&declared| declared.to_owned())
            };
            let unknown = unexpected.iter().map(|key| What::Unknown(shortened(key), meant(key)));
            return unknown.map(|what| Problem { path: path.clone(), what }).collect();
        }
        ValidationErrorKind::Type { kind } => {
            let types = match kind {
                TypeKind::Single(only) => vec![only.to_string()],
                TypeKind::Multiple(several) => several.iter().map(|one| one.to_string()).collect(),
            };
            What::Type(types, type_of(error.instance()))
        }
        ValidationErrorKind::Enum { .. } | ValidationErrorKind::Constant { .. } => What::Choice,
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            return of_branches(root, value, path, context);
        }
        _ => What::Other(shortened(&error.masked().to_string())),
    };
    vec![Problem { path, what }]
}

/// Of several forms, the one whose type is right is the one that was meant.
fn of_branches(
    root: &Value,
    value: &Value,
    path: Path,
    context: &[Vec<ValidationError<'static>>],
) -> Vec<Problem> {
    let is_other_type = |error: &ValidationError<'_>| {
        matches!(error.kind(), ValidationErrorKind::Type { .. }) && path_of(error) == path
    };
    let is_null = |error: &ValidationError<'_>| {
        matches!(
            error.kind(),
            ValidationErrorKind::Type { kind: TypeKind::Single(jsonschema::JsonType::Null) }
        )
    };
    let only = |fits: &dyn Fn(&Vec<ValidationError<'static>>) -> bool| {
        let mut found = context.iter().filter(|errors| fits(errors));
        found.next().filter(|_| found.next().is_none())
    };
    let meant = only(&|errors| !errors.iter().any(is_other_type))
        .or_else(|| only(&|errors| !errors.iter().any(is_null)));
    if let Some(errors) = meant {
        return errors.iter().flat_map(|error| of_error(root, value, error)).collect();
    }
    let errors = || context.iter().flatten();
    let what = if errors().all(|error| {
        matches!(
            error.kind(),
            ValidationErrorKind::Constant { .. } | ValidationErrorKind::Enum { .. }
        )
    }) {
        What::Choice
    } else if errors().all(is_other_type) {
        let types = Place::at(root, &path).types().into_iter().map(str::to_owned).collect();
        What::Type(types, errors().next().map_or("value", |error| type_of(error.instance())))
    } else {
        What::Form
    };
    vec![Problem { path, what }]
}

impl Problem {
    /// Which argument; empty for all of them.
    pub fn argument(&self) -> String {
        text::written(&self.path)
    }

    /// A line for whoever knows the schema.
    pub fn line(&self) -> String {
        let here = match self.argument() {
            whole if whole.is_empty() => "the arguments".to_owned(),
            argument => format!("\"{argument}\""),
        };
        let member = |key: &str| {
            let path: Path =
                self.path.iter().cloned().chain([text::Step::Key(key.to_owned())]).collect();
            text::written(&path)
        };
        match &self.what {
            What::Missing(key) => format!("\"{}\" is missing", member(key)),
            What::Unknown(key, None) => format!("\"{}\" is not known", member(key)),
            What::Unknown(key, Some(meant)) => {
                format!("\"{}\" is not known; write \"{meant}\"", member(key))
            }
            What::Type(types, found) => {
                format!("{here} must be {}, not {found}", types.join(" or "))
            }
            What::Choice => format!("{here} is none of the allowed values"),
            What::Form => format!("{here} has none of the allowed forms"),
            What::Other(reason) => format!("{here}: {reason}"),
        }
    }
}

/// What is told without enhanced errors: what is wrong, in one line.
pub fn message(tool: &str, problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(Problem::line).collect();
    format!("Invalid arguments for {tool}: {}", lines.join("; "))
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
