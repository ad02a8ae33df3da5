//! What a tool's schema says of a call's arguments: whether they are valid, what they were meant to be, and what to
//! tell the model that wrote them.
//!
//! [`schema`] compiles what a definition has and bounds what it may cost; [`cache`] keeps it. [`correction`] repairs
//! what is wrong in one way only, in the bytes that came in. [`problem`] says what is wrong in a line each,
//! [`explain`] with what would be right. [`place`] is what a schema says of one place in the arguments.

pub mod cache;
pub mod correction;
pub mod example;
pub mod explain;
mod fixes;
pub mod place;
pub mod problem;
pub mod schema;
mod spelling;
mod text;

use std::borrow::Cow;

use serde_json::Value;

use self::correction::Correction;
use self::problem::Problem;
use self::schema::Schema;
pub(crate) use self::text::members;

/// What is done with the arguments of calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rules {
    /// Invalid ones are refused.
    pub validate: bool,
    /// Those that are wrong in one way only are corrected.
    pub correct: bool,
}

/// How arguments stand to a schema.
#[derive(Debug)]
pub enum Verdict {
    /// They are valid; nothing changes.
    Valid,
    /// They were wrong in one way only.
    Corrected {
        /// Valid arguments; every byte that is not corrected is as it came in.
        arguments: String,
        /// What was changed.
        corrections: Vec<Correction>,
    },
    /// They are wrong.
    Invalid(Vec<Problem>),
    /// Nothing can be said: too deep for this schema, or numbers beyond what this process can hold. They pass.
    Unusable,
}

impl Verdict {
    /// A bounded word for metrics.
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Corrected { .. } => "corrected",
            Self::Invalid(_) => "invalid",
            Self::Unusable => UNUSABLE,
        }
    }
}

/// The one of these words that is meant, in another case or with one letter wrong; `None` for none or more than one.
pub(crate) fn meant<'a>(word: &str, words: &[&'a str]) -> Option<&'a str> {
    spelling::meant(word, words).and_then(spelling::Meant::one)
}

/// The outcome where a schema cannot be used.
pub const UNUSABLE: &str = "unusable";
/// Every outcome.
pub const OUTCOMES: [&str; 4] = ["valid", "corrected", "invalid", UNUSABLE];

/// Judges the arguments of a call, as written; a call without any has `{}`. With no rule on, all that can be parsed is
/// valid.
pub fn judge(schema: &Schema, arguments: Option<&str>, rules: Rules) -> Verdict {
    let text = arguments.filter(|text| *text != "null").map_or(Cow::Borrowed("{}"), Cow::Borrowed);
    if !(rules.validate || rules.correct) {
        return Verdict::Valid;
    }
    let Ok(value) = serde_json::from_str::<Value>(&text) else { return Verdict::Unusable };
    if !schema.bears(&value) {
        return Verdict::Unusable;
    }
    if schema.accepts(&value) {
        return Verdict::Valid;
    }
    if rules.correct
        && let correction::Outcome::Corrected { arguments, corrections } =
            correction::correct(schema, &text)
    {
        return Verdict::Corrected { arguments, corrections };
    }
    Verdict::Invalid(problem::of(schema, &value))
}
