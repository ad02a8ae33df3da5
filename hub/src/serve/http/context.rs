//! What the hub knows about a request before it looks at the method: protocol version, session,
//! principal.

use std::sync::Arc;
use std::time::Instant;

use axum::http::StatusCode;
use axum::http::header::{ACCEPT, HeaderMap, HeaderName};
use mcphub_hub_catalog::principal::Principal;
use mcphub_hub_protocol::message::Message;
use mcphub_hub_protocol::rewrite;
use mcphub_hub_protocol::version::{self, ProtocolVersion, STATELESS_VERSION, VersionHints};

use super::responses::{Refusal, header};
use super::stateless;
use crate::serve::methods::ctx::{Ctx, MirroredHeaders, header_mismatch};
use crate::serve::state::hub::Hub;
use crate::serve::state::sessions::Session;

/// The id of the session, in requests and responses.
pub(crate) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
pub(super) const PROTOCOL_VERSION: &str = "mcp-protocol-version";
const MIRRORED_PREFIX: &str = "mcp-param-";

/// Who sent the request. There is no authentication yet, so every caller is the same.
pub(crate) fn authenticate(hub: &Hub, _headers: &HeaderMap) -> Arc<Principal> {
    Arc::clone(&hub.principal)
}

/// The session that a request names, if it exists, belongs to the caller and was opened on this
/// view.
pub(crate) fn session(hub: &Hub, view: Option<&str>, headers: &HeaderMap) -> Option<Arc<Session>> {
    let id = header(headers, SESSION_ID.as_str())?;
    let principal = authenticate(hub, headers);
    hub.sessions.get(id, view, &principal, Instant::now())
}

/// Finds protocol version, session and principal of a message.
pub(crate) fn read(
    hub: &Hub,
    view: Option<String>,
    headers: &HeaderMap,
    message: &Message<'_>,
) -> Result<Ctx, Refusal> {
    let (id, method, meta) = match message {
        Message::Request(request) => {
            (Some(request.id), &*request.method, request.params.meta.as_ref())
        }
        Message::Notification(notification) => {
            (None, &*notification.method, notification.params.meta.as_ref())
        }
        Message::Response => (None, "", None),
    };
    let meta_version = meta.and_then(|meta| meta.protocol_version.as_deref());
    // The protocol version without sessions has no `initialize`, which a client that speaks it
    // finds out by asking. Others send that version too, by mistake: they name the one they want.
    let initialize = method == "initialize"
        && !(meta_version == Some(STATELESS_VERSION) && requested_version(message).is_none());
    let session = if initialize { None } else { session(hub, view.as_deref(), headers) };
    let hints = VersionHints {
        initialize,
        session: session.as_ref().map(|session| session.version),
        meta: meta_version,
        header: header(headers, PROTOCOL_VERSION),
    };
    let is_known = |version: &str| version::supported().any(|known| known == version);
    if session.is_some() && hints.header.is_some_and(|version| !is_known(version)) {
        let text = "MCP-Protocol-Version is not a version of MCP; send the one of the session";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, id, &rewrite::error(-32600, text)));
    }
    // Before the version is judged: which of the two is wrong is unknown.
    if session.is_none()
        && !initialize
        && let (Some(meta), Some(header)) = (hints.meta, hints.header)
        && meta != header
    {
        let error = header_mismatch("MCP-Protocol-Version");
        return Err(Refusal::new(StatusCode::BAD_REQUEST, id, &error));
    }
    let version =
        version::resolve(hints).map_err(|unsupported| stateless::unsupported(id, &unsupported))?;
    if version != ProtocolVersion::Stateless && session.is_none() && !initialize {
        require_no_session(hub, id, headers)?;
    }
    let mirrored =
        if version.is_stateless() { mirrored(headers) } else { MirroredHeaders::default() };
    Ok(Ctx {
        version,
        principal: authenticate(hub, headers),
        session,
        view,
        mirrored,
        accepts_stream: Accepts::read(headers).events,
        counted: true,
    })
}

/// The version that the parameters of `initialize` ask for.
fn requested_version<'a>(message: &'a Message<'_>) -> Option<&'a str> {
    match message {
        Message::Request(request) => request.params.protocol_version.as_deref(),
        Message::Notification(_) | Message::Response => None,
    }
}

/// A request without a session is served, unless it names one that does not exist or the config
/// requires one.
fn require_no_session(hub: &Hub, id: Option<&str>, headers: &HeaderMap) -> Result<(), Refusal> {
    let refuse =
        |status, message: &str| Err(Refusal::new(status, id, &rewrite::error(-32600, message)));
    if header(headers, SESSION_ID.as_str()).is_some() {
        return refuse(StatusCode::NOT_FOUND, "Session not found; send initialize again");
    }
    if hub.snapshot().config.sessions.require_id {
        return refuse(StatusCode::BAD_REQUEST, "Mcp-Session-Id is missing; send initialize first");
    }
    Ok(())
}

fn mirrored(headers: &HeaderMap) -> MirroredHeaders {
    let names = headers.keys().map(HeaderName::as_str);
    names
        .filter(|name| name.starts_with(MIRRORED_PREFIX))
        .filter_map(|name| Some((name.to_owned(), header(headers, name)?.to_owned())))
        .collect()
}

/// The media types that a client accepts. A client that sends no Accept header, or `*/*`, gets
/// JSON.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Accepts {
    pub json: bool,
    pub events: bool,
}

impl Accepts {
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        let names = |media_type: &str| {
            headers
                .get_all(ACCEPT)
                .iter()
                .any(|value| value.to_str().is_ok_and(|value| value.contains(media_type)))
        };
        let events = names("text/event-stream");
        Self { json: !events || names("application/json") || names("*/*"), events }
    }
}
