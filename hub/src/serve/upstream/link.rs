//! How a server is spoken to: which version, and in which session.

use std::sync::Arc;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use mcphub_hub_protocol::message::{UpstreamMessage as Message, parse_upstream};
use mcphub_hub_protocol::rewrite::{self, Hop};
use mcphub_hub_protocol::version::{STATEFUL_VERSIONS, STATELESS_VERSION};
use mcphub_hub_wire::config::Transport;
use serde::Deserialize;
use tokio::time::Duration;

use super::endpoint::{Answer, Endpoint};
use super::error::Error;

pub(super) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
pub(super) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
pub(super) const MCP_METHOD: HeaderName = HeaderName::from_static("mcp-method");
pub(super) const MCP_NAME: HeaderName = HeaderName::from_static("mcp-name");
/// A legacy server may say nothing at all to `server/discover`.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// `clientInfo` of the hub.
pub(super) const CLIENT_INFO: &str =
    concat!(r#"{"name":"mcp-hub","version":""#, env!("CARGO_PKG_VERSION"), r#""}"#);

/// An open way to a server.
#[derive(Debug, Clone)]
pub(super) struct Link {
    /// No session, and who we are in every request.
    pub(super) modern: bool,
    /// Sent with every request on it.
    pub(super) headers: Arc<HeaderMap>,
    /// The server tells when its tools change.
    pub(super) tells_changes: bool,
    /// What the server says of itself to models.
    pub(super) instructions: Option<Arc<str>>,
}

impl Link {
    /// Whether there is a session that can be gone.
    pub(super) fn has_session(&self) -> bool {
        self.headers.contains_key(SESSION_ID)
    }

    /// How parameters are edited for it.
    pub(super) fn hop(&self, progress_token: Option<u64>) -> Hop<'static> {
        Hop { stateless: self.modern, client_info: CLIENT_INFO, progress_token }
    }

    /// The headers of a request on it. `name` is the tool's, where there is one.
    pub(super) fn request_headers(&self, method: &'static str, name: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::clone(&self.headers);
        if self.modern {
            headers.insert(MCP_METHOD, HeaderValue::from_static(method));
            let encoded = name.and_then(|name| {
                HeaderValue::from_str(&mcphub_hub_protocol::mcp_headers::encode(name)).ok()
            });
            headers.extend(encoded.map(|name| (MCP_NAME, name)));
        }
        headers
    }

    /// The one way to a modern server.
    fn modern(tells_changes: bool, instructions: Option<Arc<str>>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(STATELESS_VERSION));
        Self { modern: true, headers: Arc::new(headers), tells_changes, instructions }
    }
}

/// Opens a way: modern where the server is, else a session.
pub(super) async fn open(
    endpoint: &Endpoint,
    transport: Transport,
    timeout: Duration,
) -> Result<Link, Error> {
    match transport {
        Transport::Sse => Err(Error::Unaskable("transport Sse is not supported yet".into())),
        Transport::Auto | Transport::StreamableHttp => {
            match discover(endpoint, timeout.min(PROBE_TIMEOUT)).await {
                Ok(Some(link)) => Ok(link),
                // Whatever a legacy server makes of an unknown method, the handshake decides.
                Ok(None) | Err(Error::TimedOut(_) | Error::Cut(_) | Error::Unparsable(_)) => {
                    handshake(endpoint, timeout).await
                }
                Err(error) => Err(error),
            }
        }
    }
}

/// Asks the modern way. `None`: the server does not speak it.
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
    let link = Link::modern(false, None);
    let params = rewrite::hub_params(&[], link.hop(None));
    let body = request("0", "server/discover", &params);
    let mut answer = endpoint
        .send(Method::POST, body, &link.request_headers("server/discover", None), timeout)
        .await?;
    if !answer.status.is_success() {
        return Ok(None);
    }
    let Some(result) = tokio::time::timeout(timeout, response_to(&mut answer, "0"))
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
            Link::modern(
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

/// Opens a legacy session.
async fn handshake(endpoint: &Endpoint, timeout: Duration) -> Result<Link, Error> {
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
    let mut answer = endpoint.send(Method::POST, body, &HeaderMap::new(), timeout).await?;
    let status = answer.status;
    let session = answer.headers.get(SESSION_ID).cloned();
    let read = tokio::time::timeout(timeout, response_to(&mut answer, "0"))
        .await
        .map_err(|_| Error::TimedOut(timeout))?;
    let result = match read {
        Ok(Some(Ok(result))) => result,
        Ok(Some(Err((code, error)))) => {
            return Err(Error::Refused { method: "initialize", error, code });
        }
        _ if !status.is_success() => return Err(Error::Http(status)),
        Ok(None) => return Err(Error::Unparsable("no response to initialize".into())),
        Err(error) => return Err(error),
    };
    let unparsable = |_| Error::Unparsable("the result of initialize".into());
    let read: Initialized = serde_json::from_str(&result).map_err(unparsable)?;
    if !STATEFUL_VERSIONS.contains(&read.protocol_version.as_str()) {
        return Err(Error::Unparsable("a protocol version that the hub does not speak".into()));
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
    let tells_changes = read.capabilities.tools.is_some_and(|tools| tools.list_changed);
    Ok(Link {
        modern: false,
        headers: Arc::new(headers),
        tells_changes,
        instructions: read.instructions.map(Into::into),
    })
}

/// The result, or the error with its code, of our request with this id. `None`: the answer ends without one.
pub(super) async fn response_to(
    answer: &mut Answer,
    id: &str,
) -> Result<Option<Result<String, (i64, String)>>, Error> {
    while let Some(text) = answer.next().await? {
        match parse_upstream(&text) {
            Some(Message::Result { id: of, result }) if of == id => {
                return Ok(Some(Ok(result.to_owned())));
            }
            Some(Message::Error { id: of, error, code }) if of.is_none_or(|of| of == id) => {
                return Ok(Some(Err((code, error.to_owned()))));
            }
            Some(_) => {}
            None => return Err(Error::Unparsable("no JSON-RPC message".into())),
        }
    }
    Ok(None)
}

/// A request of the hub.
pub(super) fn request(id: &str, method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#)
}

/// Whether the answer to our request with this id says that the session is not known. The specification says 404;
/// the SDKs' examples say 400, which may also be the answer to the request itself.
pub(super) async fn says_gone(link: &Link, answer: &mut Answer, id: &str) -> Result<bool, Error> {
    if !link.has_session()
        || !matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST)
    {
        return Ok(false);
    }
    if answer.status == StatusCode::BAD_REQUEST
        && let Some(text) = answer.next().await?
        && matches!(parse_upstream(&text), Some(Message::Error { id: Some(of), .. }) if of == id)
    {
        answer.unread(text);
        return Ok(false);
    }
    Ok(true)
}
