//! Corrects arguments that are wrong in only one way. A correction loses nothing and guesses
//! nothing: arguments that could mean two things stay as they are, and so do arguments that would
//! still be invalid afterwards.

use mcphub_hub_protocol::json_splice::{self, Edits};
use serde_json::Value;

pub use super::fix::{Correction, CorrectionKind};
use super::fix::{Fix, PossibleFixes};
use super::fixes;
use super::schema::Schema;
use super::text;

/// Longer arguments are not corrected.
const MAX_BYTES: usize = 64 << 10;
/// Each fix may uncover another error. A call that needs more rounds was not meant for this tool.
const MAX_ROUNDS: usize = 8;
/// Most errors that one round fixes.
const MAX_ERRORS: usize = 128;
/// Most validations for one call.
const MAX_VALIDATIONS: usize = 48;

/// The result of correcting invalid arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorrectionResult {
    /// The arguments are valid now.
    Corrected {
        /// The corrected arguments as JSON text.
        arguments: String,
        corrections: Vec<Correction>,
    },
    /// The arguments could mean two things.
    Ambiguous,
    /// No correction without loss makes the arguments valid.
    NotCorrectable,
}

/// Corrects invalid arguments. Valid ones are [`CorrectionResult::NotCorrectable`]: there is
/// nothing to correct.
pub fn correct(schema: &Schema, arguments: &str) -> CorrectionResult {
    if arguments.len() > MAX_BYTES {
        return CorrectionResult::NotCorrectable;
    }
    let start = Attempt { text: arguments.to_owned(), corrections: Vec::new() };
    let mut validations = MAX_VALIDATIONS;
    match start.run(schema, MAX_ROUNDS, &mut validations) {
        AttemptResult::Valid(attempt) if attempt.corrections.is_empty() => {
            CorrectionResult::NotCorrectable
        }
        AttemptResult::Valid(attempt) => {
            match attempt.with_other_spellings(schema, &mut validations) {
                Some(Attempt { text, corrections }) => {
                    CorrectionResult::Corrected { arguments: text, corrections }
                }
                None => CorrectionResult::Ambiguous,
            }
        }
        AttemptResult::Ambiguous => CorrectionResult::Ambiguous,
        AttemptResult::Stuck => CorrectionResult::NotCorrectable,
    }
}

/// The member of a result's `_meta` that reports corrections of the call.
const META_KEY: &str = "mcphub.dev/corrections";

/// Adds the corrections of a call to the `_meta` of its result. Everything else stays byte for
/// byte.
pub fn add_to_result(result: &str, corrections: &[Correction]) -> String {
    // Cannot fail for these types.
    let list = serde_json::to_string(corrections).unwrap_or_default();
    let members = json_splice::members(result).unwrap_or_default();
    let Some(meta) =
        members.iter().find(|member| member.key == "_meta" && member.value.starts_with('{'))
    else {
        return Edits::new(result)
            .insert("_meta", &format!("{{{}:{list}}}", json_splice::quoted(META_KEY)))
            .finish();
    };
    let inside = json_splice::members(meta.value).unwrap_or_default();
    let edited = match inside.iter().find(|member| member.key == META_KEY) {
        // A server must not forge what the hub reports.
        Some(same) => Edits::new(meta.value).replace(same.value, list).finish(),
        None => Edits::new(meta.value).insert(META_KEY, &list).finish(),
    };
    Edits::new(result).replace(meta.value, edited).finish()
}

/// Arguments that are being corrected.
#[derive(Clone)]
struct Attempt {
    text: String,
    corrections: Vec<Correction>,
}

enum AttemptResult {
    Valid(Attempt),
    Ambiguous,
    Stuck,
}

impl Attempt {
    /// Fixes errors until the arguments are valid, or until nothing can be fixed.
    fn run(mut self, schema: &Schema, rounds: usize, validations: &mut usize) -> AttemptResult {
        for left in (0..rounds).rev() {
            let Some(rest) = validations.checked_sub(1) else { return AttemptResult::Stuck };
            *validations = rest;
            let Ok(value) = serde_json::from_str::<Value>(&self.text) else {
                return AttemptResult::Stuck;
            };
            let mut sure = Vec::new();
            let mut ways = None;
            let mut errors = schema.errors(&value).peekable();
            if errors.peek().is_none() {
                drop(errors);
                return AttemptResult::Valid(self);
            }
            for error in errors.take(MAX_ERRORS) {
                match fixes::possible_fixes(schema.root(), &self.text, &error) {
                    PossibleFixes::One(fixes) => sure.extend(fixes),
                    PossibleFixes::Several(several) => ways = ways.or(Some(several)),
                    PossibleFixes::Ambiguous => return AttemptResult::Ambiguous,
                    PossibleFixes::None => {}
                }
            }
            if self.apply(sure) {
                continue;
            }
            return match ways {
                Some(ways) => self.only_way(schema, ways, left, validations),
                None => AttemptResult::Stuck,
            };
        }
        AttemptResult::Stuck
    }

