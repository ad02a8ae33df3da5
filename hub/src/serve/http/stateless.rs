//! What 2026-07-28 requires of a request before the hub looks at its method: headers that agree
//! with the body.

use axum::http::StatusCode;
use axum::http::header::HeaderMap;
use mcphub_hub_protocol::message::Request;
use mcphub_hub_protocol::version::{self, ProtocolVersion, UnsupportedVersion};
use mcphub_hub_protocol::{json_splice, mcp_headers, rewrite};

use super::responses::{Refusal, header};
use crate::serve::methods::ctx::{HEADER_MISMATCH, header_mismatch};

const MISSING_CAPABILITY: i64 = -32021;
const UNSUPPORTED_VERSION: i64 = -32022;
const METHOD_NOT_FOUND: i64 = -32601;
const INVALID_PARAMS: i32 = -32602;

/// The HTTP status of a response with this error code. Only the protocol without sessions shows
/// some of them.
pub(super) fn status(version: ProtocolVersion, code: Option<i64>) -> StatusCode {
    match (version, code) {
        (
            ProtocolVersion::Stateless,
            Some(HEADER_MISMATCH | MISSING_CAPABILITY | UNSUPPORTED_VERSION),
        ) => StatusCode::BAD_REQUEST,
        (ProtocolVersion::Stateless, Some(METHOD_NOT_FOUND)) => StatusCode::NOT_FOUND,
        _ => StatusCode::OK,
    }
}

/// The refusal of a version that the hub does not speak.
pub(super) fn unsupported(id: Option<&str>, unsupported: &UnsupportedVersion) -> Refusal {
    let supported: Vec<&str> = version::supported().collect();
    let error = serde_json::json!({
        "code": UNSUPPORTED_VERSION,
        "message": unsupported.to_string(),
        "data": {"supported": supported, "requested": unsupported.requested},
    });
    Refusal::new(StatusCode::BAD_REQUEST, id, &error.to_string())
}

/// Checks headers and `_meta` as the specification requires (Request Metadata, Server Validation).
pub(super) fn check(headers: &HeaderMap, request: &Request<'_>) -> Result<(), Refusal> {
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
        let mirrored = header(headers, "mcp-name").and_then(mcp_headers::decode);
        agree(request, "Mcp-Name", mirrored.as_deref(), &name)?;
    }
    Ok(())
}

fn agree(
    request: &Request<'_>,
    name: &str,
    header: Option<&str>,
    body: &str,
) -> Result<(), Refusal> {
    if header == Some(body) {
        return Ok(());
    }
    Err(Refusal::new(StatusCode::BAD_REQUEST, Some(request.id), &header_mismatch(name)))
}

fn invalid(request: &Request<'_>, message: &str) -> Refusal {
    let error = rewrite::error(INVALID_PARAMS, &format!("Invalid params: {message}"));
    Refusal::new(StatusCode::BAD_REQUEST, Some(request.id), &error)
}
