//! Error messages that a model can learn from. They name the argument, the expected types and
//! values, and an example.

use std::fmt::Write as _;

use serde_json::Value;

use super::error::{ArgumentError, ErrorKind, shorten};
use super::schema::Schema;
use super::subschemas::Subschemas;
use super::text::{self, Path, PathSegment};
use super::{closest_word, example};

/// Most values or keys that an error lists.
const MAX_LISTED: usize = 25;

/// The message with enhanced errors.
pub fn message(
    tool: &str,
    schema: &Schema,
    arguments: Option<&str>,
    errors: &[ArgumentError],
) -> String {
    let mut out = format!("Invalid arguments for {tool}:");
    for error in errors {
        out.push_str("\n- ");
        out.push_str(&explain(schema.root(), arguments.unwrap_or("{}"), error));
    }
    if let Some(example) = example::generate(schema) {
        // Writing to a String cannot fail.
        let _ = write!(out, "\nExample of valid arguments: {example}");
    }
    out
}

fn explain(root: &Value, arguments: &str, error: &ArgumentError) -> String {
    let line = error.line();
    let here = || Subschemas::at(root, &error.path);
    let member = |key: &str| -> Path {
        error.path.iter().cloned().chain([PathSegment::Key(key.to_owned())]).collect()
    };
    match &error.kind {
        ErrorKind::Missing(key) => {
            format!("{line}: {}", expected(&Subschemas::at(root, &member(key))))
        }
        ErrorKind::Unknown(_, None) => {
            let declared = here().properties();
            let known: Vec<String> =
                declared.keys().take(MAX_LISTED).map(|key| format!("\"{key}\"")).collect();
            if known.is_empty() {
                line
            } else {
                format!("{line}; the known members are {}", known.join(", "))
            }
        }
        ErrorKind::Unknown(_, Some(_)) => line,
        ErrorKind::Enum => {
            let here = here();
            let suggestion = suggestion(arguments, &error.path, &here);
            format!("{line}: {}{suggestion}", expected(&here))
        }
        ErrorKind::Type(..) | ErrorKind::Composition | ErrorKind::Other(_) => {
            format!("{line}; expected: {}", expected(&here()))
        }
    }
}

/// What is expected at one place: the types, or the values with their descriptions, and the
/// description of the place.
fn expected(here: &Subschemas<'_>) -> String {
    let values = here.enum_values();
    let mut out = if values.is_empty() {
        here.types().join(" or ")
    } else {
        let mut listed: Vec<String> = values
            .iter()
            .take(MAX_LISTED)
            .map(|value| match value.description {
                Some(text) => {
                    format!("{} ({})", shorten(&value.value.to_string()), shorten(text))
                }
                None => shorten(&value.value.to_string()),
            })
            .collect();
        if values.len() > MAX_LISTED {
            listed.push(format!("and {} more", values.len() - MAX_LISTED));
        }
        format!("one of {}", listed.join(", "))
    };
    if out.is_empty() {
        out.push_str("any value");
    }
    if let Some(description) = here.description() {
        out.push_str(" - ");
        out.push_str(&shorten(description));
    }
    out
}

/// The value that was perhaps meant.
fn suggestion(arguments: &str, path: &[PathSegment], here: &Subschemas<'_>) -> String {
    let actual = text::at(arguments, path)
        .and_then(mcphub_hub_protocol::json_splice::unquoted)
        .unwrap_or_default();
    let values = here.enum_values();
    let options: Vec<&str> = values.iter().filter_map(|value| value.value.as_str()).collect();
    match closest_word(&actual, &options) {
        Some(option) => format!("; did you mean \"{option}\"?"),
        None => String::new(),
    }
}
