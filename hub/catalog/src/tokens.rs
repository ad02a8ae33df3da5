//! What a list costs in a model's prompt.
//!
//! Counted as name, description and input schema in compact JSON by OpenAI's public `o200k_base`, times 1.2: the
//! tokenizers of other vendors are not public, and their counts of tool definitions are up to a fifth above it.

use mcphub_hub_protocol::json_splice;

/// Per mille of `o200k_base`'s count.
const FACTOR: usize = 1200;

/// Tokens of a tool's definition.
pub fn of_definition(name: &str, description: &str, input_schema: &str) -> u32 {
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
    of_text(&text)
}

/// Tokens of any text.
pub fn of_text(text: &str) -> u32 {
    // Without special tokens: a description that spells one is text like any other.
    let counted = tiktoken_rs::o200k_base_singleton().count_ordinary(text);
    u32::try_from((counted * FACTOR).div_ceil(1000)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    // A changed count moves every budget: 12 of o200k_base (by OpenAI's own tokenizer) times 1.2.
    #[test]
    fn a_count_is_o200k_base_times_one_point_two_rounded_up() {
        assert_eq!(of_text(""), 0);
        assert_eq!(of_text("hello world"), 3);
        assert_eq!(of_definition("a", "", ""), of_text(r#"{"name":"a","description":""}"#));
    }

    #[test]
    fn white_space_in_a_schema_costs_nothing() {
        let spaced = "{ \"type\" : \"object\" ,\n  \"properties\" : { } }";
        assert_eq!(
            of_definition("a", "b", spaced),
            of_definition("a", "b", "{\"type\":\"object\",\"properties\":{}}")
        );
    }

    // Byte pair encoders that are quadratic hang a hub on one hostile description.
    #[test]
    fn a_megabyte_without_spaces_is_counted() {
        assert!(of_text(&"a".repeat(1 << 20)) > 1000);
    }
}
