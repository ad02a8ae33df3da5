//! The edits of messages that the hub passes on. The list is closed: the tool's name, the `_meta`
//! keys of the hop, progress tokens, and `resultType` if the other version has none. Everything
//! else stays byte for byte.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json_splice::{self, Edits};
use crate::message::{Meta, Params};
use crate::version::{ProtocolVersion, STATELESS_VERSION};

/// The `_meta` keys that belong to one hop. They are never passed on.
const HOP_KEYS: [&str; 5] = [
    "io.modelcontextprotocol/protocolVersion",
    "io.modelcontextprotocol/clientInfo",
    "io.modelcontextprotocol/clientCapabilities",
    "io.modelcontextprotocol/logLevel",
    PROGRESS_TOKEN,
];
const PROGRESS_TOKEN: &str = "progressToken";
/// The `_meta` key of a result that says which server answered. Callers talk to the hub.
const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
const RESULT_TYPE: &str = "resultType";

/// How a request goes to an upstream server.
#[derive(Debug, Clone, Copy)]
pub struct Hop<'a> {
    /// The server uses the stateless protocol, so each request names its client.
    pub stateless: bool,
    /// `clientInfo` of the hub, as JSON.
    pub client_info: &'a str,
    /// Requests progress notifications with this token.
    pub progress_token: Option<u64>,
}

/// The parameters of a call with the server's own name of the tool and these arguments (JSON
/// text). `None` keeps the arguments of the client.
pub fn call_params(
    params: &Params<'_>,
    own_name: &str,
    arguments: Option<&str>,
    hop: Hop<'_>,
) -> String {
    let text = params.text.unwrap_or("{}");
    let edits = Edits::new(text);
    let edits = match params.name {
        Some(name) => edits.replace(name, json_splice::quoted(own_name)),
        None => edits.insert("name", &json_splice::quoted(own_name)),
    };
    let edits = match (params.arguments, arguments) {
        (Some(old), Some(new)) => edits.replace(old, new),
        (None, Some(new)) => edits.insert("arguments", new),
        (_, None) => edits,
    };
    match (&params.meta, meta(params.meta.as_ref(), hop)) {
        (_, None) => edits,
        (Some(old), Some(new)) => edits.replace(old.text, new),
        (None, Some(new)) => edits.insert("_meta", &new),
    }
    .finish()
}

/// The parameters of a request that the hub itself sends.
pub fn hub_params(members: &[(&str, String)], hop: Hop<'_>) -> String {
    let with_meta = meta(None, hop).into_iter().map(|meta| ("_meta", meta));
    let all: Vec<String> = members
        .iter()
        .map(|(key, value)| (*key, value.clone()))
        .chain(with_meta)
        .map(|(key, value)| format!("{}:{value}", json_splice::quoted(key)))
        .collect();
    format!("{{{}}}", all.join(","))
}

/// `_meta` for the next hop. `None` if it stays unchanged.
fn meta(old: Option<&Meta<'_>>, hop: Hop<'_>) -> Option<String> {
    let members = old.and_then(|old| json_splice::members(old.text)).unwrap_or_default();
    let belongs_to_hop = |key: &str| HOP_KEYS.contains(&key);
    if !hop.stateless
        && hop.progress_token.is_none()
        && !members.iter().any(|member| belongs_to_hop(&member.key))
    {
        return None;
    }
    let mut all: Vec<Cow<'_, str>> = Vec::new();
    if hop.stateless {
        all.push(
            format!("\"io.modelcontextprotocol/protocolVersion\":\"{STATELESS_VERSION}\"").into(),
        );
        all.push(format!("\"io.modelcontextprotocol/clientInfo\":{}", hop.client_info).into());
        all.push("\"io.modelcontextprotocol/clientCapabilities\":{}".into());
    }
    all.extend(hop.progress_token.map(|token| format!("\"{PROGRESS_TOKEN}\":{token}").into()));
    all.extend(
        members
            .iter()
            .filter(|member| !belongs_to_hop(&member.key))
            .map(|member| member.text.into()),
    );
    Some(format!("{{{}}}", all.join(",")))
}

/// The parameters of a progress notification with the caller's token. `None` if the token is not
/// `ours`.
pub fn progress_params(params: &str, ours: u64, callers: &str) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Progress<'a> {
        #[serde(borrow)]
        progress_token: &'a RawValue,
    }
    let read: Progress<'_> = serde_json::from_str(params).ok()?;
    let token = read.progress_token.get();
    (token == ours.to_string()).then(|| Edits::new(params).replace(token, callers).finish())
}

