//! JSON whose bytes do not depend on who writes it. The API server compares the data of a
//! ControllerRevision byte by byte, but its own writers differ in whether they escape `&`, `<` and
//! `>`. Without this, a command with `&&` could be created but never written again.

use serde_json::Value;

/// Escapes every such character in texts and keys as `\uXXXX`, and `\` as `\\`.
pub(crate) fn escape(value: Value) -> Value {
    map_texts(value, &escape_text)
}

/// Reverses [`escape`].
pub(crate) fn unescape(value: Value) -> Value {
    map_texts(value, &unescape_text)
}

fn map_texts(value: Value, change: &impl Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(change(&text)),
        Value::Array(list) => list.into_iter().map(|value| map_texts(value, change)).collect(),
        Value::Object(map) => map
            .into_iter()
            .map(|(key, value)| (change(&key), map_texts(value, change)))
            .collect::<Value>(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

fn escape_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '&' | '<' | '>' | '\u{2028}' | '\u{2029}' => out.push_str(&escape_sequence(character)),
            '\n' | '\r' | '\t' => out.push(character),
            control if control.is_control() => out.push_str(&escape_sequence(control)),
            plain => out.push(plain),
        }
    }
    out
}

fn escape_sequence(character: char) -> String {
    format!("\\u{:04x}", u32::from(character))
}

/// An invalid escape, which somebody must have edited, stays as it is.
fn unescape_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let spelled = after.strip_prefix('u').and_then(|hex| hex.get(..4));
        let character = spelled.and_then(|hex| char::from_u32(u32::from_str_radix(hex, 16).ok()?));
        out.push(character.unwrap_or('\\'));
        rest = match character {
            Some(_) => after.get("uXXXX".len()..).unwrap_or_default(),
            None => after.strip_prefix('\\').unwrap_or(after),
        };
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn characters_that_some_writers_escape_are_always_escaped() {
        let value = json!({"a&b": ["x && y", "C:\\u0026", "line\n", 1, null, "<\u{2028}\u{1}>"]});
        let expected = json!({"a\\u0026b": ["x \\u0026\\u0026 y", "C:\\\\u0026", "line\n", 1, null,
            "\\u003c\\u2028\\u0001\\u003e"]});
        assert_eq!(escape(value.clone()), expected);
        assert_eq!(unescape(expected), value);
    }

    proptest! {
        #[test]
        fn unescape_reverses_escape(
            text in "(\\PC|[\\\\u&<>0-9a-f\u{2028}\u{0}-\u{1f}]){0,40}",
        ) {
            let spelled = escape_text(&text);
            let plain = !spelled.contains(['&', '<', '>', '\u{2028}', '\u{2029}']);
            prop_assert!(plain, "{}", spelled);
            prop_assert_eq!(unescape_text(&spelled), text);
        }
    }
}
