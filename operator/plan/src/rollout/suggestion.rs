//! What messages tell a person to do.

use mcphub_hub_wire::dataplane::Revision;

use super::input::EngineInput;
use super::intent::{Intent, Verb};

/// What to do about a revision that was rolled back.
pub(crate) fn advice(input: &EngineInput<'_>, revision: &Revision, attempt: u32) -> String {
    let retry = suggestion(input, Verb::Retry, revision, attempt);
    format!("change the spec, or set the annotation mcphub.dev/intent to {retry}")
}

/// An intent as a message suggests it: never the value that the annotation already has, because
/// setting that again would change nothing.
pub(crate) fn suggestion(
    input: &EngineInput<'_>,
    verb: Verb,
    revision: &Revision,
    attempt: u32,
) -> Intent {
    let plain = Intent { verb, revision: revision.clone(), attempt, serial: None };
    let given = input.intent.as_ref().and_then(|intent| intent.as_ref().ok());
    match given {
        Some(given) if (Intent { serial: None, ..given.clone() }) == plain => {
            let serial = given.serial.unwrap_or(1).wrapping_add(1).max(1);
            Intent { serial: Some(serial), ..plain }
        }
        Some(_) | None => plain,
    }
}
