//! Edits of JSON text that leave every other byte unchanged.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// One member of an object, borrowed from its text.
#[derive(Debug, Clone)]
pub struct Member<'a> {
    /// The key, unescaped.
    pub key: Cow<'a, str>,
    /// Key, colon and value, byte for byte.
    pub text: &'a str,
    /// The value, byte for byte.
    pub value: &'a str,
}

/// The members of a JSON object in their order. `None` if the text is not a JSON object.
pub fn members(text: &str) -> Option<Vec<Member<'_>>> {
    let pairs: Pairs<'_> = serde_json::from_str(text).ok()?;
    pairs
        .0
        .into_iter()
        .map(|(key, value)| {
            let start = range_of(text, key.get())?.start;
            let end = range_of(text, value.get())?.end;
            Some(Member {
                // A key with half a surrogate pair is legal JSON that has no text. Its escape
                // sequence stands for it, which equals no key that the hub looks for.
                key: unquoted(key.get()).unwrap_or(Cow::Borrowed(key.get())),
                text: text.get(start..end)?,
                value: value.get(),
            })
        })
        .collect()
}

/// The value of the member with this key, byte for byte. `None` if the text is not a JSON object,
/// or does not have the key exactly once. Needs no memory for the other members.
pub fn only_member<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut read = serde_json::Deserializer::from_str(text);
    let value = read.deserialize_map(OnlyMember { key }).ok()?;
    read.end().ok()?;
    value.map(RawValue::get)
}

/// The value of a member. If a key occurs twice the last one counts, as in JSON parsers.
pub fn last_member<'a>(members: &[Member<'a>], key: &str) -> Option<&'a str> {
    members.iter().rev().find(|member| member.key == key).map(|member| member.value)
}

/// The object without the members that have this key. Every other byte stays, but for the commas
/// and white space between members that are gone.
pub fn without<'a>(text: &'a str, key: &str) -> Cow<'a, str> {
    let all = members(text).unwrap_or_default();
    let ranges = || all.iter().map(|member| range_of(text, member.text).unwrap_or_default());
    let (Some(first), Some(last)) = (ranges().next(), ranges().next_back()) else {
        return Cow::Borrowed(text);
    };
    if all.iter().all(|member| member.key != key) {
        return Cow::Borrowed(text);
    }
    let part = |range: Range<usize>| text.get(range).unwrap_or_default();
    let mut out = String::with_capacity(text.len());
    out.push_str(part(0..first.start));
    let (mut is_first, mut end) = (true, first.start);
    for (member, range) in all.iter().zip(ranges()) {
        if member.key != key {
            out.push_str(if is_first { "" } else { part(end..range.start) });
            out.push_str(member.text);
            is_first = false;
        }
        end = range.end;
    }
    out.push_str(part(last.end..text.len()));
    Cow::Owned(out)
}

/// The content of a JSON string. `None` if the text is not a JSON string.
pub fn unquoted(text: &str) -> Option<Cow<'_, str>> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains(['\\', '"']) {
        serde_json::from_str(text).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// `text` as a JSON string.
pub fn quoted(text: &str) -> String {
    // Cannot fail for a string.
    serde_json::to_string(text).unwrap_or_default()
}

/// JSON text without white space between tokens. Every other byte stays.
pub fn compact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    for c in text.chars() {
        if in_string {
            (in_string, escaped) = (escaped || c != '"', c == '\\' && !escaped);
        } else if c.is_ascii_whitespace() {
            continue;
        } else {
            in_string = c == '"';
        }
        out.push(c);
    }
    out
}

/// The range of `part`, which is borrowed from `text`.
pub fn range_of(text: &str, part: &str) -> Option<Range<usize>> {
    let start = (part.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    let end = start.checked_add(part.len())?;
    (end <= text.len()).then_some(start..end)
}

/// Edits of one text.
#[derive(Debug)]
pub struct Edits<'a> {
    text: &'a str,
    edits: Vec<(Range<usize>, Cow<'a, str>)>,
}

impl<'a> Edits<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, edits: Vec::new() }
    }

    /// Replaces `part`, which is borrowed from the text. Parts must not overlap.
    #[must_use]
    pub fn replace(mut self, part: &str, with: impl Into<Cow<'a, str>>) -> Self {
        let range = range_of(self.text, part);
        debug_assert!(range.is_some(), "an edit outside its text would be lost");
        self.edits.extend(range.map(|range| (range, with.into())));
        self
    }

    /// Inserts a member before all others of the object.
    #[must_use]
    pub fn insert(mut self, key: &str, value: &str) -> Self {
        let Some(open) = self.text.find('{') else { return self };
        let at = open + 1;
        let empty = self.text.get(at..).is_some_and(|rest| rest.trim_start().starts_with('}'));
        let inserted_before = self.edits.iter().any(|(range, _)| *range == (at..at));
        let comma = if empty && !inserted_before { "" } else { "," };
        let member = format!("{}:{value}{comma}", quoted(key));
        // The first of several inserts at one place ends up last, so only it may lack the comma.
        self.edits.insert(0, (at..at, member.into()));
        self
    }

    /// Applies the edits.
    pub fn finish(mut self) -> String {
        self.edits.sort_by_key(|(range, _)| range.start);
        let grown: usize = self.edits.iter().map(|(_, with)| with.len()).sum();
        let mut out = String::with_capacity(self.text.len() + grown);
        let mut done = 0;
        for (range, with) in &self.edits {
            out.push_str(self.text.get(done..range.start).unwrap_or_default());
            out.push_str(with);
            done = range.end;
        }
        out.push_str(self.text.get(done..).unwrap_or_default());
        out
    }
}

