//! What must hold for any bytes that clients, servers and files may contain. Each function is one
//! fuzz target, and panics if its property does not hold.

use mcphub_hub_catalog::catalog::{Page, ServerList, ToolDetails};
use mcphub_hub_catalog::{config, names};
use mcphub_hub_protocol::json_splice::{self, Edits};
use mcphub_hub_protocol::message::{self, Body, Message, Request, UpstreamMessage};
use mcphub_hub_protocol::rewrite::{self, Hop};
use mcphub_hub_protocol::sse::{self, Decoder};
use mcphub_hub_protocol::version::ProtocolVersion;
use mcphub_hub_protocol::{mcp_headers, version};
use serde_json::value::RawValue;

const SERVER_INFO: &str = r#"{"name":"hub","version":"1"}"#;

fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

/// A message of a client or a server is refused, or every rewrite of it is JSON and keeps what the
/// hub does not own.
pub fn messages(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match message::parse_body(text) {
        Ok(Body::Single(Message::Request(request))) => rewrite_request(&request),
        Ok(Body::Batch(messages)) => {
            for text in messages {
                assert!(is_json(text));
                message::parse(text).ok();
            }
        }
        Ok(Body::Single(_)) => {}
        Err(error) => {
            let object = rewrite::error(error.code(), &error.to_string());
            assert!(is_json(&rewrite::error_response(error.id(), &object)));
        }
    }
    match message::parse_upstream(text) {
        Some(UpstreamMessage::Result { id, result }) => rewrite_result(id, result),
        Some(UpstreamMessage::Error { id, error, .. }) => {
            assert!(is_json(&rewrite::error_response(id, error)));
        }
        Some(UpstreamMessage::Notification { params: Some(params), .. }) => {
            if let Some(params) = rewrite::progress_params(params, 7, "\"t\"") {
                assert!(is_json(&params));
            }
        }
        Some(_) | None => {}
    }
}

fn rewrite_request(request: &Request<'_>) {
    version::negotiate(request.params.protocol_version.as_deref());
    for (stateless, progress_token) in [(false, None), (true, None), (true, Some(7))] {
        let hop = Hop { stateless, client_info: SERVER_INFO, progress_token };
        let params = rewrite::call_params(&request.params, "own", None, hop);
        let sent = format!(
            r#"{{"jsonrpc":"2.0","id":{},"method":"tools/call","params":{params}}}"#,
            request.id
        );
        let Ok(Message::Request(read)) = message::parse(&sent) else {
            panic!("what the hub sends is no request: {sent}");
        };
        assert_eq!(read.params.name, Some("\"own\""));
        assert_eq!(read.params.arguments, request.params.arguments);
        assert_eq!(read.id, request.id);
    }
}

fn rewrite_result(id: &str, result: &str) {
    let Some(head) = rewrite::result_head(result) else { return };
    for version in [ProtocolVersion::Stateless, ProtocolVersion::Stateful("2025-11-25")] {
        let rewritten = rewrite::result_for(version, result, &head, SERVER_INFO);
        assert!(is_json(&rewrite::response(id, &rewritten)), "{rewritten}");
        let read = rewrite::result_head(&rewritten).expect("it is still an object");
        assert_eq!(read.is_error, head.is_error);
        assert!(version.is_stateless() || read.result_type.is_none());
    }
    if let Some(page) = Page::parse::<ToolDetails>(result, 100) {
        for definition in &page.list.definitions {
            assert!(is_json(&definition.text), "{}", definition.text);
            for header in mcp_headers::param_headers(&definition.text) {
                mcp_headers::argument_value(&header, Some(result));
            }
        }
        ServerList::from_pages(vec![page.list]).problem_summary();
    }
}

