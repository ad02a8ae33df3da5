//! JSON-RPC envelopes, borrowed from the bytes that came in. Payloads stay raw JSON.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json_splice::{self, last_member, raw};

/// The JSON-RPC code of an error that has no code.
const INTERNAL_ERROR: i64 = -32603;

/// One message of a client.
#[derive(Debug, Clone)]
pub enum Message<'a> {
    Request(Request<'a>),
    Notification(Notification<'a>),
    /// A response to a request of the hub.
    Response,
}

#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// A JSON string or number, byte for byte.
    pub id: &'a str,
    pub method: Cow<'a, str>,
    pub params: Params<'a>,
}

#[derive(Debug, Clone)]
pub struct Notification<'a> {
    pub method: Cow<'a, str>,
    pub params: Params<'a>,
}

/// The parameters, and the members that the hub reads. Members are byte for byte.
#[derive(Debug, Clone, Default)]
pub struct Params<'a> {
    /// All parameters, byte for byte; `None` if there are none.
    pub text: Option<&'a str>,
    pub name: Option<&'a str>,
    pub arguments: Option<&'a str>,
    pub cursor: Option<&'a str>,
    /// `requestId` of a cancellation.
    pub request_id: Option<&'a str>,
    /// `protocolVersion` of `initialize`.
    pub protocol_version: Option<Cow<'a, str>>,
    /// `clientInfo` of `initialize`.
    pub client_info: Option<&'a str>,
    /// `capabilities` of `initialize`.
    pub capabilities: Option<&'a str>,
    /// `_meta`.
    pub meta: Option<Meta<'a>>,
}

/// The members of `_meta` that the hub reads.
#[derive(Debug, Clone, Default)]
pub struct Meta<'a> {
    /// All of `_meta`, byte for byte.
    pub text: &'a str,
    /// `io.modelcontextprotocol/protocolVersion`.
    pub protocol_version: Option<Cow<'a, str>>,
    /// `io.modelcontextprotocol/clientCapabilities`.
    pub client_capabilities: Option<&'a str>,
    pub progress_token: Option<&'a str>,
}

/// Why a body is not a message. The client gets the text.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    #[error("Parse error: the body is not JSON: {0}")]
    Parse(String),
    /// JSON, but not a JSON-RPC 2.0 message.
    #[error("Invalid request: {reason}")]
    Invalid {
        reason: &'static str,
        /// The id of the request, if it is valid.
        id: Option<String>,
    },
}

impl Error {
    /// The JSON-RPC error code.
    pub fn code(&self) -> i32 {
        match self {
            Self::Parse(_) => -32700,
            Self::Invalid { .. } => -32600,
        }
    }

    /// The id for the response.
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Parse(_) => None,
            Self::Invalid { id, .. } => id.as_deref(),
        }
    }
}

/// The body of a POST.
#[derive(Debug, Clone)]
#[allow(
    clippy::large_enum_variant,
    reason = "one lives on the stack for each request; a box would cost an allocation"
)]
pub enum Body<'a> {
    Single(Message<'a>),
    /// A batch (2025-03-26 only). Each message may be malformed.
    Batch(Vec<&'a str>),
}

pub fn parse_body(text: &str) -> Result<Body<'_>, Error> {
    if text.trim_start().starts_with('[') {
        let batch: Vec<&RawValue> =
            serde_json::from_str(text).map_err(|error| Error::Parse(error.to_string()))?;
        if batch.is_empty() {
            return Err(Error::Invalid { reason: "the batch is empty", id: None });
        }
        return Ok(Body::Batch(batch.into_iter().map(RawValue::get).collect()));
    }
    parse(text).map(Body::Single)
}

