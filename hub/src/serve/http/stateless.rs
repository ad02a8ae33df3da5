//! What 2026-07-28 wants of a request before it is looked at: headers that agree with the body.

use axum::http::StatusCode;
use axum::http::header::HeaderMap;
use mcphub_hub_catalog::catalog::Tool;
use mcphub_hub_protocol::message::{Params, Request};
use mcphub_hub_protocol::version::{self, ProtocolVersion, UnsupportedVersion};
use mcphub_hub_protocol::{json_splice, mcp_headers, rewrite};

use crate::serve::http::mcp::{Answer, header};

const HEADER_MISMATCH: i64 = -32020;
const MISSING_CAPABILITY: i64 = -32021;
const UNSUPPORTED_VERSION: i64 = -32022;
const METHOD_NOT_FOUND: i64 = -32601;
const INVALID_PARAMS: i32 = -32602;

/// The HTTP status of an error.
pub fn status(version: ProtocolVersion, code: i64) -> StatusCode {
    match (version, code) {
        (
            ProtocolVersion::Stateless,
            HEADER_MISMATCH | MISSING_CAPABILITY | UNSUPPORTED_VERSION,
        ) => StatusCode::BAD_REQUEST,
        (ProtocolVersion::Stateless, METHOD_NOT_FOUND) => StatusCode::NOT_FOUND,
        _ => StatusCode::OK,
    }
}

/// The answer to a version that the hub does not speak.
pub fn unsupported(id: Option<&str>, unsupported: &UnsupportedVersion) -> Answer {
    let supported: Vec<&str> = version::supported().collect();
    let error = serde_json::json!({
        "code": UNSUPPORTED_VERSION,
        "message": unsupported.to_string(),
        "data": {"supported": supported, "requested": unsupported.requested},
    });
    let text = rewrite::error_response(id, &error.to_string());
    Answer::One { status: StatusCode::BAD_REQUEST, text, session: None }
}

/// Whether headers and `_meta` are what the specification wants (Request Metadata, Server Validation).
pub fn check(headers: &HeaderMap, request: &Request<'_>) -> Result<(), Answer> {
    let meta = request.params.meta.as_ref();
    let version = meta.and_then(|meta| meta.protocol_version.as_deref());
    let Some(version) = version else {
        return Err(invalid(request, "_meta lacks io.modelcontextprotocol/protocolVersion"));
    };
    if meta
        .and_then(|meta| meta.client_capabilities)
        .is_none_or(|capabilities| !capabilities.starts_with('{'))
    {
        return Err(invalid(request, "_meta lacks io.modelcontextprotocol/clientCapabilities"));
    }
    agree(request, "MCP-Protocol-Version", header(headers, "mcp-protocol-version"), version)?;
    agree(request, "Mcp-Method", header(headers, "mcp-method"), &request.method)?;
    if request.method == "tools/call" {
        let name = request.params.name.and_then(json_splice::unquoted).unwrap_or_default();
        let given = header(headers, "mcp-name").and_then(mcp_headers::decode);
        agree(request, "Mcp-Name", given.as_deref(), &name)?;
    }
    Ok(())
}

/// Whether the headers mirror the arguments that this tool wants mirrored.
pub fn check_mirrored(headers: &HeaderMap, tool: &Tool, params: &Params<'_>) -> Result<(), String> {
    for mirrored in tool.param_headers() {
        let body = mcp_headers::argument_value(mirrored, params.arguments);
        if !mcp_headers::agrees(header(headers, &mirrored.header), body.as_deref()) {
            return Err(mismatch(&mirrored.header));
        }
    }
    Ok(())
}

/// The error object of headers that do not agree.
fn mismatch(name: &str) -> String {
    rewrite::error(
        -32020,
        &format!("Header mismatch: {name} is missing or does not match the body"),
    )
}

fn agree(
    request: &Request<'_>,
    name: &str,
    header: Option<&str>,
    body: &str,
) -> Result<(), Answer> {
    if header == Some(body) {
        return Ok(());
    }
    Err(Answer::error(ProtocolVersion::Stateless, request.id, &mismatch(name), HEADER_MISMATCH))
}

fn invalid(request: &Request<'_>, message: &str) -> Answer {
    let text = rewrite::error_response(
        Some(request.id),
        &rewrite::error(INVALID_PARAMS, &format!("Invalid params: {message}")),
    );
    Answer::One { status: StatusCode::BAD_REQUEST, text, session: None }
}
