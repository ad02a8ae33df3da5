//! The arguments as JSON text: paths into it, and edits. Arguments are never parsed and rebuilt, so
//! all other bytes stay as they came in.

use std::ops::Range;

use jsonschema::ValidationError;
use jsonschema::paths::LocationSegment;
use mcphub_hub_protocol::json_splice::{self, Member};
use serde_json::value::RawValue;

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum PathSegment {
    Key(String),
    Index(usize),
}

/// Where something is in the arguments.
pub(super) type Path = Vec<PathSegment>;

/// A replacement in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) range: Range<usize>,
    pub(super) with: String,
}

impl Edit {
    /// Replaces `part`, which is borrowed from `text`.
    pub(super) fn replace(text: &str, part: &str, with: impl Into<String>) -> Option<Self> {
        Some(Self { range: json_splice::range_of(text, part)?, with: with.into() })
    }

    /// Inserts members at the start of `object`, which is borrowed from `text`.
    pub(super) fn insert(text: &str, object: &str, members: &str) -> Option<Self> {
        let at = json_splice::range_of(text, object)?.start + 1;
        let empty = object.get(1..)?.trim_start().starts_with('}');
        Some(Self { range: at..at, with: format!("{members}{}", if empty { "" } else { "," }) })
    }

    /// Removes a member and one comma beside it.
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

/// The part of the text at a path. `None` if there is none, or if a key on the path occurs twice:
/// nobody knows which of the two the server reads.
pub(super) fn at<'a>(text: &'a str, path: &[PathSegment]) -> Option<&'a str> {
    path.iter().try_fold(text.trim(), |part, segment| match segment {
        PathSegment::Key(key) => unique_members(part)?
            .into_iter()
            .find(|member| member.key == *key)
            .map(|member| member.value),
        PathSegment::Index(index) => items(part)?.get(*index).copied(),
    })
}

/// The members of an object. `None` if it is not an object, or if a key occurs twice.
pub(crate) fn unique_members(text: &str) -> Option<Vec<Member<'_>>> {
    let members = json_splice::members(text)?;
    let mut keys: Vec<&str> = members.iter().map(|member| &*member.key).collect();
    keys.sort_unstable();
    keys.windows(2).all(|pair| pair.first() != pair.last()).then_some(members)
}

/// The items of an array.
pub(super) fn items(text: &str) -> Option<Vec<&str>> {
    let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    Some(items.into_iter().map(RawValue::get).collect())
}

/// Applies edits that do not overlap.
pub(super) fn apply_edits(text: &str, edits: &[Edit]) -> String {
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

/// The path as people write it: `options.items[2]`.
pub(super) fn format_path(path: &[PathSegment]) -> String {
    path.iter().fold(String::new(), |mut out, segment| {
        match segment {
            PathSegment::Key(key) if out.is_empty() => out.push_str(key),
            PathSegment::Key(key) => {
                out.push('.');
                out.push_str(key);
            }
            PathSegment::Index(index) => out.extend(["[", &index.to_string(), "]"]),
        }
        out
    })
}

/// The path of an error in the arguments.
pub(super) fn error_path(error: &ValidationError<'_>) -> Path {
    error
        .instance_path()
        .iter()
        .map(|segment| match segment {
            LocationSegment::Property(key) => PathSegment::Key(key.into_owned()),
            LocationSegment::Index(index) => PathSegment::Index(index),
        })
        .collect()
}