pub fn parse(text: &str) -> Result<Message<'_>, Error> {
    let envelope: Envelope<'_> =
        serde_json::from_str(text).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => {
                Error::Invalid { reason: "not a JSON-RPC message", id: None }
            }
            _ => Error::Parse(error.to_string()),
        })?;
    let id = envelope.id.map(RawValue::get);
    let valid_id = id.filter(|id| is_id(id));
    let invalid = |reason| Error::Invalid { reason, id: valid_id.map(str::to_owned) };
    if !text.trim_start().starts_with('{') {
        return Err(invalid("not a JSON-RPC message"));
    }
    if envelope.jsonrpc.map(RawValue::get) != Some("\"2.0\"") {
        return Err(invalid("\"jsonrpc\" must be \"2.0\""));
    }
    let Some(method) = envelope.method else {
        let answers = envelope.result.is_some() || envelope.error.is_some();
        return if answers { Ok(Message::Response) } else { Err(invalid("\"method\" is missing")) };
    };
    let params = params(envelope.params).map_err(invalid)?;
    match (id, valid_id) {
        (None, _) => Ok(Message::Notification(Notification { method: method.0, params })),
        (Some(_), Some(id)) => Ok(Message::Request(Request { id, method: method.0, params })),
        (Some(_), None) => Err(invalid("\"id\" must be a string or a number")),
    }
}

fn is_id(text: &str) -> bool {
    text.starts_with(['"', '-']) || text.starts_with(|c: char| c.is_ascii_digit())
}

fn params(params: Option<&RawValue>) -> Result<Params<'_>, &'static str> {
    let Some(text) = params.map(RawValue::get).filter(|text| *text != "null") else {
        return Ok(Params::default());
    };
    if !text.starts_with('{') {
        return Err("\"params\" must be an object");
    }
    // With two members of one name, the hub could check one and the server obey the other.
    let read: RawParams<'_> = serde_json::from_str(text)
        .map_err(|_| "\"params\" has a member twice or of a wrong type")?;
    let RawParams {
        name,
        arguments,
        cursor,
        request_id,
        protocol_version,
        client_info,
        capabilities,
        meta,
    } = read;
    Ok(Params {
        text: Some(text),
        name: name.map(RawValue::get),
        arguments: arguments.map(RawValue::get),
        cursor: cursor.map(RawValue::get),
        request_id: request_id.map(RawValue::get),
        protocol_version: protocol_version.and_then(|version| json_splice::unquoted(version.get())),
        client_info: client_info.map(RawValue::get),
        capabilities: capabilities.map(RawValue::get),
        meta: meta.map(RawValue::get).filter(|text| *text != "null").map(parse_meta).transpose()?,
    })
}

fn parse_meta(text: &str) -> Result<Meta<'_>, &'static str> {
    if !text.starts_with('{') {
        return Err("\"_meta\" must be an object");
    }
    let read: RawMeta<'_> = serde_json::from_str(text)
        .map_err(|_| "\"_meta\" has a member twice or of a wrong type")?;
    let RawMeta { protocol_version, client_capabilities, progress_token } = read;
    Ok(Meta {
        text,
        protocol_version: protocol_version.and_then(|version| json_splice::unquoted(version.get())),
        client_capabilities: client_capabilities.map(RawValue::get),
        progress_token: progress_token.map(RawValue::get),
    })
}

/// A message of an upstream server.
#[derive(Debug, Clone)]
pub enum UpstreamMessage<'a> {
    /// The result of a request of the hub.
    Result {
        id: &'a str,
        result: &'a str,
    },
    /// The error of a request of the hub.
    Error {
        /// `None` if the server could not read the id.
        id: Option<&'a str>,
        /// The error object, byte for byte.
        error: &'a str,
        code: i64,
    },
    Notification {
        method: Cow<'a, str>,
        params: Option<&'a str>,
    },
    /// A request to the hub.
    Request {
        id: &'a str,
        method: Cow<'a, str>,
    },
}

/// Reads a message of an upstream server. `None` if it is not a message.
pub fn parse_upstream(text: &str) -> Option<UpstreamMessage<'_>> {
    let members = json_splice::members(text)?;
    let member = |key: &str| last_member(&members, key);
    let id = member("id").filter(|id| is_id(id));
    if let Some(method) = member("method").and_then(json_splice::unquoted) {
        return Some(match id {
            Some(id) => UpstreamMessage::Request { id, method },
            None => UpstreamMessage::Notification { method, params: member("params") },
        });
    }
    if let Some(error) = member("error").filter(|error| *error != "null") {
        return Some(UpstreamMessage::Error { id, error, code: error_code(error) });
    }
    Some(UpstreamMessage::Result { id: id?, result: member("result")? })
}