    /// The only one of these ways that ends in valid arguments.
    fn only_way(
        &self,
        schema: &Schema,
        ways: Vec<Vec<Fix>>,
        rounds: usize,
        validations: &mut usize,
    ) -> AttemptResult {
        let mut valid: Option<Attempt> = None;
        for way in ways {
            let mut attempt = self.clone();
            if !attempt.apply(way) {
                continue;
            }
            match attempt.run(schema, rounds, validations) {
                AttemptResult::Valid(found) => match &valid {
                    Some(known) if known.text != found.text => return AttemptResult::Ambiguous,
                    _ => valid = Some(found),
                },
                AttemptResult::Ambiguous => return AttemptResult::Ambiguous,
                AttemptResult::Stuck => {}
            }
        }
        // If the validations ran out, a way that was not tried may be valid too.
        if *validations == 0 {
            AttemptResult::Stuck
        } else {
            valid.map_or(AttemptResult::Stuck, AttemptResult::Valid)
        }
    }

    /// Makes every fix that does not overlap with an earlier one. Returns false if there was none.
    fn apply(&mut self, fixes: Vec<Fix>) -> bool {
        let mut edits: Vec<text::Edit> = Vec::new();
        for fix in fixes {
            let touches = |edit: &text::Edit| edits.iter().any(|earlier| overlap(earlier, edit));
            if fix.edits.is_empty() || fix.edits.iter().any(touches) {
                continue;
            }
            edits.extend(fix.edits);
            self.corrections.extend(fix.corrections);
        }
        if edits.is_empty() {
            return false;
        }
        self.text = text::apply_edits(&self.text, &edits);
        true
    }

    /// Corrects the spelling of keys that the schema allows, because it allows any key, but that
    /// are meant as declared ones. This is done only in a call that needed another correction:
    /// otherwise the server would get half of what was meant. `None` if the arguments are not valid
    /// afterwards.
    fn with_other_spellings(self, schema: &Schema, validations: &mut usize) -> Option<Self> {
        let fixes = fixes::other_spellings(schema.root(), &self.text);
        if fixes.is_empty() {
            return Some(self);
        }
        let mut better = self;
        better.apply(fixes);
        match better.run(schema, MAX_ROUNDS, validations) {
            AttemptResult::Valid(attempt) => Some(attempt),
            AttemptResult::Ambiguous | AttemptResult::Stuck => None,
        }
    }
}

fn overlap(a: &text::Edit, b: &text::Edit) -> bool {
    let inserts_at_one_place = a.range.is_empty() && b.range.is_empty() && a.range == b.range;
    inserts_at_one_place || (a.range.start < b.range.end && b.range.start < a.range.end)
        // An insert at the edge of a removed part would end up in the wrong object.
        || (a.range.is_empty() && b.range.start <= a.range.start && a.range.start < b.range.end)
        || (b.range.is_empty() && a.range.start <= b.range.start && b.range.start < a.range.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corrections_are_added_to_the_meta_of_the_result() {
        let corrections = [Correction {
            kind: CorrectionKind::Key,
            path: "a".into(),
            from: Some("A".into()),
            to: Some("a".into()),
        }];
        let list = r#"[{"kind":"key","path":"a","from":"A","to":"a"}]"#;
        assert_eq!(
            add_to_result(r#"{"content":[1e400]}"#, &corrections),
            format!(r#"{{"_meta":{{"mcphub.dev/corrections":{list}}},"content":[1e400]}}"#)
        );
        assert_eq!(
            add_to_result(r#"{ "_meta" : {"x":1}}"#, &corrections),
            format!(r#"{{ "_meta" : {{"mcphub.dev/corrections":{list},"x":1}}}}"#)
        );
        assert_eq!(
            add_to_result(r#"{"_meta":{"mcphub.dev/corrections":"forged"}}"#, &corrections),
            format!(r#"{{"_meta":{{"mcphub.dev/corrections":{list}}}}}"#)
        );
    }
}