/// Edits of an object keep every byte that they do not name.
pub fn edits(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if is_json(text) {
        let compact = json_splice::compact(text);
        assert!(is_json(&compact));
        assert_eq!(json_splice::compact(&compact), compact);
    }
    if let Some(unquoted) = json_splice::unquoted(text) {
        let quoted = json_splice::quoted(&unquoted);
        assert_eq!(json_splice::unquoted(&quoted).as_deref(), Some(&*unquoted));
    }
    let Some(members) = json_splice::members(text) else { return };
    let mut same = Edits::new(text);
    for member in &members {
        same = same.replace(member.value, member.value);
        let without = json_splice::without(text, &member.key);
        let left = json_splice::members(&without).expect("it is still an object");
        let kept = members.iter().filter(|kept| kept.key != member.key).map(|kept| kept.text);
        assert!(left.iter().map(|left| left.text).eq(kept), "{without}");
    }
    assert_eq!(same.finish(), text);
    let more = Edits::new(text).insert("new", "1").insert("newer", "[2]").finish();
    let more = json_splice::members(&more).expect("it is still an object");
    assert_eq!(more.len(), members.len() + 2);
    assert!(more.iter().skip(2).map(|more| more.text).eq(members.iter().map(|old| old.text)));
}

/// An event stream has the same events however the network cuts it. The first byte says where.
pub fn events(data: &[u8]) {
    let Some((&step, stream)) = data.split_first() else { return };
    let whole = Decoder::default().push(stream);
    let mut decoder = Decoder::default();
    let chunks = stream.chunks(usize::from(step).max(1));
    let cut: Vec<_> = chunks.flat_map(|chunk| decoder.push(chunk)).collect();
    assert_eq!(whole, cut);
    assert!(decoder.buffered_bytes() <= 3 * stream.len() + 16);
    if let Ok(text) = std::str::from_utf8(stream)
        && !text.contains(['\n', '\r'])
        && !text.is_empty()
    {
        let decoded = Decoder::default().push(sse::encode(text).as_bytes());
        assert_eq!(decoded.first().map(|event| event.data.as_str()), Some(text));
    }
}

/// An exposed name is one that every vendor takes, and never one of the hub's own.
pub fn names(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (prefix, tool) = text.split_once('\0').unwrap_or(("", &text));
    for prefix in [None, Some(prefix).filter(|prefix| !prefix.is_empty())] {
        let name = names::exposed(prefix, tool);
        assert!((1..=48).contains(&name.len()), "{name}");
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        assert!(name.chars().all(is_allowed), "{name}");
        let reserved = format!("{}__", names::RESERVED_PREFIX);
        assert!(prefix == Some(names::RESERVED_PREFIX) || !name.starts_with(&reserved), "{name}");
        assert_eq!(name, names::exposed(prefix, tool));
    }
    let encoded = mcp_headers::encode(&text);
    assert_eq!(mcp_headers::decode(&encoded).as_deref(), Some(&*text), "{encoded}");
}

/// A config file of any format becomes a config or errors that say something.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let environment = |name: &str| (name == "SET").then(|| "value".to_owned());
    for name in ["hub.json", "mcp.yaml"] {
        let file = config::SourceFile { name, folder: "/home/x", project: "/home/x/p", text };
        config::has_servers(&file);
        if let Err(errors) = config::load(&[file], &environment) {
            assert!(!errors.to_string().is_empty());
        }
    }
    config::expand(text, &environment).ok();
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn all_properties_hold_for_the_seeds() {
        let targets: [(&str, fn(&[u8])); 5] = [
            ("messages", super::messages),
            ("edits", super::edits),
            ("events", super::events),
            ("names", super::names),
            ("config", super::config),
        ];
        for (name, target) in targets {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(name);
            let mut seeds = 0;
            for seed in std::fs::read_dir(folder).expect("there is a folder of seeds") {
                target(&std::fs::read(seed.expect("a file").path()).expect("a seed"));
                seeds += 1;
            }
            assert!(seeds > 0, "{name} has no seeds");
        }
    }
}
