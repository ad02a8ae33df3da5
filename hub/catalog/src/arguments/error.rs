//! Errors in arguments, one line each. They never contain values of the caller, because clients log
//! results.

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use serde_json::Value;

use super::schema::Schema;
use super::spelling::normalized;
use super::subschemas::Subschemas;
use super::text::{self, Path, error_path};

/// Most errors that one result reports.
const MAX_ERRORS: usize = 8;
/// Most characters of a text that an error quotes.
const MAX_QUOTE: usize = 200;

/// An error in the arguments of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgumentError {
    pub(super) path: Path,
    pub(super) kind: ErrorKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ErrorKind {
    /// A required member is missing.
    Missing(String),
    /// A member is unknown, and perhaps a declared one was meant.
    Unknown(String, Option<String>),
    /// The expected types, and the actual one.
    Type(Vec<String>, &'static str),
    /// The value is not in the enum.
    Enum,
    /// The value matches no branch of a composition.
    Composition,
    /// Any other error, as the validator says it; the value is masked.
    Other(String),
}

/// The first [`MAX_ERRORS`] errors of a value.
pub(super) fn find_errors(schema: &Schema, value: &Value) -> Vec<ArgumentError> {
    let mut errors: Vec<ArgumentError> = Vec::new();
    for violation in schema.errors(value) {
        for error in from_validator(schema.root(), &violation) {
            if errors.len() < MAX_ERRORS && !errors.contains(&error) {
                errors.push(error);
            }
        }
        if errors.len() >= MAX_ERRORS {
            break;
        }
    }
    errors
}

fn from_validator(root: &Value, error: &ValidationError<'_>) -> Vec<ArgumentError> {
    let path = error_path(error);
    let kind = match error.kind() {
        ValidationErrorKind::Required { property } => {
            ErrorKind::Missing(property.as_str().unwrap_or_default().to_owned())
        }
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            let declared = Subschemas::at(root, &path).properties();
            let suggestion = |key: &String| {
                let mut same =
                    declared.keys().filter(|declared| normalized(declared) == normalized(key));
                same.next().map(|&declared| declared.to_owned())
            };
            let unknown =
                unexpected.iter().map(|key| ErrorKind::Unknown(shorten(key), suggestion(key)));
            return unknown.map(|kind| ArgumentError { path: path.clone(), kind }).collect();
        }
        ValidationErrorKind::Type { kind } => {
            let types = match kind {
                TypeKind::Single(only) => vec![only.to_string()],
                TypeKind::Multiple(several) => several.iter().map(|one| one.to_string()).collect(),
            };
            ErrorKind::Type(types, type_of(error.instance()))
        }
        ValidationErrorKind::Enum { .. } | ValidationErrorKind::Constant { .. } => ErrorKind::Enum,
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            return from_branches(root, path, context);
        }
        _ => ErrorKind::Other(shorten(&error.masked().to_string())),
    };
    vec![ArgumentError { path, kind }]
}

/// The errors of the branch that was meant: the only one whose type matches, or else the only one
/// that is not null.
fn from_branches(
    root: &Value,
    path: Path,
    context: &[Vec<ValidationError<'static>>],
) -> Vec<ArgumentError> {
    let is_other_type = |error: &ValidationError<'_>| {
        matches!(error.kind(), ValidationErrorKind::Type { .. }) && error_path(error) == path
    };
    let is_null = |error: &ValidationError<'_>| {
        matches!(
            error.kind(),
            ValidationErrorKind::Type { kind: TypeKind::Single(jsonschema::JsonType::Null) }
        )
    };
    let only = |fits: &dyn Fn(&Vec<ValidationError<'static>>) -> bool| {
        let mut branches = context.iter().filter(|errors| fits(errors));
        branches.next().filter(|_| branches.next().is_none())
    };
    let intended = only(&|errors| !errors.iter().any(is_other_type))
        .or_else(|| only(&|errors| !errors.iter().any(is_null)));
    if let Some(errors) = intended {
        return errors.iter().flat_map(|error| from_validator(root, error)).collect();
    }
    let errors = || context.iter().flatten();
    let kind = if errors().all(|error| {
        matches!(
            error.kind(),
            ValidationErrorKind::Constant { .. } | ValidationErrorKind::Enum { .. }
        )
    }) {
        ErrorKind::Enum
    } else if errors().all(is_other_type) {
        let types = Subschemas::at(root, &path).types().into_iter().map(str::to_owned).collect();
        ErrorKind::Type(types, errors().next().map_or("value", |error| type_of(error.instance())))
    } else {
        ErrorKind::Composition
    };
    vec![ArgumentError { path, kind }]
}

impl ArgumentError {
    /// The path of the argument; empty for the arguments as a whole.
    fn argument(&self) -> String {
        text::format_path(&self.path)
    }

    /// One line for a reader who knows the schema.
    pub fn line(&self) -> String {
        let here = match self.argument() {
            whole if whole.is_empty() => "the arguments".to_owned(),
            argument => format!("\"{argument}\""),
        };
        let member = |key: &str| {
            let key = text::PathSegment::Key(key.to_owned());
            let path: Path = self.path.iter().cloned().chain([key]).collect();
            text::format_path(&path)
        };
        match &self.kind {
            ErrorKind::Missing(key) => format!("\"{}\" is missing", member(key)),
            ErrorKind::Unknown(key, None) => format!("\"{}\" is unknown", member(key)),
            ErrorKind::Unknown(key, Some(declared)) => {
                format!("\"{}\" is unknown; write \"{declared}\"", member(key))
            }
            ErrorKind::Type(types, actual) => {
                format!("{here} must be {}, not {actual}", types.join(" or "))
            }
            ErrorKind::Enum => format!("{here} is none of the allowed values"),
            ErrorKind::Composition => format!("{here} matches none of the allowed forms"),
            ErrorKind::Other(reason) => format!("{here}: {reason}"),
        }
    }
}

/// The message without enhanced errors: all errors in one line.
pub fn message(tool: &str, errors: &[ArgumentError]) -> String {
    let lines: Vec<String> = errors.iter().map(ArgumentError::line).collect();
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

pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTE) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
