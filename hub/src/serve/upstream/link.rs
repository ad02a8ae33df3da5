//! How to talk to a server: the protocol version, and the session.

use std::sync::Arc;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use mcphub_hub_protocol::message::{UpstreamMessage, parse_upstream};
use mcphub_hub_protocol::rewrite::{self, Hop};
use mcphub_hub_protocol::version::{STATEFUL_VERSIONS, STATELESS_VERSION};
use mcphub_hub_wire::config::Transport;
use serde::Deserialize;
use tokio::time::Duration;

use super::endpoint::{Endpoint, UpstreamResponse};
use super::error::Error;

pub(super) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
pub(super) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
pub(super) const MCP_METHOD: HeaderName = HeaderName::from_static("mcp-method");
pub(super) const MCP_NAME: HeaderName = HeaderName::from_static("mcp-name");
/// A server that has sessions may not answer `server/discover` at all.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// `clientInfo` of the hub, as JSON.
pub(super) const CLIENT_INFO: &str =
    concat!(r#"{"name":"mcp-hub","version":""#, env!("CARGO_PKG_VERSION"), r#""}"#);

/// How to talk to a server whose handshake is done.
#[derive(Debug, Clone)]
pub(super) struct Link {
    /// The server has no sessions, so that every request says who we are.
    pub(super) stateless: bool,
    /// Sent with every request.
    pub(super) headers: Arc<HeaderMap>,
    /// The instructions of the server for models.
    pub(super) instructions: Option<Arc<str>>,
}

impl Link {
    /// Whether there is a session that the server may close.
    pub(super) fn has_session(&self) -> bool {
        self.headers.contains_key(SESSION_ID)
    }

    /// How parameters are edited for this server.
    pub(super) fn hop(&self, progress_token: Option<u64>) -> Hop<'static> {
        Hop { stateless: self.stateless, client_info: CLIENT_INFO, progress_token }
    }

    /// The headers of a request. `name` is the name of the tool that it calls.
    pub(super) fn request_headers(&self, method: &'static str, name: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::clone(&self.headers);
        if self.stateless {
            headers.insert(MCP_METHOD, HeaderValue::from_static(method));
            let encoded = name.and_then(|name| {
                HeaderValue::from_str(&mcphub_hub_protocol::mcp_headers::encode(name)).ok()
            });
            headers.extend(encoded.map(|name| (MCP_NAME, name)));
        }
        headers
    }

    /// The link to a server without sessions.
    fn stateless(instructions: Option<Arc<str>>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(STATELESS_VERSION));
        Self { stateless: true, headers: Arc::new(headers), instructions }
    }
}

/// Does the handshake: without a session if the server supports that, otherwise with one.
pub(super) async fn open(
    endpoint: &Endpoint,
    transport: Transport,
    timeout: Duration,
) -> Result<Link, Error> {
    let error = match open_streamable(endpoint, timeout).await {
        Err(error) => error,
        opened => return opened,
    };
    if transport != Transport::Auto {
        return Err(error);
    }
    if endpoint.may_be_legacy_sse(&error) {
        endpoint.set_legacy_sse(true);
        let opened = initialize(endpoint, timeout).await;
        endpoint.set_legacy_sse(opened.is_ok());
        return opened.map_err(|_| error);
    }
    if endpoint.uses_legacy_sse() {
        // The server may have changed: the next attempt starts with Streamable HTTP.
        endpoint.set_legacy_sse(false);
    }
    Err(error)
}

async fn open_streamable(endpoint: &Endpoint, timeout: Duration) -> Result<Link, Error> {
    match discover(endpoint, timeout.min(PROBE_TIMEOUT)).await {
        Ok(Some(link)) => Ok(link),
        Err(error) if !may_be_stateful(&error) => Err(error),
        Ok(None) | Err(_) => initialize(endpoint, timeout).await,
    }
}

