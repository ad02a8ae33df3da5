//! Places in the text of arguments, and edits of it. Nothing is parsed and rebuilt: other bytes stay as they came.

use std::ops::Range;

use serde_json::value::RawValue;

use mcphub_hub_protocol::json_splice::{self, Member};

/// One step of a way into the arguments.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Step {
    /// A member.
    Key(String),
    /// An item.
    Index(usize),
}

/// A way into the arguments.
pub(super) type Path = Vec<Step>;

/// A replacement in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) range: Range<usize>,
    pub(super) with: String,
}

impl Edit {
    /// Puts `with` in the place of `part`, which is borrowed from `text`.
    pub(super) fn replace(text: &str, part: &str, with: impl Into<String>) -> Option<Self> {
        Some(Self { range: json_splice::range_of(text, part)?, with: with.into() })
    }

    /// Puts members before all others of the object that `object`, borrowed from `text`, is.
    pub(super) fn insert(text: &str, object: &str, members: &str) -> Option<Self> {
        let at = json_splice::range_of(text, object)?.start + 1;
        let empty = object.get(1..)?.trim_start().starts_with('}');
        Some(Self { range: at..at, with: format!("{members}{}", if empty { "" } else { "," }) })
    }

    /// Takes the member out, with the comma that it no longer needs.
    pub(super) fn remove(text: &str, object: &str, member: &Member<'_>) -> Option<Self> {
        let inside = json_splice::range_of(text, object)?;
        let range = json_splice::range_of(text, member.text)?;
        let after = text.get(range.end..inside.end)?;
        let before = text.get(inside.start..range.start)?;
        let range = if after.trim_start().starts_with(',') {
            range.start..range.end + after.find(',')? + 1
        } else if let Some(comma) = before.trim_end().strip_suffix(',') {
            inside.start + comma.len()..range.end
        } else {
            range
        };
        Some(Self { range, with: String::new() })
    }
}

/// The part of the text at a place. `None`: there is none, or a member on the way is there twice, so that nobody knows
/// which of the two the server will read.
pub(super) fn at<'a>(text: &'a str, path: &[Step]) -> Option<&'a str> {
    path.iter().try_fold(text.trim(), |part, step| match step {
        Step::Key(key) => {
            members(part)?.into_iter().find(|member| member.key == *key).map(|member| member.value)
        }
        Step::Index(index) => items(part)?.get(*index).copied(),
    })
}

/// The members of the object that `text` is; `None` also where one is there twice.
pub(crate) fn members(text: &str) -> Option<Vec<Member<'_>>> {
    let members = json_splice::members(text)?;
    let mut keys: Vec<&str> = members.iter().map(|member| &*member.key).collect();
    keys.sort_unstable();
    keys.windows(2).all(|pair| pair.first() != pair.last()).then_some(members)
}

/// The items of the array that `text` is.
pub(super) fn items(text: &str) -> Option<Vec<&str>> {
    let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    Some(items.into_iter().map(RawValue::get).collect())
}

/// The text with the edits made; they do not overlap.
pub(super) fn edited(text: &str, edits: &[Edit]) -> String {
    let mut sorted: Vec<&Edit> = edits.iter().collect();
    sorted.sort_by_key(|edit| (edit.range.start, edit.range.end));
    let mut out = String::with_capacity(text.len() + 64);
    let mut done = 0;
    for edit in sorted {
        out.push_str(text.get(done..edit.range.start).unwrap_or_default());
        out.push_str(&edit.with);
        done = edit.range.end;
    }
    out.push_str(text.get(done..).unwrap_or_default());
    out
}

/// `options.items[2]`, as people write it.
pub(super) fn written(path: &[Step]) -> String {
    path.iter().fold(String::new(), |mut out, step| {
        match step {
            Step::Key(key) if out.is_empty() => out.push_str(key),
            Step::Key(key) => {
                out.push('.');
                out.push_str(key);
            }
            Step::Index(index) => out.extend(["[", &index.to_string(), "]"]),
        }
        out
    })
}