/// The members of a result that the hub reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResultHead {
    pub is_error: bool,
    /// `complete`, or another type of the stateless protocol.
    pub result_type: Option<String>,
    /// Whether the key `resultType` is there, whatever its value is.
    has_result_type: bool,
    has_server_info: bool,
}

/// `None` if the result is not an object. A result is passed on and not judged: `null` is as good
/// as no value, and if a key occurs twice the last one counts, as in JSON parsers.
pub fn result_head(result: &str) -> Option<ResultHead> {
    let mut head = ResultHead::default();
    for member in json_splice::members(result)? {
        match &*member.key {
            "isError" => head.is_error = member.value == "true",
            RESULT_TYPE => {
                head.result_type = json_splice::unquoted(member.value).map(Cow::into_owned);
                head.has_result_type = true;
            }
            "_meta" => head.has_server_info |= member.value.contains(SERVER_INFO),
            _ => {}
        }
    }
    Some(head)
}

/// The result for a caller that uses this version. `server_info` is that of the hub, as JSON.
pub fn result_for<'a>(
    version: ProtocolVersion,
    result: &'a str,
    head: &ResultHead,
    server_info: &str,
) -> Cow<'a, str> {
    let result = if head.has_server_info {
        Cow::Owned(with_server_info(result, version.is_stateless().then_some(server_info)))
    } else {
        Cow::Borrowed(result)
    };
    if version.is_stateless() && head.result_type.is_none() {
        Cow::Owned(Edits::new(&result).insert(RESULT_TYPE, "\"complete\"").finish())
    } else if !version.is_stateless() && head.has_result_type {
        Cow::Owned(json_splice::without(&result, RESULT_TYPE).into_owned())
    } else {
        result
    }
}

/// The result with this `serverInfo` in its `_meta`, or without any.
fn with_server_info(result: &str, server_info: Option<&str>) -> String {
    let mut edits = Edits::new(result);
    for meta in json_splice::members(result).unwrap_or_default() {
        if meta.key != "_meta" {
            continue;
        }
        let Some(info) = server_info else {
            edits = edits.replace(meta.value, json_splice::without(meta.value, SERVER_INFO));
            continue;
        };
        for member in json_splice::members(meta.value).unwrap_or_default() {
            if member.key == SERVER_INFO {
                edits = edits.replace(member.value, info.to_owned());
            }
        }
    }
    edits.finish()
}

/// A response with this result.
pub fn response(id: &str, result: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}")
}

/// A response with this error object. The id is `None` if it could not be read.
pub fn error_response(id: Option<&str>, error: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{},\"error\":{error}}}", id.unwrap_or("null"))
}

/// An error object.
pub fn error(code: i32, message: &str) -> String {
    format!("{{\"code\":{code},\"message\":{}}}", json_splice::quoted(message))
}

