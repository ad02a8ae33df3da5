//! Finds the possible fixes of an error.

mod keys;
mod values;

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use serde_json::Value;

pub(super) use self::keys::other_spellings;
use super::fix::PossibleFixes;
use super::text::error_path;

/// The possible fixes of an error in these arguments. `root` is the schema.
pub(super) fn possible_fixes(
    root: &Value,
    text: &str,
    error: &ValidationError<'_>,
) -> PossibleFixes {
    let path = error_path(error);
    match error.kind() {
        ValidationErrorKind::Type { kind } => {
            let types = match kind {
                TypeKind::Single(only) => vec![*only],
                TypeKind::Multiple(several) => several.iter().collect(),
            };
            values::fix_type(root, text, &path, &types)
        }
        ValidationErrorKind::Enum { options } => match options.as_array() {
            Some(options) => values::fix_enum(text, &path, options),
            None => PossibleFixes::None,
        },
        ValidationErrorKind::Constant { expected_value } => {
            values::fix_enum(text, &path, std::slice::from_ref(expected_value))
        }
        ValidationErrorKind::Required { property } => match property.as_str() {
            Some(key) => keys::fix_missing(root, text, &path, key),
            None => PossibleFixes::None,
        },
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            keys::fix_unexpected(root, text, &path, unexpected)
        }
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            fix_branches(root, text, context)
        }
        _ => PossibleFixes::None,
    }
}

/// The branches of a composition in which every error can be fixed.
fn fix_branches(
    root: &Value,
    text: &str,
    context: &[Vec<ValidationError<'static>>],
) -> PossibleFixes {
    let mut ways = Vec::new();
    'branches: for errors in context {
        let mut fixes = Vec::new();
        for error in errors {
            match possible_fixes(root, text, error) {
                PossibleFixes::One(one) => fixes.extend(one),
                PossibleFixes::Several(_) | PossibleFixes::Ambiguous => {
                    return PossibleFixes::Ambiguous;
                }
                PossibleFixes::None => continue 'branches,
            }
        }
        if !fixes.is_empty() {
            ways.push(fixes);
        }
    }
    if ways.is_empty() { PossibleFixes::None } else { PossibleFixes::Several(ways) }
}