/// The code of an error object. Some servers send it as a string or leave it out; what they want to
/// say is still an error.
fn error_code(error: &str) -> i64 {
    let members = json_splice::members(error).unwrap_or_default();
    let code = last_member(&members, "code").unwrap_or_default();
    code.trim_matches('"').parse().unwrap_or(INTERNAL_ERROR)
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default, deserialize_with = "raw")]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "raw")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "raw")]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "raw")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "raw")]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawParams<'a> {
    #[serde(borrow, default, deserialize_with = "raw")]
    name: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "raw")]
    arguments: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "raw")]
    cursor: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "raw")]
    request_id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "raw")]
    protocol_version: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "raw")]
    client_info: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "raw")]
    capabilities: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "_meta", deserialize_with = "raw")]
    meta: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RawMeta<'a> {
    #[serde(
        borrow,
        default,
        rename = "io.modelcontextprotocol/protocolVersion",
        deserialize_with = "raw"
    )]
    protocol_version: Option<&'a RawValue>,
    #[serde(
        borrow,
        default,
        rename = "io.modelcontextprotocol/clientCapabilities",
        deserialize_with = "raw"
    )]
    client_capabilities: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "progressToken", deserialize_with = "raw")]
    progress_token: Option<&'a RawValue>,
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn the_id_and_the_parameters_of_a_request_stay_byte_for_byte() {
        let text = r#"{"jsonrpc":"2.0","id": "\u0041","method":"tools/call","params":{"name":"x","arguments":{"n":1e400}}}"#;
        let Message::Request(request) = parse(text).unwrap() else { panic!("no request") };
        assert_eq!((request.id, &*request.method), (r#""\u0041""#, "tools/call"));
        assert_eq!(request.params.arguments, Some(r#"{"n":1e400}"#));
    }

    #[rstest]
    #[case(r#"{"jsonrpc":"2.0","id":1"#, -32700)]
    #[case("nonsense", -32700)]
    #[case(r#""text""#, -32600)]
    #[case(r#"["2.0",1,"ping"]"#, -32600)]
    #[case(r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, -32600)]
    #[case(r#"{"id":1,"method":"ping"}"#, -32600)]
    #[case(r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32600)]
    #[case(r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, -32600)]
    #[case(r#"{"jsonrpc":"2.0","id":1}"#, -32600)]
    #[case(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[1]}"#, -32600)]
    #[case(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","name":"b"}}"#, -32600)]
    #[case(r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":7}}"#, -32600)]
    fn an_invalid_message_is_rejected_with_its_code(#[case] text: &str, #[case] code: i32) {
        assert_eq!(parse(text).map(|_| ()).unwrap_err().code(), code);
    }

    #[test]
    fn a_million_brackets_are_an_error_and_not_a_crash() {
        let deep = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{{"arguments":{}"#,
            "[".repeat(1_000_000)
        );
        assert_eq!(parse(&deep).map(|_| ()).unwrap_err().code(), -32700);
    }

    #[test]
    fn the_kinds_of_upstream_messages_are_distinguished() {
        assert!(matches!(
            parse_upstream(r#"{"jsonrpc":"2.0","id":1,"result":{"a":1}}"#),
            Some(UpstreamMessage::Result { id: "1", .. })
        ));
        assert!(matches!(
            parse_upstream(r#"{"jsonrpc":"2.0","id":null,"error":{"code":-1,"message":""}}"#),
            Some(UpstreamMessage::Error { id: None, code: -1, .. })
        ));
        assert!(matches!(
            parse_upstream(r#"{"jsonrpc":"2.0","method":"n"}"#),
            Some(UpstreamMessage::Notification { .. })
        ));
        assert!(matches!(
            parse_upstream(r#"{"jsonrpc":"2.0","id":"s","method":"ping"}"#),
            Some(UpstreamMessage::Request { .. })
        ));
        assert!(parse_upstream("{}").is_none());
        assert!(parse_upstream("<html>").is_none());
    }
}
