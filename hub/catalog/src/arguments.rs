//! Validates the arguments of a call against the tool's schema, corrects them, and says what is
//! wrong.
//!
//! [`schema`] compiles a schema and bounds what it may cost; [`schema_cache`] caches it.
//! [`correction`] corrects arguments that are wrong in only one way, in the original bytes.
//! [`error`] says what is wrong, one line each, and [`advice`] adds what would be right.
//! `subschemas` is what a schema says about one place in the arguments.

pub mod advice;
pub mod correction;
pub mod error;
pub mod example;
mod fix;
mod fixes;
pub mod schema;
pub mod schema_cache;
pub(crate) mod spelling;
mod subschemas;
mod text;

use std::borrow::Cow;

use serde_json::Value;

use self::correction::{Correction, CorrectionResult};
use self::error::ArgumentError;
use self::schema::Schema;
pub(crate) use self::spelling::closest_word;
pub(crate) use self::text::unique_members;

/// What is done with the arguments of calls. With neither, all arguments pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ValidationOptions {
    /// Reject invalid arguments.
    pub validate: bool,
    /// Correct arguments that are wrong in only one way.
    pub correct: bool,
}

/// The result of validating arguments.
#[derive(Debug)]
pub enum Validation {
    Valid,
    /// The arguments were wrong in only one way.
    Corrected {
        /// Valid arguments. Every byte that was not corrected is as it came in.
        arguments: String,
        corrections: Vec<Correction>,
    },
    Invalid(Vec<ArgumentError>),
    /// The arguments cannot be validated: they are too deep for this schema, or have numbers that
    /// this process cannot represent. They pass.
    Unusable,
}

impl Validation {
    /// The label value in metrics.
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Corrected { .. } => "corrected",
            Self::Invalid(_) => "invalid",
            Self::Unusable => UNUSABLE,
        }
    }
}

/// The outcome if the schema or the arguments cannot be used for validation.
pub const UNUSABLE: &str = "unusable";
/// Every outcome.
pub const OUTCOMES: [&str; 4] = ["valid", "corrected", "invalid", UNUSABLE];

/// Validates the arguments of a call, as JSON text. A call without arguments has `{}`.
pub fn validate(
    schema: &Schema,
    arguments: Option<&str>,
    options: ValidationOptions,
) -> Validation {
    let text = arguments.filter(|text| *text != "null").map_or(Cow::Borrowed("{}"), Cow::Borrowed);
    if !(options.validate || options.correct) {
        return Validation::Valid;
    }
    let Ok(value) = serde_json::from_str::<Value>(&text) else { return Validation::Unusable };
    if !schema.can_validate(&value) {
        return Validation::Unusable;
    }
    if schema.accepts(&value) {
        return Validation::Valid;
    }
    if options.correct
        && let CorrectionResult::Corrected { arguments, corrections } =
            correction::correct(schema, &text)
    {
        return Validation::Corrected { arguments, corrections };
    }
    Validation::Invalid(error::find_errors(schema, &value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::correction::CorrectionKind;

    // Dashboards select these label values, and clients read the kinds in `_meta`.
    #[test]
    fn labels_are_pinned() {
        assert_eq!(OUTCOMES, ["valid", "corrected", "invalid", "unusable"]);
        let expected = ["key", "enum", "number", "boolean", "hoist", "array"];
        assert_eq!(CorrectionKind::ALL.map(CorrectionKind::label), expected);
        assert_eq!(
            CorrectionKind::ALL.map(|kind| serde_json::json!(kind)),
            expected.map(Value::from)
        );
    }
}