/// A tool result with `isError`. The model that called the tool reads the message.
pub fn tool_error(message: &str) -> String {
    format!(
        "{{\"content\":[{{\"type\":\"text\",\"text\":{}}}],\"isError\":true}}",
        json_splice::quoted(message)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Message, parse};

    const STATEFUL_HOP: Hop<'_> = Hop { stateless: false, client_info: "{}", progress_token: None };
    const STATELESS_HOP: Hop<'_> =
        Hop { stateless: true, client_info: r#"{"name":"mcp-hub"}"#, progress_token: None };

    fn rewritten(params: &str, hop: Hop<'_>) -> String {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
        let Message::Request(request) = parse(&text).unwrap() else { panic!("no request") };
        call_params(&request.params, "own", request.params.arguments, hop)
    }

    #[test]
    fn in_a_stateful_call_only_the_name_changes() {
        let params = "{ \"z\" : 123456789012345678901234567890,\"n\\u0061me\": \"a__own\" \
                      ,\"arguments\":{\"b\":1.0,\"a\":\"\\u00e9\\ud83d\\ude00\",\"b\":2}\
                      , \"_meta\": {\"traceparent\" :\"x\"} }";
        assert_eq!(rewritten(params, STATEFUL_HOP), params.replace("\"a__own\"", "\"own\""));
    }

    #[test]
    fn the_meta_keys_of_the_hop_are_not_passed_on_and_others_are() {
        let params = r#"{"name":"x","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","com.x/k" : 1e9,"io.modelcontextprotocol/clientCapabilities":{"sampling":{}},"progressToken":"t"}}"#;
        assert_eq!(rewritten(params, STATEFUL_HOP), r#"{"name":"own","_meta":{"com.x/k" : 1e9}}"#);
        assert_eq!(
            rewritten(params, Hop { progress_token: Some(7), ..STATELESS_HOP }),
            r#"{"name":"own","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"mcp-hub"},"io.modelcontextprotocol/clientCapabilities":{},"progressToken":7,"com.x/k" : 1e9}}"#
        );
    }

    #[test]
    fn a_stateless_hop_adds_meta_if_there_was_none() {
        let up = rewritten(r#"{"name":"x","arguments":{}}"#, STATELESS_HOP);
        assert!(
            up.starts_with(r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","#),
            "{up}"
        );
        assert!(
            up.ends_with(r#"}},"name":"own","arguments":{}}"#)
                || up.ends_with(r#"{}},"name":"own","arguments":{}}"#),
            "{up}"
        );
    }

    #[test]
    fn corrected_arguments_replace_those_of_the_client() {
        let text = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name": "x", "arguments" : {"a": 1},"z":1e9}}"#;
        let Message::Request(request) = parse(text).unwrap() else { panic!("no request") };
        let hop = STATEFUL_HOP;
        assert_eq!(
            call_params(&request.params, "own", Some(r#"{"b":2}"#), hop),
            r#"{"name": "own", "arguments" : {"b":2},"z":1e9}"#
        );
    }

    #[test]
    fn progress_is_passed_on_with_the_caller_s_token_and_only_its_own() {
        let params = r#"{"progress": 0.5,"progressToken":7,"total":1}"#;
        assert_eq!(
            progress_params(params, 7, "\"t\"").unwrap(),
            r#"{"progress": 0.5,"progressToken":"t","total":1}"#
        );
        assert_eq!(progress_params(params, 8, "\"t\""), None);
    }

    #[test]
    fn a_stateful_result_gets_a_type_only_for_a_stateless_caller() {
        let result = r#"{"content":[],"x":1e400}"#;
        let head = result_head(result).unwrap();
        let (stateful, stateless) =
            (ProtocolVersion::Stateful("2025-11-25"), ProtocolVersion::Stateless);
        assert_eq!(result_for(stateful, result, &head, "{}"), result);
        assert_eq!(
            result_for(stateless, result, &head, "{}"),
            r#"{"resultType":"complete","content":[],"x":1e400}"#
        );
        let typed = r#"{"resultType":"complete","isError":true}"#;
        let head = result_head(typed).unwrap();
        assert!(head.is_error);
        assert_eq!(result_for(stateless, typed, &head, "{}"), typed);
        assert_eq!(result_for(stateful, typed, &head, "{}"), r#"{"isError":true}"#);
        assert_eq!(result_head("[]"), None);
    }

    // The caller would take the server for the one that it is connected to.
    #[test]
    fn a_result_names_the_hub_and_never_the_server_behind_it() {
        let result = r#"{"content":[],"_meta":{"a":1.0, "io.modelcontextprotocol/serverInfo":{"name":"s"}},"resultType":"complete"}"#;
        let head = result_head(result).unwrap();
        assert_eq!(
            result_for(ProtocolVersion::Stateless, result, &head, r#"{"name":"hub"}"#),
            result.replace(r#"{"name":"s"}"#, r#"{"name":"hub"}"#)
        );
        assert_eq!(
            result_for(ProtocolVersion::Stateful("2025-06-18"), result, &head, "{}"),
            r#"{"content":[],"_meta":{"a":1.0}}"#
        );
    }

    #[test]
    fn an_odd_head_of_a_result_loses_nothing() {
        for (result, is_error) in [
            (r#"{"isError":null,"content":[]}"#, false),
            (r#"{"isError":true,"content":[],"isError":false}"#, false),
            (r#"{"isError":"yes","resultType":null,"\ud800":1e999}"#, false),
            (r#"{"isError":false,"isError":true}"#, true),
        ] {
            let head = result_head(result).unwrap();
            assert_eq!((head.is_error, head.result_type), (is_error, None), "{result}");
        }
    }
}
