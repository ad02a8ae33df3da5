//! Arguments that are wrong in one way only, made right. Nothing is lost and nothing is guessed: what could mean two
//! things stays as it is, and so does what would not be valid afterwards.

use serde::Serialize;
use serde_json::Value;

use super::fixes::{self, Fix, Found};
use super::schema::Schema;
use super::text;
use mcphub_hub_protocol::json_splice::{self, Edits};

/// Longer arguments are not corrected.
pub const MAX_BYTES: usize = 64 << 10;
/// Every repair may uncover the next; a call that needs more was not meant for this tool.
const MAX_ROUNDS: usize = 8;
/// Most errors looked at in one round.
const MAX_ERRORS: usize = 128;
/// Most validations for one call.
const MAX_TRIES: usize = 48;

/// What was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A key in another case, kebab or snake.
    Key,
    /// A value in another case, or with one letter wrong.
    Enum,
    /// A number written as a string.
    Number,
    /// A boolean written as a string.
    Boolean,
    /// A member that was one object too deep.
    Hoist,
    /// A single value where a list was wanted.
    Array,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Key, Self::Enum, Self::Number, Self::Boolean, Self::Hoist, Self::Array];

    /// A bounded word for metrics.
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

/// One correction. Values are not in it: the caller knows them, and whoever reads along must not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Correction {
    /// What was wrong.
    pub kind: Kind,
    /// Where, as it is now: `options.items[2]`.
    pub path: String,
    /// What it says instead: the key, the option, or the place that it was moved from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The key or option as it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// What became of invalid arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// They are valid now.
    Corrected {
        /// As text.
        arguments: String,
        /// What was changed.
        corrections: Vec<Correction>,
    },
    /// They could mean two things.
    Ambiguous,
    /// Something is wrong that no lossless correction makes right.
    Beyond,
}

/// Corrects arguments that are not valid. Valid ones are [`Outcome::Beyond`]: there is nothing to correct.
pub fn correct(schema: &Schema, arguments: &str) -> Outcome {
    if arguments.len() > MAX_BYTES {
        return Outcome::Beyond;
    }
    let start = Attempt { text: arguments.to_owned(), made: Vec::new() };
    let mut tries = MAX_TRIES;
    match start.pursued(schema, MAX_ROUNDS, &mut tries) {
        Pursued::Valid(attempt) if attempt.made.is_empty() => Outcome::Beyond,
        Pursued::Valid(attempt) => match attempt.with_other_spellings(schema, &mut tries) {
            Some(Attempt { text, made }) => {
                Outcome::Corrected { arguments: text, corrections: made }
            }
            None => Outcome::Ambiguous,
        },
        Pursued::Ambiguous => Outcome::Ambiguous,
        Pursued::Stuck => Outcome::Beyond,
    }
}

/// Member of a result's `_meta` that tells what was corrected in the call.
pub const META_KEY: &str = "mcphub.dev/corrections";

/// The result of a call, with what was corrected in it told in `_meta`. All else stays byte for byte.
pub fn told(result: &str, corrections: &[Correction]) -> String {
    // Cannot fail for these types.
    let list = serde_json::to_string(corrections).unwrap_or_default();
    let members = json_splice::members(result).unwrap_or_default();
    let Some(meta) =
        members.iter().find(|member| member.key == "_meta" && member.value.starts_with('{'))
    else {
        return Edits::of(result)
            .insert("_meta", &format!("{{{}:{list}}}", json_splice::quoted(META_KEY)))
            .finish();
    };
    let inside = json_splice::members(meta.value).unwrap_or_default();
    let edited = match inside.iter().find(|member| member.key == META_KEY) {
        // A server cannot speak for the hub.
        Some(same) => Edits::of(meta.value).replace(same.value, list).finish(),
        None => Edits::of(meta.value).insert(META_KEY, &list).finish(),
    };
    Edits::of(result).replace(meta.value, edited).finish()
}

/// The arguments so far.
#[derive(Clone)]
struct Attempt {
    text: String,
    made: Vec<Correction>,
}

enum Pursued {
    Valid(Attempt),
    Ambiguous,
    Stuck,
}

