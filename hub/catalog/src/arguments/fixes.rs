//! For each thing that is wrong, the one lossless way to make it right.

mod keys;
mod values;

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::paths::LocationSegment;
use serde_json::Value;

pub(super) use self::keys::other_spellings;
use super::correction::Correction;
use super::text::{Edit, Path, Step};

/// Edits that belong together.
#[derive(Debug, Clone)]
pub(super) struct Fix {
    pub(super) edits: Vec<Edit>,
    pub(super) made: Vec<Correction>,
}

/// What can be done about one error.
pub(super) enum Found {
    /// This.
    One(Vec<Fix>),
    /// One of these, whichever ends in valid arguments.
    Ways(Vec<Vec<Fix>>),
    /// Too many things.
    Ambiguous,
    /// Nothing.
    None,
}

impl Found {
    fn only(mut fixes: Vec<Fix>) -> Self {
        match fixes.len() {
            0 => Self::None,
            1 => Self::One(fixes.split_off(0)),
            _ => Self::Ambiguous,
        }
    }
}

/// What can be done about an error of these arguments.
pub(super) fn of(root: &Value, text: &str, error: &ValidationError<'_>) -> Found {
    let path = path_of(error);
    match error.kind() {
        ValidationErrorKind::Type { kind } => {
            let types = match kind {
                TypeKind::Single(only) => vec![*only],
                TypeKind::Multiple(several) => several.iter().collect(),
            };
            values::of_type(root, text, &path, &types)
        }
        ValidationErrorKind::Enum { options } => match options.as_array() {
            Some(options) => values::of_choice(text, &path, options),
            None => Found::None,
        },
        ValidationErrorKind::Constant { expected_value } => {
            values::of_choice(text, &path, std::slice::from_ref(expected_value))
        }
        ValidationErrorKind::Required { property } => match property.as_str() {
            Some(key) => keys::missing(root, text, &path, key),
            None => Found::None,
        },
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            keys::unexpected(root, text, &path, unexpected)
        }
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            branches(root, text, context)
        }
        _ => Found::None,
    }
}

/// Where in the arguments the error is.
pub(super) fn path_of(error: &ValidationError<'_>) -> Path {
    error
        .instance_path()
        .iter()
        .map(|segment| match segment {
            LocationSegment::Property(key) => Step::Key(key.into_owned()),
            LocationSegment::Index(index) => Step::Index(index),
        })
        .collect()
}

/// The branches of a composition in which every error has a remedy.
fn branches(root: &Value, text: &str, context: &[Vec<ValidationError<'static>>]) -> Found {
    let mut ways = Vec::new();
    'branches: for errors in context {
        let mut fixes = Vec::new();
        for error in errors {
            match of(root, text, error) {
                Found::One(found) => fixes.extend(found),
                Found::Ways(_) | Found::Ambiguous => return Found::Ambiguous,
                Found::None => continue 'branches,
            }
        }
        if !fixes.is_empty() {
            ways.push(fixes);
        }
    }
    if ways.is_empty() { Found::None } else { Found::Ways(ways) }
}
