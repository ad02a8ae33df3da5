//! What a list costs in a model's prompt, in tokens.
//!
//! The count is that of OpenAI's public tokenizer `o200k_base` for name, description and input
//! schema as compact JSON, times 1.2. The tokenizers of other vendors are not public; their counts
//! of tool definitions are up to a fifth higher.

use mcphub_hub_protocol::json_splice;

/// The factor on the count of `o200k_base`, per mille.
const FACTOR_PER_MILLE: usize = 1200;

/// The tokens of a tool's definition.
pub fn count_definition(name: &str, description: &str, input_schema: &str) -> u32 {
    let mut text = format!(
        "{{\"name\":{},\"description\":{}",
        json_splice::quoted(name),
        json_splice::quoted(description)
    );
    if !input_schema.is_empty() {
        text.push_str(",\"inputSchema\":");
        text.push_str(&json_splice::compact(input_schema));
    }
    text.push('}');
    count(&text)
}

/// The tokens of a text.
pub fn count(text: &str) -> u32 {
    // Ordinary: a special token in a description is counted as text.
    let tokens = tiktoken_rs::o200k_base_singleton().count_ordinary(text);
    u32::try_from((tokens * FACTOR_PER_MILLE).div_ceil(1000)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    // A changed count changes what fits into every budget.
    #[test]
    fn a_count_is_that_of_o200k_base_times_1_2_rounded_up() {
        assert_eq!(count(""), 0);
        assert_eq!(count("hello world"), 3);
        assert_eq!(count_definition("a", "", ""), count(r#"{"name":"a","description":""}"#));
    }

    #[test]
    fn white_space_in_a_schema_costs_nothing() {
        let spaced = "{ \"type\" : \"object\" ,\n  \"properties\" : { } }";
        assert_eq!(
            count_definition("a", "b", spaced),
            count_definition("a", "b", "{\"type\":\"object\",\"properties\":{}}")
        );
    }

    // With a quadratic encoder, one hostile description would hang a hub.
    #[test]
    fn a_megabyte_without_spaces_is_counted() {
        assert!(count(&"a".repeat(1 << 20)) > 1000);
    }
}