/// Whether a server with sessions may have reacted like this to a method that it does not know.
fn may_be_stateful(error: &Error) -> bool {
    matches!(error, Error::TimedOut(_) | Error::ConnectionLost(_) | Error::InvalidResponse(_))
}

/// Sends `server/discover`. `None` if the server does not support the version without sessions.
async fn discover(endpoint: &Endpoint, timeout: Duration) -> Result<Option<Link>, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Discovered {
        supported_versions: Vec<String>,
        #[serde(default)]
        instructions: Option<String>,
    }
    let link = Link::stateless(None);
    let params = rewrite::hub_params(&[], link.hop(None));
    let body = request("0", "server/discover", &params);
    let mut response = endpoint
        .send(Method::POST, body, &link.request_headers("server/discover", None), timeout)
        .await?;
    if !response.status.is_success() {
        return Ok(None);
    }
    let Some(result) = tokio::time::timeout(timeout, response_to(&mut response, "0"))
        .await
        .map_err(|_| Error::TimedOut(timeout))??
    else {
        return Ok(None);
    };
    let read: Option<Discovered> =
        result.ok().and_then(|result| serde_json::from_str(&result).ok());
    Ok(read
        .filter(|read| read.supported_versions.iter().any(|version| version == STATELESS_VERSION))
        .map(|read| Link::stateless(read.instructions.map(Into::into))))
}

/// Opens a session with `initialize`.
async fn initialize(endpoint: &Endpoint, timeout: Duration) -> Result<Link, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Initialized {
        protocol_version: String,
        #[serde(default)]
        instructions: Option<String>,
    }
    let params = format!(
        r#"{{"protocolVersion":"{}","capabilities":{{}},"clientInfo":{CLIENT_INFO}}}"#,
        STATEFUL_VERSIONS[0]
    );
    let body = request("0", "initialize", &params);
    let mut response = endpoint.send(Method::POST, body, &HeaderMap::new(), timeout).await?;
    let status = response.status;
    let session = response.headers.get(SESSION_ID).cloned();
    let read = tokio::time::timeout(timeout, response_to(&mut response, "0"))
        .await
        .map_err(|_| Error::TimedOut(timeout))?;
    let result = match read {
        Ok(Some(Ok(result))) => result,
        Ok(Some(Err((code, error)))) => {
            return Err(Error::Refused { method: "initialize", error, code });
        }
        _ if !status.is_success() => return Err(Error::Http(status)),
        Ok(None) => return Err(Error::InvalidResponse("no response to initialize".into())),
        Err(error) => return Err(error),
    };
    let invalid = |_| Error::InvalidResponse("the result of initialize".into());
    let read: Initialized = serde_json::from_str(&result).map_err(invalid)?;
    if !STATEFUL_VERSIONS.contains(&read.protocol_version.as_str()) {
        return Err(Error::InvalidResponse("an unsupported protocol version".into()));
    }
    let mut headers = HeaderMap::new();
    headers.extend(session.map(|id| (SESSION_ID, id)));
    headers.extend(
        HeaderValue::from_str(&read.protocol_version)
            .ok()
            .map(|version| (PROTOCOL_VERSION, version)),
    );
    let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.to_owned();
    let accepted = endpoint.send(Method::POST, initialized, &headers, timeout).await?;
    if !accepted.status.is_success() {
        return Err(Error::Http(accepted.status));
    }
    Ok(Link {
        stateless: false,
        headers: Arc::new(headers),
        instructions: read.instructions.map(Into::into),
    })
}

/// The result of our request with this id, or its error with the code. `None` if the response has
/// neither.
pub(super) async fn response_to(
    response: &mut UpstreamResponse,
    id: &str,
) -> Result<Option<Result<String, (i64, String)>>, Error> {
    while let Some(text) = response.next().await? {
        match parse_upstream(&text) {
            Some(UpstreamMessage::Result { id: answered, result }) if answered == id => {
                return Ok(Some(Ok(result.to_owned())));
            }
            Some(UpstreamMessage::Error { id: answered, error, code })
                if answered.is_none_or(|answered| answered == id) =>
            {
                return Ok(Some(Err((code, error.to_owned()))));
            }
            Some(_) => {}
            None => response.skip(&text)?,
        }
    }
    Ok(None)
}

