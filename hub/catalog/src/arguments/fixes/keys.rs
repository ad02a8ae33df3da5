//! Keys in another spelling, and members that are one object too deep.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Fix, Found};
use crate::arguments::correction::{Correction, Kind};
use crate::arguments::place::Place;
use crate::arguments::spelling::normalized;
use crate::arguments::text::{self, Edit, Step};
use mcphub_hub_protocol::json_splice::{self, Member};

/// How far below its place a member is looked for.
const MAX_DEPTH: usize = 3;

/// One object of the arguments, with what the schema says of it.
struct Object<'a> {
    text: &'a str,
    path: Vec<Step>,
    raw: &'a str,
    members: Vec<Member<'a>>,
    place: Place<'a>,
    declared: BTreeMap<&'a str, &'a Value>,
}

impl<'a> Object<'a> {
    fn at(root: &'a Value, text: &'a str, path: &[Step]) -> Option<Self> {
        Self::of(root, text, path.to_vec(), text::at(text, path)?)
    }

    fn of(root: &'a Value, text: &'a str, path: Vec<Step>, raw: &'a str) -> Option<Self> {
        let members = text::members(raw)?;
        let place = Place::at(root, &path);
        let declared = place.declared();
        Some(Self { text, path, raw, members, place, declared })
    }

    fn has(&self, key: &str) -> bool {
        self.members.iter().any(|member| member.key == key)
    }

    fn is_declared(&self, key: &str) -> bool {
        self.declared.contains_key(key)
    }

    /// Members that the schema does not know. In a map they are data.
    fn unknown(&self) -> impl Iterator<Item = &Member<'a>> {
        let is_map = self.place.is_map();
        self.members.iter().filter(move |member| !is_map && !self.is_declared(&member.key))
    }

    /// Declared keys that are not there and differ from this one in spelling only.
    fn spellings(&self, key: &str) -> Vec<&'a str> {
        let folded = normalized(key);
        let absent = self.declared.keys().copied().filter(|declared| !self.has(declared));
        if folded.is_empty() {
            Vec::new()
        } else {
            absent.filter(|absent| normalized(absent) == folded).collect()
        }
    }

    fn renamed(&self, member: &Member<'_>, key: &str) -> Option<Fix> {
        let edit = Edit::replace(self.text, key_text(member)?, json_splice::quoted(key))?;
        let (from, to) = (Some(member.key.clone().into_owned()), Some(key.to_owned()));
        Some(Fix {
            edits: vec![edit],
            made: vec![Correction { kind: Kind::Key, path: self.written(key), from, to }],
        })
    }

    /// The members of an object that stands where they belong, taken out of it.
    fn unwrapped(&self, wrapper: &Member<'_>) -> Option<Fix> {
        let inner = text::members(wrapper.value)?;
        let fits = |member: &Member<'_>| self.is_declared(&member.key) && !self.has(&member.key);
        if inner.is_empty() || self.is_declared(&wrapper.key) || !inner.iter().all(fits) {
            return None;
        }
        let content = wrapper.value.strip_prefix('{')?.strip_suffix('}')?.trim();
        let made = inner.iter().map(|member| Correction {
            kind: Kind::Hoist,
            path: self.written(&member.key),
            from: Some(format!("{}.{}", self.written(&wrapper.key), member.key)),
            to: None,
        });
        Some(Fix {
            edits: vec![Edit::replace(self.text, wrapper.text, content)?],
            made: made.collect(),
        })
    }

    /// A member of an object below, moved here.
    fn hoisted(&self, from: &Object<'_>, member: &Member<'_>) -> Option<Fix> {
        let edits = vec![
            Edit::remove(self.text, from.raw, member)?,
            Edit::insert(self.text, self.raw, member.text)?,
        ];
        let made = Correction {
            kind: Kind::Hoist,
            path: self.written(&member.key),
            from: Some(from.written(&member.key)),
            to: None,
        };
        Some(Fix { edits, made: vec![made] })
    }

    fn written(&self, key: &str) -> String {
        let path: Vec<Step> =
            self.path.iter().cloned().chain([Step::Key(key.to_owned())]).collect();
        text::written(&path)
    }
}