/// For fields: `Some` of the raw value, even if it is `null`.
pub(crate) fn raw<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

struct OnlyMember<'k> {
    key: &'k str,
}

impl<'de> Visitor<'de> for OnlyMember<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut found, mut times) = (None, 0);
        while let Some((key, value)) = map.next_entry::<&RawValue, &RawValue>()? {
            if unquoted(key.get()).is_some_and(|key| key == self.key) {
                (found, times) = (Some(value), times + 1);
            }
        }
        Ok(found.filter(|_| times == 1))
    }
}

struct Pairs<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Pairs<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        from.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ODD: &str = "{ \"a\\u0062\" : 1.000000000000000000001e400 \
                       ,\n\"x\":{\"y\":[\"\\ud83d\\ude00\", {}]},\"a\":null }";

    #[test]
    fn a_member_is_removed_wherever_it_is_and_nothing_else() {
        for (text, expected) in [
            (r#"{ "k" : 1 ,"a":1e400}"#, r#"{ "a":1e400}"#),
            (r#"{"a":1.0, "k":{"k":1} ,"b":[ ]}"#, r#"{"a":1.0 ,"b":[ ]}"#),
            (r#"{"a":1 , "k":1 }"#, r#"{"a":1 }"#),
            (r#"{"k":1,"\u006b":2}"#, "{}"),
            (r#"{"a":{"k":1}}"#, r#"{"a":{"k":1}}"#),
            ("{}", "{}"),
            ("[1]", "[1]"),
        ] {
            assert_eq!(without(text, "k"), expected, "{text}");
        }
    }

    #[test]
    fn members_keep_every_byte_of_keys_and_values() {
        let members = members(ODD).unwrap();
        let read: Vec<(&str, &str)> = members.iter().map(|m| (&*m.key, m.value)).collect();
        assert_eq!(
            read,
            [
                ("ab", "1.000000000000000000001e400"),
                ("x", "{\"y\":[\"\\ud83d\\ude00\", {}]}"),
                ("a", "null")
            ]
        );
        assert_eq!(members[0].text, "\"a\\u0062\" : 1.000000000000000000001e400");
    }

    #[test]
    fn a_member_that_is_there_twice_is_not_the_only_one() {
        assert_eq!(only_member(ODD, "ab"), Some("1.000000000000000000001e400"));
        for (text, key) in [(r#"{"a":1,"\u0061":2}"#, "a"), (ODD, "b"), ("[1]", "a"), ("{} 1", "a")]
        {
            assert_eq!(only_member(text, key), None, "{text}");
        }
    }

    #[test]
    fn a_text_that_is_not_an_object_has_no_members() {
        for text in ["[]", "1", "{", "{\"a\":}", "", "{} {}"] {
            assert!(members(text).is_none(), "{text}");
        }
    }

    #[test]
    fn an_insert_goes_first_and_has_no_comma_in_an_empty_object() {
        assert_eq!(Edits::new("{ }").insert("a", "1").finish(), "{\"a\":1 }");
        assert_eq!(Edits::new("{\"b\":2}").insert("a", "1").finish(), "{\"a\":1,\"b\":2}");
        assert_eq!(
            Edits::new("{}").insert("b", "2").insert("a", "1").finish(),
            "{\"a\":1,\"b\":2}"
        );
    }

    #[test]
    fn compact_text_loses_white_space_outside_strings_only() {
        assert_eq!(
            compact("{ \"a b\" :\n[1, \"\\\" \\\\\" , true ] }"),
            "{\"a b\":[1,\"\\\" \\\\\",true]}"
        );
    }

    #[test]
    fn a_key_that_is_no_text_hides_no_other_member() {
        let members = members(r#"{"\ud800":1,"a":2}"#).unwrap();
        assert_eq!((members.len(), &*members[1].key, members[1].value), (2, "a", "2"));
    }

    // A body that nests a million brackets must not overflow the stack.
    #[test]
    fn deep_nesting_is_read_without_recursion() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(1_000_000), "]".repeat(1_000_000));
        assert_eq!(members(&deep).unwrap().len(), 1);
    }

    proptest! {
        #[test]
        fn an_edit_changes_its_part_and_nothing_else(before in "[a-z{},:\"]{0,20}",
            part in "[a-z]{1,9}", after in "[a-z{}]{0,20}") {
            let text = format!("{before}{part}{after}");
            let range = before.len()..before.len() + part.len();
            let edited = Edits::new(&text).replace(&text[range], "NEW").finish();
            prop_assert_eq!(edited, format!("{before}NEW{after}"));
        }

        #[test]
        fn quoting_and_unquoting_give_the_text_back(text in "\\PC*") {
            let quoted = quoted(&text);
            prop_assert_eq!(unquoted(&quoted).unwrap(), text);
        }
    }
}
