//! What of an answer counts: only what was asked about, each once, and no more than was asked for.

use serde_json::Value;

use super::MAX_CANDIDATES;

/// What a model said.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// Text, which should be JSON.
    Text(String),
    /// Arguments of a tool that it was made to call.
    Data(Value),
}

/// Why an answer is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No JSON, or not what the provider's interface says.
    #[error("its answer is not what the provider's interface says")]
    Malformed,
    /// JSON of another shape.
    #[error("its answer has not the shape that was asked for")]
    WrongShape,
    /// Only ids that nobody asked about.
    #[error("it answered with tools that it was not asked about")]
    Unknown,
    /// It would not, or its provider would not let it.
    #[error("it refused to answer")]
    Refused,
    /// The answer ended before it was whole.
    #[error("its answer was longer than it may be, and was cut off")]
    Truncated,
}

/// Positions of the ids that it chose, best first.
pub fn ranked(said: &Said, ids: &[&str], limit: usize) -> Result<Vec<usize>, Failure> {
    let entries = entries(said)?;
    let mut chosen = Vec::new();
    for id in entries.iter().filter_map(Value::as_str) {
        if chosen.len() == limit.min(MAX_CANDIDATES) {
            break;
        }
        // Few and short: a search costs less than an index.
        if let Some(position) = ids.iter().position(|known| *known == id)
            && !chosen.contains(&position)
        {
            chosen.push(position);
        }
    }
    // Taken for "nothing fits" it would hide every tool.
    if chosen.is_empty() && !entries.is_empty() { Err(Failure::Unknown) } else { Ok(chosen) }
}

/// Position of the category of each id; `None` where it gave none that exists.
pub fn categories(
    said: &Said,
    ids: &[&str],
    categories: &[&str],
) -> Result<Vec<Option<usize>>, Failure> {
    let entries = entries(said)?;
    let mut found = vec![None; ids.len()];
    let mut named = ids.is_empty();
    for entry in &entries {
        let (Some(id), Some(category)) = (entry["id"].as_str(), entry["category"].as_str()) else {
            continue;
        };
        let Some(position) = ids.iter().position(|known| *known == id) else { continue };
        named = true;
        if let Some(place @ None) = found.get_mut(position) {
            *place = categories.iter().position(|known| *known == category);
        }
    }
    if named { Ok(found) } else { Err(Failure::Unknown) }
}

fn entries(said: &Said) -> Result<Vec<Value>, Failure> {
    let read;
    let value = match said {
        Said::Data(value) => value,
        Said::Text(text) => {
            read = json_in(text).ok_or(Failure::Malformed)?;
            &read
        }
    };
    // Models without structured output leave the object out.
    let list = value.as_array().or_else(|| value.get("tools")?.as_array());
    list.cloned().ok_or(Failure::WrongShape)
}

/// The JSON in a text: behind thoughts, in a fence, among words.
fn json_in(text: &str) -> Option<Value> {
    let text = text.rsplit_once("</think>").map_or(text, |(_, answer)| answer);
    // Bounded: every start may be read to the end of the text.
    let starts = text.match_indices(['{', '[']).take(16);
    let values = starts.filter_map(|(start, _)| {
        serde_json::Deserializer::from_str(text.get(start..)?).into_iter::<Value>().next()?.ok()
    });
    values.fold(None, |best, value| match best {
        Some(best) if has_tools(&best) || !has_tools(&value) => Some(best),
        _ => Some(value),
    })
}

fn has_tools(value: &Value) -> bool {
    value.get("tools").is_some_and(Value::is_array)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    const IDS: [&str; 3] = ["a", "b", "c"];

    #[rstest]
    #[case::as_asked(r#"{"tools":["c","a"]}"#, Ok(vec![2, 0]))]
    #[case::nothing_fits(r#"{"tools":[]}"#, Ok(vec![]))]
    #[case::in_a_fence("Sure!\n```json\n{\"tools\": [\"b\"]}\n```\nDone.", Ok(vec![1]))]
    #[case::behind_thoughts("<think>maybe {\"tools\":[\"a\"]}</think>{\"tools\":[\"b\"]}", Ok(vec![1]))]
    #[case::a_bare_list(r#"["a"]"#, Ok(vec![0]))]
    #[case::after_another_object(r#"{"note": 1} {"tools":["a"]}"#, Ok(vec![0]))]
    #[case::twice(r#"{"tools":["a","a","b","a"]}"#, Ok(vec![0, 1]))]
    #[case::unknown_among_known(r#"{"tools":["x","b"," a",7,null,{"id":"a"}]}"#, Ok(vec![1]))]
    #[case::only_unknown(r#"{"tools":["x"]}"#, Err(Failure::Unknown))]
    #[case::another_shape(r#"{"tools":"a"}"#, Err(Failure::WrongShape))]
    #[case::another_key(r#"{"ids":["a"]}"#, Err(Failure::WrongShape))]
    #[case::a_number("7", Err(Failure::Malformed))]
    #[case::words("I would take a.", Err(Failure::Malformed))]
    #[case::cut(r#"{"tools":["a","#, Err(Failure::Malformed))]
    #[case::nothing("", Err(Failure::Malformed))]
    fn what_counts_of_a_text(#[case] text: &str, #[case] expected: Result<Vec<usize>, Failure>) {
        assert_eq!(ranked(&Said::Text(text.into()), &IDS, 10), expected);
    }

    #[test]
    fn no_more_than_asked_for_counts() {
        assert_eq!(ranked(&Said::Data(json!({"tools": ["c", "b", "a"]})), &IDS, 2), Ok(vec![2, 1]));
    }

    #[test]
    fn a_category_that_does_not_exist_is_none() {
        let said = Said::Data(json!({"tools": [
            {"id": "a", "category": "web"}, {"id": "b", "category": "root"}, {"id": "x", "category": "web"}, {"id": "a", "category": "docker"}
        ]}));
        assert_eq!(categories(&said, &IDS, &["docker", "web"]), Ok(vec![Some(1), None, None]));
        let said = Said::Data(json!({"tools": [{"id": "a", "category": "root"}]}));
        assert_eq!(
            categories(&said, &["a"], &["web"]),
            Ok(vec![None]),
            "an answer, which is not asked for again"
        );
        assert_eq!(
            categories(&Said::Data(json!({"tools": []})), &IDS, &["web"]),
            Err(Failure::Unknown)
        );
    }

    proptest! {
        #[test]
        fn nothing_but_what_was_asked_about_comes_out(text in "[\\[\\]{}\",:abxtols ]{0,60}", limit in 0_usize..5) {
            if let Ok(chosen) = ranked(&Said::Text(text), &IDS, limit) {
                prop_assert!(chosen.len() <= limit);
                prop_assert!(chosen.iter().all(|position| *position < IDS.len()));
                let unique: std::collections::HashSet<_> = chosen.iter().collect();
                prop_assert_eq!(unique.len(), chosen.len());
            }
        }
    }
}