/// Ways to get a member that must be there.
pub(super) fn missing(root: &Value, text: &str, path: &[Step], key: &str) -> Found {
    let Some(object) = Object::at(root, text, path) else { return Found::None };
    let same = |member: &&Member<'_>| object.spellings(&member.key).contains(&key);
    let mut fixes = Vec::new();
    for member in object.unknown().filter(same) {
        if object.spellings(&member.key).len() > 1 {
            return Found::Ambiguous;
        }
        fixes.extend(object.renamed(member, key));
    }
    let wrappers = object.unknown().filter(|wrapper| {
        text::members(wrapper.value)
            .is_some_and(|inner| inner.iter().any(|member| member.key == key))
    });
    fixes.extend(wrappers.filter_map(|wrapper| object.unwrapped(wrapper)));
    below(root, &object, &object, key, MAX_DEPTH, &mut fixes);
    Found::only(fixes)
}

/// Looks for the key in the objects below that do not know it themselves.
fn below(
    root: &Value,
    top: &Object<'_>,
    object: &Object<'_>,
    key: &str,
    depth: usize,
    fixes: &mut Vec<Fix>,
) {
    let Some(deeper) = depth.checked_sub(1) else { return };
    for member in object.members.iter().filter(|member| object.is_declared(&member.key)) {
        let path: Vec<Step> = object
            .path
            .iter()
            .cloned()
            .chain([Step::Key(member.key.clone().into_owned())])
            .collect();
        let Some(inner) = Object::at(root, top.text, &path) else { continue };
        // Where nothing is declared everything is data, and a key of this name belongs there.
        if !inner.declared.is_empty() {
            let found = inner.unknown().find(|found| found.key == key);
            fixes.extend(found.and_then(|found| top.hoisted(&inner, found)));
        }
        below(root, top, &inner, key, deeper, fixes);
    }
}

/// Ways to keep members that must not be there.
pub(super) fn unexpected(root: &Value, text: &str, path: &[Step], keys: &[String]) -> Found {
    let Some(object) = Object::at(root, text, path) else { return Found::None };
    let mut all = Vec::new();
    for member in object.members.iter().filter(|member| keys.iter().any(|key| *key == member.key)) {
        let spellings = object.spellings(&member.key);
        let mut fixes: Vec<Fix> =
            spellings.iter().filter_map(|key| object.renamed(member, key)).collect();
        fixes.extend(object.unwrapped(member));
        let above = (0..path.len()).filter_map(|end| path.get(..end)).filter_map(|path| {
            let above = Object::at(root, text, path)?;
            (above.is_declared(&member.key) && !above.has(&member.key))
                .then(|| above.hoisted(&object, member))?
        });
        fixes.extend(above);
        match Found::only(fixes) {
            Found::One(fixes) => all.extend(fixes),
            Found::Ambiguous => return Found::Ambiguous,
            Found::Ways(_) | Found::None => return Found::None,
        }
    }
    if all.is_empty() { Found::None } else { Found::One(all) }
}

/// Every key of the arguments that is meant as another one which its object declares.
pub(in crate::arguments) fn other_spellings(root: &Value, text: &str) -> Vec<Fix> {
    let mut fixes = Vec::new();
    let mut open: Vec<(Vec<Step>, &str)> = vec![(Vec::new(), text.trim())];
    while let Some((path, raw)) = open.pop() {
        let below = |step: Step| path.iter().cloned().chain([step]).collect::<Vec<Step>>();
        if raw.starts_with('[') {
            let nested = text::items(raw).unwrap_or_default().into_iter().enumerate();
            open.extend(nested.map(|(index, item)| (below(Step::Index(index)), item)));
        }
        let Some(object) = Object::of(root, text, path.clone(), raw) else { continue };
        for member in object.unknown() {
            let meant = object.spellings(&member.key);
            let rivals =
                object.unknown().filter(|rival| object.spellings(&rival.key) == meant).count();
            if let ([key], 1) = (meant.as_slice(), rivals) {
                fixes.extend(object.renamed(member, key));
            }
        }
        let nested = object.members.iter().filter(|member| member.value.starts_with(['{', '[']));
        open.extend(
            nested.map(|member| (below(Step::Key(member.key.clone().into_owned())), member.value)),
        );
    }
    fixes
}

/// The key as written, quotes included.
fn key_text<'a>(member: &Member<'a>) -> Option<&'a str> {
    let mut escaped = false;
    let end = member.text.char_indices().skip(1).find_map(|(at, c)| {
        let closes = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        closes.then_some(at)
    })?;
    member.text.get(..=end)
}