impl Attempt {
    fn pursued(mut self, schema: &Schema, rounds: usize, tries: &mut usize) -> Pursued {
        for left in (0..rounds).rev() {
            let Some(rest) = tries.checked_sub(1) else { return Pursued::Stuck };
            *tries = rest;
            let Ok(value) = serde_json::from_str::<Value>(&self.text) else {
                return Pursued::Stuck;
            };
            let mut sure = Vec::new();
            let mut ways = None;
            let mut errors = schema.errors(&value).peekable();
            if errors.peek().is_none() {
                drop(errors);
                return Pursued::Valid(self);
            }
            for error in errors.take(MAX_ERRORS) {
                match fixes::of(schema.root(), &self.text, &error) {
                    Found::One(fixes) => sure.extend(fixes),
                    Found::Ways(found) => ways = ways.or(Some(found)),
                    Found::Ambiguous => return Pursued::Ambiguous,
                    Found::None => {}
                }
            }
            if self.apply(sure) {
                continue;
            }
            return match ways {
                Some(ways) => self.only_way(schema, ways, left, tries),
                None => Pursued::Stuck,
            };
        }
        Pursued::Stuck
    }

    /// The one way, of these, that ends in valid arguments.
    fn only_way(
        &self,
        schema: &Schema,
        ways: Vec<Vec<Fix>>,
        rounds: usize,
        tries: &mut usize,
    ) -> Pursued {
        let mut valid: Option<Attempt> = None;
        for way in ways {
            let mut attempt = self.clone();
            if !attempt.apply(way) {
                continue;
            }
            match attempt.pursued(schema, rounds, tries) {
                Pursued::Valid(found) => match &valid {
                    Some(known) if known.text != found.text => return Pursued::Ambiguous,
                    _ => valid = Some(found),
                },
                Pursued::Ambiguous => return Pursued::Ambiguous,
                Pursued::Stuck => {}
            }
        }
        // What was not tried may be valid too.
        if *tries == 0 { Pursued::Stuck } else { valid.map_or(Pursued::Stuck, Pursued::Valid) }
    }

    /// Makes every fix that does not touch what another has changed. False: there was none.
    fn apply(&mut self, fixes: Vec<Fix>) -> bool {
        let mut edits: Vec<text::Edit> = Vec::new();
        for fix in fixes {
            let touches = |edit: &text::Edit| edits.iter().any(|made| overlap(made, edit));
            if fix.edits.is_empty() || fix.edits.iter().any(touches) {
                continue;
            }
            edits.extend(fix.edits);
            self.made.extend(fix.made);
        }
        if edits.is_empty() {
            return false;
        }
        self.text = text::edited(&self.text, &edits);
        true
    }

    /// With the keys respelled that are not wrong by the schema, because it allows any, but meant as those that it
    /// declares. Only in a call that needed correction anyway; else the server gets half of what was meant. `None`:
    /// it is not valid then, so nobody knows what they mean.
    fn with_other_spellings(self, schema: &Schema, tries: &mut usize) -> Option<Self> {
        let fixes = fixes::other_spellings(schema.root(), &self.text);
        if fixes.is_empty() {
            return Some(self);
        }
        let mut better = self;
        better.apply(fixes);
        match better.pursued(schema, MAX_ROUNDS, tries) {
            Pursued::Valid(attempt) => Some(attempt),
            Pursued::Ambiguous | Pursued::Stuck => None,
        }
    }
}

fn overlap(a: &text::Edit, b: &text::Edit) -> bool {
    let inserts_at_one_place = a.range.is_empty() && b.range.is_empty() && a.range == b.range;
    inserts_at_one_place || (a.range.start < b.range.end && b.range.start < a.range.end)
        // An insert at the edge of what is taken out would end up in the wrong object.
        || (a.range.is_empty() && b.range.start <= a.range.start && a.range.start < b.range.end)
        || (b.range.is_empty() && a.range.start <= b.range.start && b.range.start < a.range.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corrections_are_told_beside_what_the_server_says_in_meta() {
        let made = [Correction {
            kind: Kind::Key,
            path: "a".into(),
            from: Some("A".into()),
            to: Some("a".into()),
        }];
        let list = r#"[{"kind":"key","path":"a","from":"A","to":"a"}]"#;
        assert_eq!(
            told(r#"{"content":[1e400]}"#, &made),
            format!(r#"{{"_meta":{{"mcphub.dev/corrections":{list}}},"content":[1e400]}}"#)
        );
        assert_eq!(
            told(r#"{ "_meta" : {"x":1}}"#, &made),
            format!(r#"{{ "_meta" : {{"mcphub.dev/corrections":{list},"x":1}}}}"#)
        );
        assert_eq!(
            told(r#"{"_meta":{"mcphub.dev/corrections":"forged"}}"#, &made),
            format!(r#"{{"_meta":{{"mcphub.dev/corrections":{list}}}}}"#)
        );
    }
}
