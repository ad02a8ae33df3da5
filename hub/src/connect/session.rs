//! The session with the server: its id, its protocol version, and the handshake to open it again.

use std::borrow::Cow;
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::header::{HeaderMap, HeaderName, HeaderValue};
use mcphub_hub_protocol::message::Request;
use mcphub_hub_protocol::{json_splice, mcp_headers};
use serde::Deserialize;

pub(super) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const MCP_METHOD: HeaderName = HeaderName::from_static("mcp-method");
const MCP_NAME: HeaderName = HeaderName::from_static("mcp-name");

/// What the client and the server have agreed on.
#[derive(Debug, Default)]
pub(super) struct Session {
    state: Mutex<State>,
    /// Held during a handshake, so that concurrent requests that get 404 open one session.
    pub(super) opening: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default, Clone)]
struct State {
    id: Option<HeaderValue>,
    version: Option<HeaderValue>,
    /// The client's `initialize`, to open another session when the server has lost this one.
    initialize: Option<String>,
}

impl Session {
    /// Notes the client's `initialize` and the head of its response.
    pub(super) fn opened(&self, initialize: &str, headers: &HeaderMap) {
        let id = headers.get(SESSION_ID).cloned();
        *self.state() = State { id, version: None, initialize: Some(initialize.to_owned()) };
    }

    /// Notes the protocol version in the response to `initialize`.
    pub(super) fn set_version(&self, response: &str) {
        #[derive(Deserialize)]
        struct Response {
            result: InitializeResult,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct InitializeResult {
            protocol_version: String,
        }
        if let Ok(Response { result }) = serde_json::from_str(response) {
            self.state().version = HeaderValue::from_str(&result.protocol_version).ok();
        }
    }

    /// The id, if there is a session.
    pub(super) fn id(&self) -> Option<HeaderValue> {
        self.state().id.clone()
    }

    pub(super) fn initialize_message(&self) -> Option<String> {
        self.state().initialize.clone()
    }

    /// The headers of every message in the session.
    pub(super) fn headers(&self) -> HeaderMap {
        let state = self.state().clone();
        let mut headers = HeaderMap::new();
        headers.extend(state.id.map(|id| (SESSION_ID, id)));
        headers.extend(state.version.map(|version| (PROTOCOL_VERSION, version)));
        headers
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The headers of a request whose protocol version has no sessions. `None` if its version has.
pub(super) fn stateless_headers(request: &Request<'_>) -> Option<HeaderMap> {
    let version = request.params.meta.as_ref()?.protocol_version.as_deref()?;
    let mut headers = HeaderMap::new();
    headers.insert(PROTOCOL_VERSION, HeaderValue::from_str(version).ok()?);
    headers.insert(MCP_METHOD, HeaderValue::from_str(&request.method).ok()?);
    if let Some(name) = name_of(request) {
        headers.insert(MCP_NAME, HeaderValue::from_str(&mcp_headers::encode(&name)).ok()?);
    }
    Some(headers)
}

/// What `Mcp-Name` repeats: the name of a tool or a prompt, or the URI of a resource.
fn name_of(request: &Request<'_>) -> Option<String> {
    let member = match &*request.method {
        "tools/call" | "prompts/get" => "name",
        "resources/read" => "uri",
        _ => return None,
    };
    let params = json_splice::members(request.params.text?)?;
    let value = params.iter().rfind(|param| param.key == member)?.value;
    json_splice::unquoted(value).map(Cow::into_owned)
}
