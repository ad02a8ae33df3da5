//! The arguments that tools want repeated in headers (2026-07-28). A stdio client does not send
//! them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use http::header::{HeaderMap, HeaderName, HeaderValue};
use mcphub_hub_protocol::json_splice;
use mcphub_hub_protocol::mcp_headers::{self, ParamHeader};
use mcphub_hub_protocol::message::Request;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Tools beyond this number get no headers, so that memory stays bounded.
const MAX_TOOLS: usize = 5000;

/// The headers of the tools in the lists that have passed.
#[derive(Debug, Default)]
pub(super) struct ToolHeaders(Mutex<HashMap<String, Vec<ParamHeader>>>);

impl ToolHeaders {
    /// Reads a response to `tools/list`.
    pub(super) fn read(&self, response: &str) {
        #[derive(Deserialize)]
        struct Response<'a> {
            #[serde(borrow)]
            result: List<'a>,
        }
        #[derive(Deserialize)]
        struct List<'a> {
            #[serde(borrow)]
            tools: Vec<&'a RawValue>,
        }
        #[derive(Deserialize)]
        struct Tool {
            name: String,
        }
        if !response.contains("x-mcp-header") {
            return;
        }
        let Ok(Response { result }) = serde_json::from_str(response) else { return };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for definition in result.tools {
            let Ok(Tool { name }) = serde_json::from_str(definition.get()) else { continue };
            let headers = mcp_headers::param_headers(definition.get());
            if headers.is_empty() {
                known.remove(&name);
            } else if known.len() < MAX_TOOLS {
                known.insert(name, headers);
            }
        }
    }

    /// The headers of a call.
    pub(super) fn headers(&self, request: &Request<'_>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if request.method != "tools/call" {
            return headers;
        }
        let name = request.params.name.and_then(json_splice::unquoted).unwrap_or_default();
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for mirrored in known.get(&*name).into_iter().flatten() {
            let value = mcp_headers::argument_value(mirrored, request.params.arguments);
            let value = value.and_then(|it| HeaderValue::from_str(&mcp_headers::encode(&it)).ok());
            let name = mirrored.header.parse::<HeaderName>().ok();
            headers.extend(name.zip(value));
        }
        headers
    }
}
