//! Fixes keys with another spelling, and members that are in the wrong object.

use std::collections::BTreeMap;

use mcphub_hub_protocol::json_splice::{self, Member};
use serde_json::Value;

use crate::arguments::fix::{Correction, CorrectionKind, Fix, PossibleFixes};
use crate::arguments::spelling::normalized;
use crate::arguments::subschemas::Subschemas;
use crate::arguments::text::{self, Edit, PathSegment};

/// How many levels below its place a missing member is searched for.
const MAX_DEPTH: usize = 3;

/// One object in the arguments, and what the schema says about it.
struct Object<'a> {
    text: &'a str,
    path: Vec<PathSegment>,
    raw: &'a str,
    members: Vec<Member<'a>>,
    subschemas: Subschemas<'a>,
    declared: BTreeMap<&'a str, &'a Value>,
}

impl<'a> Object<'a> {
    fn at(root: &'a Value, text: &'a str, path: &[PathSegment]) -> Option<Self> {
        Self::parse(root, text, path.to_vec(), text::at(text, path)?)
    }

    fn parse(root: &'a Value, text: &'a str, path: Vec<PathSegment>, raw: &'a str) -> Option<Self> {
        let members = text::unique_members(raw)?;
        let subschemas = Subschemas::at(root, &path);
        let declared = subschemas.properties();
        Some(Self { text, path, raw, members, subschemas, declared })
    }

    fn has(&self, key: &str) -> bool {
        self.members.iter().any(|member| member.key == key)
    }

    fn is_declared(&self, key: &str) -> bool {
        self.declared.contains_key(key)
    }

    /// Members that the schema does not declare. In a map there are none: any key is data.
    fn unknown(&self) -> impl Iterator<Item = &Member<'a>> {
        let is_map = self.subschemas.is_map();
        self.members.iter().filter(move |member| !is_map && !self.is_declared(&member.key))
    }

    /// Declared keys that are absent and differ from this key only in spelling.
    fn spellings(&self, key: &str) -> Vec<&'a str> {
        let folded = normalized(key);
        let absent = self.declared.keys().copied().filter(|declared| !self.has(declared));
        if folded.is_empty() {
            Vec::new()
        } else {
            absent.filter(|absent| normalized(absent) == folded).collect()
        }
    }

    fn rename(&self, member: &Member<'_>, key: &str) -> Option<Fix> {
        let edit = Edit::replace(self.text, key_text(member)?, json_splice::quoted(key))?;
        let (from, to) = (Some(member.key.clone().into_owned()), Some(key.to_owned()));
        Some(Fix {
            edits: vec![edit],
            corrections: vec![Correction {
                kind: CorrectionKind::Key,
                path: self.format_path(key),
                from,
                to,
            }],
        })
    }

    /// Removes an undeclared object around members that belong here.
    fn unwrap(&self, wrapper: &Member<'_>) -> Option<Fix> {
        let inner = text::unique_members(wrapper.value)?;
        let fits = |member: &Member<'_>| self.is_declared(&member.key) && !self.has(&member.key);
        if inner.is_empty() || self.is_declared(&wrapper.key) || !inner.iter().all(fits) {
            return None;
        }
        let content = wrapper.value.strip_prefix('{')?.strip_suffix('}')?.trim();
        let corrections = inner.iter().map(|member| Correction {
            kind: CorrectionKind::Hoist,
            path: self.format_path(&member.key),
            from: Some(format!("{}.{}", self.format_path(&wrapper.key), member.key)),
            to: None,
        });
        Some(Fix {
            edits: vec![Edit::replace(self.text, wrapper.text, content)?],
            corrections: corrections.collect(),
        })
    }

    /// Moves a member of another object to this one.
    fn hoist(&self, from: &Object<'_>, member: &Member<'_>) -> Option<Fix> {
        let edits = vec![
            Edit::remove(self.text, from.raw, member)?,
            Edit::insert(self.text, self.raw, member.text)?,
        ];
        let correction = Correction {
            kind: CorrectionKind::Hoist,
            path: self.format_path(&member.key),
            from: Some(from.format_path(&member.key)),
            to: None,
        };
        Some(Fix { edits, corrections: vec![correction] })
    }

    fn format_path(&self, key: &str) -> String {
        let path: Vec<PathSegment> =
            self.path.iter().cloned().chain([PathSegment::Key(key.to_owned())]).collect();
        text::format_path(&path)
    }
}

