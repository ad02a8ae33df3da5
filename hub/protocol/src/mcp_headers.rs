//! Headers that mirror parts of a body (2026-07-28, "Request Metadata"). Each hop computes them
//! again.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::json_splice;

const PREFIX: &str = "=?base64?";
const SUFFIX: &str = "?=";

/// An argument that is mirrored into a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamHeader {
    /// The keys from the root of the arguments to the mirrored one.
    pub path: Vec<String>,
    /// The name of the header, `mcp-param-…`.
    pub header: String,
}

/// The mirrored arguments of a tool: properties with `x-mcp-header` that are reached only through
/// `properties`.
pub fn param_headers(definition: &str) -> Vec<ParamHeader> {
    let mut found = Vec::new();
    // Most tools have none, and parsing a whole schema is expensive.
    if definition.contains("x-mcp-header") {
        let tool: Value = serde_json::from_str(definition).unwrap_or_default();
        collect(
            tool.pointer("/inputSchema/properties").and_then(Value::as_object),
            &mut Vec::new(),
            &mut found,
        );
    }
    found
}

fn collect(
    properties: Option<&Map<String, Value>>,
    path: &mut Vec<String>,
    found: &mut Vec<ParamHeader>,
) {
    for (name, schema) in properties.into_iter().flatten() {
        path.push(name.clone());
        let token = |text: &&str| !text.is_empty() && text.bytes().all(is_token);
        let primitive = matches!(
            schema.get("type").and_then(Value::as_str),
            Some("string" | "integer" | "boolean")
        );
        if let Some(header) =
            schema.get("x-mcp-header").and_then(Value::as_str).filter(token).filter(|_| primitive)
        {
            found.push(ParamHeader {
                path: path.clone(),
                header: format!("mcp-param-{}", header.to_ascii_lowercase()),
            });
        }
        collect(schema.get("properties").and_then(Value::as_object), path, found);
        path.pop();
    }
}

/// The value to mirror, as text. `None` if the arguments have none.
pub fn argument_value(mirrored: &ParamHeader, arguments: Option<&str>) -> Option<String> {
    let found = mirrored.path.iter().try_fold(arguments?, |text, name| {
        json_splice::members(text)?
            .into_iter()
            .find(|member| member.key == name.as_str())
            .map(|member| member.value)
    })?;
    match found.chars().next()? {
        '"' => json_splice::unquoted(found).map(Into::into),
        '-' | '0'..='9' | 't' | 'f' => Some(found.to_owned()),
        _ => None,
    }
}

/// Whether a member on the path of the argument is there more than once. Parsers differ in which
/// one they take, so the call could be routed by one value and run with the other.
pub fn is_ambiguous(mirrored: &ParamHeader, arguments: Option<&str>) -> bool {
    let mut text = arguments;
    for name in &mirrored.path {
        let Some(members) = text.and_then(json_splice::members) else { return false };
        let mut same = members.into_iter().filter(|member| member.key == name.as_str());
        text = same.next().map(|member| member.value);
        if same.next().is_some() {
            return true;
        }
    }
    false
}

/// Whether header and body have the same value. Numbers are compared as numbers.
pub fn agrees(header: Option<&str>, body: Option<&str>) -> bool {
    match (header.map(decode), body) {
        (None, None) => true,
        (Some(Some(header)), Some(body)) => {
            let number = |text: &str| text.parse::<f64>().ok();
            header == body || number(&header).is_some_and(|header| number(body) == Some(header))
        }
        _ => false,
    }
}

/// A text as a header value; in base64 if a header cannot carry it.
pub fn encode(text: &str) -> String {
    let plain = text.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
        && text.trim() == text
        && !(text.starts_with(PREFIX) && text.ends_with(SUFFIX));
    if plain { text.to_owned() } else { format!("{PREFIX}{}{SUFFIX}", STANDARD.encode(text)) }
}

/// The text of a header value. `None` if its base64 is invalid.
pub fn decode(value: &str) -> Option<String> {
    match value.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX)) {
        Some(encoded) => {
            STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok())
        }
        None => Some(value.to_owned()),
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const TOOL: &str = r#"{"name":"sql","inputSchema":{"type":"object","properties":{
        "region":{"type":"string","x-mcp-header":"Region"},
        "where":{"type":"object","properties":{"shard":{"type":"integer","x-mcp-header":"Shard"}}},
        "ratio":{"type":"number","x-mcp-header":"Ratio"},
        "list":{"type":"array","items":{"type":"string","x-mcp-header":"Item"}}}}}"#;

    #[test]
    fn mirrored_arguments_are_found_through_properties_only() {
        let found = param_headers(TOOL);
        let headers: Vec<&str> = found.iter().map(|mirrored| mirrored.header.as_str()).collect();
        assert_eq!(headers, ["mcp-param-region", "mcp-param-shard"]);
        let arguments = Some(r#"{"where":{"shard": 9007199254740991},"region":"eu-\u00fc"}"#);
        assert_eq!(argument_value(&found[0], arguments).as_deref(), Some("eu-ü"));
        assert_eq!(argument_value(&found[1], arguments).as_deref(), Some("9007199254740991"));
        assert_eq!(argument_value(&found[1], Some(r#"{"where":{"shard":null}}"#)), None);
        assert_eq!(argument_value(&found[0], None), None);
    }

    // The examples of the specification.
    #[rstest]
    #[case("us-west1", "us-west1")]
    #[case("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?=")]
    #[case(" padded ", "=?base64?IHBhZGRlZCA=?=")]
    #[case("line1\nline2", "=?base64?bGluZTEKbGluZTI=?=")]
    #[case("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=")]
    fn values_are_encoded_as_specified(#[case] text: &str, #[case] value: &str) {
        assert_eq!(encode(text), value);
    }

    #[rstest]
    #[case(Some("42.0"), Some("42"), true)]
    #[case(Some("a"), Some("a"), true)]
    #[case(None, None, true)]
    #[case(None, Some("a"), false)]
    #[case(Some("a"), None, false)]
    #[case(Some("a"), Some("b"), false)]
    #[case(Some("=?base64?!?="), Some("!"), false)]
    fn header_and_body_must_agree(
        #[case] header: Option<&str>,
        #[case] body: Option<&str>,
        #[case] agree: bool,
    ) {
        assert_eq!(agrees(header, body), agree);
    }

    proptest! {
        #[test]
        fn any_text_survives_a_header(text in "\\PC*") {
            let value = encode(&text);
            prop_assert!(value.bytes().all(|byte| (0x20..=0x7e).contains(&byte)));
            prop_assert_eq!(decode(&value).unwrap(), text);
        }
    }
}
