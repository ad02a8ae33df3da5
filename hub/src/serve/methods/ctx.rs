//! What a method knows about the request that it answers, besides the message itself.

use std::sync::Arc;

use mcphub_hub_catalog::catalog::Tool;
use mcphub_hub_catalog::principal::Principal;
use mcphub_hub_protocol::version::ProtocolVersion;
use mcphub_hub_protocol::{mcp_headers, rewrite};

use crate::serve::state::sessions::Session;

/// JSON-RPC error code of a header that does not agree with the body.
pub(crate) const HEADER_MISMATCH: i64 = -32020;

/// What a method knows about the request that it answers.
#[derive(Clone)]
pub(crate) struct Ctx {
    /// The protocol version that the request speaks.
    pub version: ProtocolVersion,
    pub principal: Arc<Principal>,
    /// `None` for a request without a session.
    pub session: Option<Arc<Session>>,
    /// The view whose path the request came on; `None` without a view.
    pub view: Option<String>,
    pub mirrored: MirroredHeaders,
    /// Whether the client accepts a stream of messages as the answer.
    pub accepts_stream: bool,
    /// False for requests of the hub itself, which no metric counts.
    pub counted: bool,
}

impl Ctx {
    /// The context of a request that the hub sends itself.
    pub(crate) fn internal(principal: &Arc<Principal>, version: ProtocolVersion) -> Self {
        Self {
            version,
            principal: Arc::clone(principal),
            session: None,
            view: None,
            mirrored: MirroredHeaders::default(),
            accepts_stream: false,
            counted: false,
        }
    }
}

/// The `Mcp-Param-*` headers of a request: lower-case names and values.
#[derive(Debug, Clone, Default)]
pub(crate) struct MirroredHeaders(Vec<(String, String)>);

impl FromIterator<(String, String)> for MirroredHeaders {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(headers: I) -> Self {
        Self(headers.into_iter().collect())
    }
}

impl MirroredHeaders {
    /// Checks that the headers repeat the arguments that this tool wants mirrored. `Err` is a
    /// JSON-RPC error object.
    pub(crate) fn check(&self, tool: &Tool, arguments: Option<&str>) -> Result<(), String> {
        for mirrored in tool.param_headers() {
            let body = mcp_headers::argument_value(mirrored, arguments);
            if !mcp_headers::agrees(self.get(&mirrored.header), body.as_deref()) {
                return Err(header_mismatch(&mirrored.header));
            }
        }
        Ok(())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The JSON-RPC error object for a header that does not agree with the body.
pub(crate) fn header_mismatch(name: &str) -> String {
    rewrite::error(
        -32020,
        &format!("Header mismatch: {name} is missing or does not match the body"),
    )
}
