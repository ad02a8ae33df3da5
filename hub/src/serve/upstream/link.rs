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
    /// Whether the server notifies of changed tools.
    pub(super) list_changed: bool,
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
    fn stateless(list_changed: bool, instructions: Option<Arc<str>>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(STATELESS_VERSION));
        Self { stateless: true, headers: Arc::new(headers), list_changed, instructions }
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
        capabilities: Capabilities,
        #[serde(default)]
        instructions: Option<String>,
    }
    let link = Link::stateless(false, None);
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
        .map(|read| {
            Link::stateless(
                read.capabilities.tools.is_some_and(|tools| tools.list_changed),
                read.instructions.map(Into::into),
            )
        }))
}

#[derive(Default, Deserialize)]
struct Capabilities {
    #[serde(default)]
    tools: Option<Tools>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tools {
    #[serde(default)]
    list_changed: bool,
}

/// Opens a session with `initialize`.
async fn initialize(endpoint: &Endpoint, timeout: Duration) -> Result<Link, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Initialized {
        protocol_version: String,
        #[serde(default)]
        capabilities: Capabilities,
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
    let list_changed = read.capabilities.tools.is_some_and(|tools| tools.list_changed);
    Ok(Link {
        stateless: false,
        headers: Arc::new(headers),
        list_changed,
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

/// Whether the response to our request with this id says that the session is unknown. The
/// specification says 404. The examples of the SDKs send 400, which may also be the answer to the
/// request itself.
pub(super) async fn session_is_gone(
    link: &Link,
    response: &mut UpstreamResponse,
    id: &str,
) -> Result<bool, Error> {
    if !link.has_session()
        || !matches!(response.status, StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST)
    {
        return Ok(false);
    }
    if response.status == StatusCode::BAD_REQUEST
        && let Some(text) = response.next().await?
        && matches!(
            parse_upstream(&text),
            Some(UpstreamMessage::Error { id: Some(answered), .. }) if answered == id
        )
    {
        response.unread(text);
        return Ok(false);
    }
    Ok(true)
}
