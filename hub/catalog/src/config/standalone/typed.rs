//! Reads values into types: expands placeholders, and quotes no secret in an error.

use mcphub_hub_wire::config::ToolRules;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Reader, resource_words};

const UNKNOWN_KEY: &str = "is unknown to mcp-hub; remove it";

impl Reader<'_> {
    /// Expands the placeholders of a value and converts it.
    pub(super) fn typed<T: DeserializeOwned>(&mut self, at: &str, value: &Value) -> Option<T> {
        let mut expanded = value.clone();
        if !self.expand(at, &mut expanded) {
            return None;
        }
        if let Ok(typed) = serde_json::from_value(expanded) {
            return Some(typed);
        }
        // The message of serde may quote a value, and an expanded value may be a secret. So the
        // message is about the value before expansion.
        let unexpanded = serde_json::from_value::<T>(value.clone()).err();
        let message = unexpanded
            .map_or_else(|| "a value has a wrong type".to_owned(), |error| error.to_string());
        self.report(at, message);
        None
    }

    /// The same for types that ignore unknown keys. A misspelled `deny` would expose tools that its
    /// author wanted to hide.
    pub(super) fn typed_strictly<T: DeserializeOwned + Serialize>(
        &mut self,
        at: &str,
        value: &Value,
    ) -> Option<T> {
        let typed: T = self.typed(at, value)?;
        let known = serde_json::to_value(&typed).unwrap_or_default();
        self.reject_unknown(at, value, &known);
        Some(typed)
    }

    /// The same for a section whose durations may be written as in the resource.
    pub(super) fn typed_section<T: DeserializeOwned + Serialize>(
        &mut self,
        at: &str,
        mut value: Value,
    ) -> Option<T> {
        resource_words::durations(&mut value);
        self.typed_strictly(at, &value)
    }

    /// A number of milliseconds, or a duration such as `30s`.
    pub(super) fn milliseconds(&mut self, at: &str, value: &Value) -> u64 {
        let duration = value.as_str().and_then(resource_words::parse).map(resource_words::millis);
        duration.or_else(|| self.typed(at, value)).unwrap_or_default()
    }

    /// The rules for the tools of a server. The timeouts may be durations.
    pub(super) fn tool_rules(&mut self, at: &str, mut value: Value) -> Option<ToolRules> {
        if let Some(timeouts) = value.as_object_mut().and_then(|rules| rules.remove("timeout")) {
            let Value::Object(timeouts) = timeouts else {
                self.report(
                    &format!("{at}.timeout"),
                    "is not an object; write {\"tool\": \"30s\"}",
                );
                return None;
            };
            let millis: serde_json::Map<String, Value> = timeouts
                .iter()
                .map(|(tool, timeout)| {
                    let at = format!("{at}.timeout.{tool}");
                    (tool.clone(), self.milliseconds(&at, timeout).into())
                })
                .collect();
            value["timeoutMs"] = millis.into();
        }
        self.typed_strictly(at, &value)
    }

    fn reject_unknown(&mut self, at: &str, written: &Value, known: &Value) {
        if let (Value::Array(written), Value::Array(known)) = (written, known) {
            for (position, (written, known)) in written.iter().zip(known).enumerate() {
                self.reject_unknown(&format!("{at}[{position}]"), written, known);
            }
            return;
        }
        let (Value::Object(written), Value::Object(known)) = (written, known) else { return };
        for (key, value) in written {
            let at = format!("{at}.{key}");
            match known.get(key) {
                Some(known) => self.reject_unknown(&at, value, known),
                None => self.report(&at, UNKNOWN_KEY),
            }
        }
    }

    /// Expands all placeholders in a value. False if one of them cannot be expanded.
    pub(super) fn expand(&mut self, at: &str, value: &mut Value) -> bool {
        match value {
            Value::String(text) => match self.placeholders.expand(text) {
                Ok(new) => {
                    *text = new;
                    true
                }
                Err(message) => {
                    self.report(at, message);
                    false
                }
            },
            Value::Array(items) => {
                let mut good = true;
                for (position, item) in items.iter_mut().enumerate() {
                    good &= self.expand(&format!("{at}[{position}]"), item);
                }
                good
            }
            Value::Object(members) => {
                let mut good = true;
                for (key, member) in members {
                    good &= self.expand(&format!("{at}.{key}"), member);
                }
                good
            }
            _ => true,
        }
    }
}
