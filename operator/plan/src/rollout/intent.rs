//! Intents: what a person asks for with the annotation `mcphub.dev/intent:
//! <verb>/<revision>/<attempt>`, for `advance` with `/<step>`. A number may follow, so that the
//! same intent can be given again: an annotation that keeps its value asks for nothing new.

use std::fmt;
use std::str::FromStr;

use mcphub_hub_wire::dataplane::{InvalidRevision, Revision};
use serde::{Deserialize, Serialize};

pub const ANNOTATION: &str = "mcphub.dev/intent";

/// One intent. It is ignored when its attempt is over, so that a manifest in git that still has it
/// does nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Intent {
    pub verb: Verb,
    pub revision: Revision,
    /// The attempt of the revision.
    pub attempt: u32,
    /// Tells an intent from the same one that was given before; `None` if it has no number.
    pub serial: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Skip the remaining steps. A trigger that fires is obeyed first, and this is refused then.
    Promote,
    /// Skip the remaining steps regardless of the rules, and ignore the rules afterwards.
    PromoteForce,
    /// Continue after the pause of this step.
    Advance {
        /// The current step, counted from 1.
        step: u32,
    },
    /// Return to stable.
    Abort,
    /// Try a revision again. The attempt is its last one.
    Retry,
    Pause,
    /// Continue.
    Resume,
    /// Return to this promoted revision until the revision of the spec changes.
    RollbackTo,
    /// Give rolled-back flags the values of the spec again.
    ResumeFlags,
}

/// A text that is not an intent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseIntentError {
    /// Parts are missing, or there are too many of them.
    #[error(
        "\"{0}\" is not an intent: write <verb>/<revision>/<attempt>, and for advance \
         advance/<revision>/<attempt>/<step>; to give the same intent again, append /2"
    )]
    Shape(String),
    #[error(
        "\"{0}\" is not a verb; use promote, promote-force, advance, abort, retry, pause, resume, \
         rollback-to or resume-flags"
    )]
    Verb(String),
    #[error(transparent)]
    Revision(#[from] InvalidRevision),
    #[error("\"{0}\" is not a number: attempts and steps count from 1")]
    Number(String),
}

impl FromStr for Intent {
    type Err = ParseIntentError;
    fn from_str(text: &str) -> Result<Self, ParseIntentError> {
        let parts: Vec<&str> = text.trim().split('/').collect();
        let (verb, revision, attempt, rest) = match parts.as_slice() {
            [verb, revision, attempt, rest @ ..] => (*verb, *revision, *attempt, rest),
            _ => return Err(ParseIntentError::Shape(text.into())),
        };
        let (verb, rest) = match (verb, rest) {
            ("advance", [step, rest @ ..]) => (Verb::Advance { step: number(step)? }, rest),
            ("advance", []) => return Err(ParseIntentError::Shape(text.into())),
            ("promote", rest) => (Verb::Promote, rest),
            ("promote-force", rest) => (Verb::PromoteForce, rest),
            ("abort", rest) => (Verb::Abort, rest),
            ("retry", rest) => (Verb::Retry, rest),
            ("pause", rest) => (Verb::Pause, rest),
            ("resume", rest) => (Verb::Resume, rest),
            ("rollback-to", rest) => (Verb::RollbackTo, rest),
            ("resume-flags", rest) => (Verb::ResumeFlags, rest),
            (other, _) => return Err(ParseIntentError::Verb(other.into())),
        };
        let serial = match rest {
            [] => None,
            [serial] => Some(number(serial)?),
            [_, _, ..] => return Err(ParseIntentError::Shape(text.into())),
        };
        Ok(Self { verb, revision: revision.parse()?, attempt: number(attempt)?, serial })
    }
}

fn number(text: &str) -> Result<u32, ParseIntentError> {
    text.parse()
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| ParseIntentError::Number(text.into()))
}

impl Verb {
    /// The verb as in the annotation.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::PromoteForce => "promote-force",
            Self::Advance { .. } => "advance",
            Self::Abort => "abort",
            Self::Retry => "retry",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::RollbackTo => "rollback-to",
            Self::ResumeFlags => "resume-flags",
        }
    }
}

impl fmt::Display for Intent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verb, revision, attempt, serial } = self;
        write!(f, "{}/{revision}/{attempt}", verb.as_str())?;
        if let Verb::Advance { step } = verb {
            write!(f, "/{step}")?;
        }
        serial.map_or(Ok(()), |serial| write!(f, "/{serial}"))
    }
}

impl TryFrom<String> for Intent {
    type Error = ParseIntentError;
    fn try_from(text: String) -> Result<Self, ParseIntentError> {
        text.parse()
    }
}

impl From<Intent> for String {
    fn from(intent: Intent) -> Self {
        intent.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("promote/0a1b2c3d/1")]
    #[case("promote-force/0a1b2c3d/12")]
    #[case("advance/0a1b2c3d/1/2")]
    #[case("abort/0a1b2c3d/1")]
    #[case("retry/0a1b2c3d/1")]
    #[case("pause/0a1b2c3d/1")]
    #[case("resume/0a1b2c3d/1")]
    #[case("rollback-to/0a1b2c3d/1")]
    #[case("resume-flags/0a1b2c3d/1")]
    #[case("resume/0a1b2c3d/1/2")]
    #[case("advance/0a1b2c3d/1/2/3")]
    fn an_intent_is_written_as_it_was_read(#[case] text: &str) {
        assert_eq!(text.parse::<Intent>().unwrap().to_string(), text);
    }

    #[rstest]
    #[case("promote", "\"promote\" is not an intent: write")]
    #[case("advance/0a1b2c3d/1", "is not an intent: write")]
    #[case("abort/0a1b2c3d/1/2/3", "is not an intent: write")]
    #[case("advance/0a1b2c3d/1/2/3/4", "is not an intent: write")]
    #[case("destroy/0a1b2c3d/1", "\"destroy\" is not a verb; use promote,")]
    #[case("promote/0A1B2C3D/1", "\"0A1B2C3D\" is not a revision")]
    #[case("promote/0a1b2c3d/x", "\"x\" is not a number")]
    #[case("promote/0a1b2c3d/0", "\"0\" is not a number")]
    fn a_malformed_intent_is_refused_with_what_to_write(#[case] text: &str, #[case] message: &str) {
        let refused = text.parse::<Intent>().unwrap_err().to_string();
        assert!(refused.contains(message), "{refused}");
    }
}
