//! Errors that a model learns from: which argument, what was expected, what may be written, and an example.

use std::fmt::Write as _;

use serde_json::Value;

use super::example;
use super::place::Place;
use super::problem::{Problem, What, shortened};
use super::schema::Schema;
use super::spelling::{self, Meant};
use super::text::{self, Path, Step};

/// Most values that are listed.
const MAX_CHOICES: usize = 25;

/// What is told with enhanced errors.
pub fn message(
    tool: &str,
    schema: &Schema,
    arguments: Option<&str>,
    problems: &[Problem],
) -> String {
    let mut out = format!("Invalid arguments for {tool}:");
    for problem in problems {
        out.push_str("\n- ");
        out.push_str(&explained(schema.root(), arguments.unwrap_or("{}"), problem));
    }
    if let Some(example) = example::of(schema) {
        // Writing to a String cannot fail.
        let _ = write!(out, "\nExample of valid arguments: {example}");
    }
    out
}

fn explained(root: &Value, arguments: &str, problem: &Problem) -> String {
    let line = problem.line();
    let below = |key: &str| -> Path {
        problem.path.iter().cloned().chain([Step::Key(key.to_owned())]).collect()
    };
    match &problem.what {
        What::Missing(key) => format!("{line}: {}", expected(&Place::at(root, &below(key)))),
        What::Unknown(_, None) => {
            let declared = Place::at(root, &problem.path).declared();
            let known: Vec<String> =
                declared.keys().take(MAX_CHOICES).map(|key| format!("\"{key}\"")).collect();
            if known.is_empty() { line } else { format!("{line}; known are {}", known.join(", ")) }
        }
        What::Unknown(_, Some(_)) => line,
        What::Choice => {
            let place = Place::at(root, &problem.path);
            format!("{line}: {}{}", expected(&place), meant(arguments, &problem.path, &place))
        }
        What::Type(..) | What::Form | What::Other(_) => {
            format!("{line}; expected: {}", expected(&Place::at(root, &problem.path)))
        }
    }
}

/// What belongs at a place: its types, its values with what they mean, and what the schema says of it.
fn expected(place: &Place<'_>) -> String {
    let choices = place.choices();
    let mut out = if choices.is_empty() {
        place.types().join(" or ")
    } else {
        let mut listed: Vec<String> = choices
            .iter()
            .take(MAX_CHOICES)
            .map(|choice| match choice.description {
                Some(said) => {
                    format!("{} ({})", shortened(&choice.value.to_string()), shortened(said))
                }
                None => shortened(&choice.value.to_string()),
            })
            .collect();
        if choices.len() > MAX_CHOICES {
            listed.push(format!("and {} more", choices.len() - MAX_CHOICES));
        }
        format!("one of {}", listed.join(", "))
    };
    if out.is_empty() {
        out.push_str("any value");
    }
    if let Some(said) = place.description() {
        out.push_str(" - ");
        out.push_str(&shortened(said));
    }
    out
}

/// The one option that was perhaps meant.
fn meant(arguments: &str, path: &[Step], place: &Place<'_>) -> String {
    let written = text::at(arguments, path)
        .and_then(mcphub_hub_protocol::json_splice::unquoted)
        .unwrap_or_default();
    let choices = place.choices();
    let options: Vec<&str> = choices.iter().filter_map(|choice| choice.value.as_str()).collect();
    match spelling::meant(&written, &options).and_then(Meant::one) {
        Some(option) => format!("; did you mean \"{option}\"?"),
        None => String::new(),
    }
}
