//! Parses the answer of a language model. Only tools that were in the question count, each once,
//! and no more than the limit.

use serde_json::Value;

use super::MAX_CANDIDATES;

/// The output of a model.
#[derive(Debug, Clone, PartialEq)]
pub enum ModelOutput {
    /// Text that should contain JSON.
    Text(String),
    /// The arguments of a tool that the model was made to call.
    Json(Value),
}

/// Why an answer cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The response does not follow the provider's API, or the output contains no JSON.
    #[error("the output is not JSON, or the response does not follow the provider's API")]
    Malformed,
    #[error("the output is JSON of another shape than requested")]
    WrongShape,
    #[error("the output has only tools that were not in the question")]
    UnknownTools,
    /// The model refused, or the provider's filter did.
    #[error("the model refused to answer")]
    Refused,
    #[error("the output was truncated at the token limit")]
    Truncated,
}

/// The positions of the ids that the model chose, best first.
pub fn parse_ranking(
    output: &ModelOutput,
    ids: &[&str],
    limit: usize,
) -> Result<Vec<usize>, AnswerError> {
    let entries = entries(output)?;
    let mut chosen = Vec::new();
    for id in entries.iter().filter_map(Value::as_str) {
        if chosen.len() == limit.min(MAX_CANDIDATES) {
            break;
        }
        // There are at most 50 short ids, so a linear search is faster than a map.
        if let Some(position) = ids.iter().position(|known| *known == id)
            && !chosen.contains(&position)
        {
            chosen.push(position);
        }
    }
    // If only unknown ids counted as "nothing fits", every tool would be hidden.
    if chosen.is_empty() && !entries.is_empty() {
        Err(AnswerError::UnknownTools)
    } else {
        Ok(chosen)
    }
}

/// The position of each id's category. `None` if the model gave no category that exists.
pub fn parse_categories(
    output: &ModelOutput,
    ids: &[&str],
    categories: &[&str],
) -> Result<Vec<Option<usize>>, AnswerError> {
    let entries = entries(output)?;
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
    if named { Ok(found) } else { Err(AnswerError::UnknownTools) }
}

fn entries(output: &ModelOutput) -> Result<Vec<Value>, AnswerError> {
    let read;
    let value = match output {
        ModelOutput::Json(value) => value,
        ModelOutput::Text(text) => {
            read = json_in(text).ok_or(AnswerError::Malformed)?;
            &read
        }
    };
    // Models without structured output may omit the object around the list.
    let list = value.as_array().or_else(|| value.get("tools")?.as_array());
    list.cloned().ok_or(AnswerError::WrongShape)
}

/// Finds the JSON in a text. There may be thoughts, a code fence or words around it.
fn json_in(text: &str) -> Option<Value> {
    let text = text.rsplit_once("</think>").map_or(text, |(_, answer)| answer);
    // Bounded, because the parser may read from every start to the end of the text.
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
    #[case::behind_thoughts(
        "<think>maybe {\"tools\":[\"a\"]}</think>{\"tools\":[\"b\"]}",
        Ok(vec![1])
    )]
    #[case::a_bare_list(r#"["a"]"#, Ok(vec![0]))]
    #[case::after_another_object(r#"{"note": 1} {"tools":["a"]}"#, Ok(vec![0]))]
    #[case::twice(r#"{"tools":["a","a","b","a"]}"#, Ok(vec![0, 1]))]
    #[case::unknown_among_known(r#"{"tools":["x","b"," a",7,null,{"id":"a"}]}"#, Ok(vec![1]))]
    #[case::only_unknown(r#"{"tools":["x"]}"#, Err(AnswerError::UnknownTools))]
    #[case::another_shape(r#"{"tools":"a"}"#, Err(AnswerError::WrongShape))]
    #[case::another_key(r#"{"ids":["a"]}"#, Err(AnswerError::WrongShape))]
    #[case::a_number("7", Err(AnswerError::Malformed))]
    #[case::words("I would take a.", Err(AnswerError::Malformed))]
    #[case::cut(r#"{"tools":["a","#, Err(AnswerError::Malformed))]
    #[case::nothing("", Err(AnswerError::Malformed))]
    fn only_known_ids_of_the_json_in_a_text_count(
        #[case] text: &str,
        #[case] expected: Result<Vec<usize>, AnswerError>,
    ) {
        assert_eq!(parse_ranking(&ModelOutput::Text(text.into()), &IDS, 10), expected);
    }

    #[test]
    fn no_more_ids_than_the_limit_count() {
        assert_eq!(
            parse_ranking(&ModelOutput::Json(json!({"tools": ["c", "b", "a"]})), &IDS, 2),
            Ok(vec![2, 1])
        );
    }

    #[test]
    fn a_category_that_does_not_exist_is_none() {
        let said = ModelOutput::Json(json!({"tools": [
            {"id": "a", "category": "web"}, {"id": "b", "category": "root"},
            {"id": "x", "category": "web"}, {"id": "a", "category": "docker"}
        ]}));
        assert_eq!(
            parse_categories(&said, &IDS, &["docker", "web"]),
            Ok(vec![Some(1), None, None])
        );
        let said = ModelOutput::Json(json!({"tools": [{"id": "a", "category": "root"}]}));
        assert_eq!(
            parse_categories(&said, &["a"], &["web"]),
            Ok(vec![None]),
            "this is an answer, so the model is not asked again"
        );
        assert_eq!(
            parse_categories(&ModelOutput::Json(json!({"tools": []})), &IDS, &["web"]),
            Err(AnswerError::UnknownTools)
        );
    }

    proptest! {
        #[test]
        fn any_text_gives_only_positions_of_known_ids(
            text in "[\\[\\]{}\",:abxtols ]{0,60}",
            limit in 0_usize..5,
        ) {
            if let Ok(chosen) = parse_ranking(&ModelOutput::Text(text), &IDS, limit) {
                prop_assert!(chosen.len() <= limit);
                prop_assert!(chosen.iter().all(|position| *position < IDS.len()));
                let unique: std::collections::HashSet<_> = chosen.iter().collect();
                prop_assert_eq!(unique.len(), chosen.len());
            }
        }
    }
}
