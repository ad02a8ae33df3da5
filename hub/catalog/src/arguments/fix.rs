//! A fix of one error in the arguments, and how it is reported.

use serde::Serialize;

use super::text::Edit;

/// What was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CorrectionKind {
    /// A key in another case or style, such as kebab or snake.
    Key,
    /// An enum value in another case, or with one wrong letter.
    Enum,
    /// A number as a string.
    Number,
    /// A boolean as a string.
    Boolean,
    /// A member that was in the wrong object.
    Hoist,
    /// A single value instead of a list.
    Array,
}

impl CorrectionKind {
    pub const ALL: [Self; 6] =
        [Self::Key, Self::Enum, Self::Number, Self::Boolean, Self::Hoist, Self::Array];

    /// The label value in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Enum => "enum",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Hoist => "hoist",
            Self::Array => "array",
        }
    }
}

/// One correction, as the caller sees it. It has no values: the caller knows them, and a log must
/// not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Correction {
    pub kind: CorrectionKind,
    /// Where in the corrected arguments: `options.items[2]`.
    pub path: String,
    /// The original key or enum value, or the path that the member was moved from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The corrected key or enum value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// Edits that belong together.
#[derive(Debug, Clone)]
pub(super) struct Fix {
    pub(super) edits: Vec<Edit>,
    pub(super) corrections: Vec<Correction>,
}

/// The possible fixes of one error.
pub(super) enum PossibleFixes {
    /// There is one way to fix it, with these fixes.
    One(Vec<Fix>),
    /// There are several ways; the only one that ends in valid arguments is right.
    Several(Vec<Vec<Fix>>),
    /// Several fixes are equally likely.
    Ambiguous,
    None,
}

impl PossibleFixes {
    /// The fix, if there is exactly one.
    pub(super) fn exactly_one(mut fixes: Vec<Fix>) -> Self {
        match fixes.len() {
            0 => Self::None,
            1 => Self::One(fixes.split_off(0)),
            _ => Self::Ambiguous,
        }
    }
}