/// A request of the hub itself.
pub(super) fn request(id: &str, method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#)
}

/// How a server may say that it does not know the session, or us, any more. Some of these codes
/// also have other meanings.
const LOST_CODES: [i64; 4] = [-32000, -32001, -32002, -32600];
/// Codes that are about the request as the hub made it: its headers, its capabilities, its protocol
/// version, its method.
const HOP_CODES: [i64; 4] = [-32020, -32021, -32022, -32601];

/// Whether an error is about this hop. It says nothing to the caller.
pub(super) fn is_hop_error(code: i64) -> bool {
    HOP_CODES.contains(&code)
}

/// Whether an error may mean that the session is lost.
pub(super) fn may_be_lost(code: i64) -> bool {
    LOST_CODES.contains(&code) || is_hop_error(code)
}

/// Why a server refused our request before it ran it.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It does not know the session.
    SessionGone,
    /// It may not know the session any more, or may have changed its protocol version.
    Unclear {
        code: i64,
        /// The error object as JSON text.
        error: String,
    },
}

/// Whether the response to our request with this id is a refusal. The specification says 404 for a
/// lost session. The examples of the SDKs send 400, other servers send errors with status 200.
pub(super) async fn refusal(
    link: &Link,
    response: &mut UpstreamResponse,
    id: &str,
) -> Result<Option<Refusal>, Error> {
    let status = response.status;
    if status == StatusCode::NOT_FOUND && link.has_session() {
        return Ok(Some(Refusal::SessionGone));
    }
    if !status.is_success() && !status.is_client_error() {
        return Ok(None);
    }
    let bad_request = status == StatusCode::BAD_REQUEST && link.has_session();
    let text = match response.next().await {
        Ok(text) => text,
        // It broke, and can be resumed.
        Err(Error::ConnectionLost(_)) if response.last_event_id.is_some() => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(text) = text else {
        return Ok(bad_request.then_some(Refusal::SessionGone));
    };
    // Most responses are results, which need not be parsed here too.
    let error = (!status.is_success() || text.contains("\"error\"")).then(|| parse_upstream(&text));
    let refusal = match error.flatten() {
        Some(UpstreamMessage::Error { id: None, .. }) if bad_request => Some(Refusal::SessionGone),
        Some(UpstreamMessage::Error { id: answered, code, error })
            if answered.is_none_or(|answered| answered == id) && may_be_lost(code) =>
        {
            Some(Refusal::Unclear { code, error: error.to_owned() })
        }
        Some(UpstreamMessage::Error { .. }) => None,
        _ => bad_request.then_some(Refusal::SessionGone),
    };
    response.unread(text);
    Ok(refusal)
}

/// Whether the server still knows us. It does if it does not answer in time.
pub(super) async fn is_alive(endpoint: &Endpoint, link: &Link) -> bool {
    if link.stateless {
        return !matches!(discover(endpoint, PROBE_TIMEOUT).await, Ok(None));
    }
    let ping = async {
        let body = request("\"ping\"", "ping", "{}");
        let mut response = endpoint.send(Method::POST, body, &link.headers, PROBE_TIMEOUT).await?;
        if response.status.is_client_error() {
            return Ok(false);
        }
        let answer = response_to(&mut response, "\"ping\"").await?;
        // A server that does not know the method knows the session.
        Ok::<_, Error>(!matches!(answer, Some(Err((code, _))) if code != -32601))
    };
    tokio::time::timeout(PROBE_TIMEOUT, ping).await.map_or(true, |alive| alive.unwrap_or(true))
}