/// The possible fixes for a missing member.
pub(super) fn fix_missing(
    root: &Value,
    text: &str,
    path: &[PathSegment],
    key: &str,
) -> PossibleFixes {
    let Some(object) = Object::at(root, text, path) else { return PossibleFixes::None };
    let same = |member: &&Member<'_>| object.spellings(&member.key).contains(&key);
    let mut fixes = Vec::new();
    for member in object.unknown().filter(same) {
        if object.spellings(&member.key).len() > 1 {
            return PossibleFixes::Ambiguous;
        }
        fixes.extend(object.rename(member, key));
    }
    let wrappers = object.unknown().filter(|wrapper| {
        text::unique_members(wrapper.value)
            .is_some_and(|inner| inner.iter().any(|member| member.key == key))
    });
    fixes.extend(wrappers.filter_map(|wrapper| object.unwrap(wrapper)));
    search_below(root, &object, &object, key, MAX_DEPTH, &mut fixes);
    PossibleFixes::exactly_one(fixes)
}

/// Looks for the key in the objects below that do not declare it themselves.
fn search_below(
    root: &Value,
    top: &Object<'_>,
    object: &Object<'_>,
    key: &str,
    depth: usize,
    fixes: &mut Vec<Fix>,
) {
    let Some(deeper) = depth.checked_sub(1) else { return };
    for member in object.members.iter().filter(|member| object.is_declared(&member.key)) {
        let path: Vec<PathSegment> = object
            .path
            .iter()
            .cloned()
            .chain([PathSegment::Key(member.key.clone().into_owned())])
            .collect();
        let Some(inner) = Object::at(root, top.text, &path) else { continue };
        // In an object without declared members everything is data, so the key belongs there.
        if !inner.declared.is_empty() {
            let member = inner.unknown().find(|member| member.key == key);
            fixes.extend(member.and_then(|member| top.hoist(&inner, member)));
        }
        search_below(root, top, &inner, key, deeper, fixes);
    }
}

/// The possible fixes for members that the schema does not allow here.
pub(super) fn fix_unexpected(
    root: &Value,
    text: &str,
    path: &[PathSegment],
    keys: &[String],
) -> PossibleFixes {
    let Some(object) = Object::at(root, text, path) else { return PossibleFixes::None };
    let mut all = Vec::new();
    for member in object.members.iter().filter(|member| keys.iter().any(|key| *key == member.key)) {
        let spellings = object.spellings(&member.key);
        let mut fixes: Vec<Fix> =
            spellings.iter().filter_map(|key| object.rename(member, key)).collect();
        fixes.extend(object.unwrap(member));
        let above = (0..path.len()).filter_map(|end| path.get(..end)).filter_map(|path| {
            let above = Object::at(root, text, path)?;
            (above.is_declared(&member.key) && !above.has(&member.key))
                .then(|| above.hoist(&object, member))?
        });
        fixes.extend(above);
        match PossibleFixes::exactly_one(fixes) {
            PossibleFixes::One(fixes) => all.extend(fixes),
            PossibleFixes::Ambiguous => return PossibleFixes::Ambiguous,
            PossibleFixes::Several(_) | PossibleFixes::None => return PossibleFixes::None,
        }
    }
    if all.is_empty() { PossibleFixes::None } else { PossibleFixes::One(all) }
}

/// The fixes for all keys that the schema allows but that are meant as a declared key of their
/// object.
pub(in crate::arguments) fn other_spellings(root: &Value, text: &str) -> Vec<Fix> {
    let mut fixes = Vec::new();
    let mut open: Vec<(Vec<PathSegment>, &str)> = vec![(Vec::new(), text.trim())];
    while let Some((path, raw)) = open.pop() {
        let below = |segment: PathSegment| {
            path.iter().cloned().chain([segment]).collect::<Vec<PathSegment>>()
        };
        if raw.starts_with('[') {
            let nested = text::items(raw).unwrap_or_default().into_iter().enumerate();
            open.extend(nested.map(|(index, item)| (below(PathSegment::Index(index)), item)));
        }
        let Some(object) = Object::parse(root, text, path.clone(), raw) else { continue };
        for member in object.unknown() {
            let candidates = object.spellings(&member.key);
            let rivals =
                object.unknown().filter(|rival| object.spellings(&rival.key) == candidates).count();
            if let ([key], 1) = (candidates.as_slice(), rivals) {
                fixes.extend(object.rename(member, key));
            }
        }
        let nested = object.members.iter().filter(|member| member.value.starts_with(['{', '[']));
        open.extend(nested.map(|member| {
            (below(PathSegment::Key(member.key.clone().into_owned())), member.value)
        }));
    }
    fixes
}

/// The key with its quotes, byte for byte.
fn key_text<'a>(member: &Member<'a>) -> Option<&'a str> {
    let mut escaped = false;
    let end = member.text.char_indices().skip(1).find_map(|(at, c)| {
        let closes = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        closes.then_some(at)
    })?;
    member.text.get(..=end)
}
