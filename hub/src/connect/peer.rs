//! The server that a stdio client talks to.

use axum::http::header::HOST;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, Uri};
use url::Url;

use crate::local_service::LocalService;

/// A server with Streamable HTTP.
#[derive(Clone)]
pub(crate) enum Peer {
    Remote {
        client: reqwest::Client,
        url: Url,
        /// Sent with every request.
        headers: HeaderMap,
    },
    /// The hub in this process.
    Local(LocalService),
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The request has not reached the server, so it can be sent again.
    #[error("failed to connect to {0}")]
    NotConnected(String),
    #[error("the connection broke: {0}")]
    Broken(String),
}

impl Peer {
    /// Sends a request, and returns when the head of the response is there.
    pub(super) async fn send(
        &self,
        method: Method,
        extra: HeaderMap,
        body: String,
    ) -> Result<reqwest::Response, Error> {
        let mut all = HeaderMap::new();
        all.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        if !body.is_empty() {
            all.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        match self {
            Self::Remote { client, url, headers } => {
                all.extend(headers.clone());
                all.extend(extra);
                let request = client.request(method, url.clone()).headers(all).body(body);
                request.send().await.map_err(|error| {
                    let host = url.authority().to_owned();
                    let connect = error.is_connect();
                    let cause = error.without_url().to_string();
                    if connect { Error::NotConnected(host) } else { Error::Broken(cause) }
                })
            }
            Self::Local(service) => {
                all.insert(HOST, HeaderValue::from_static("localhost"));
                all.extend(extra);
                let mut request = http::Request::new(body);
                *request.method_mut() = method;
                *request.uri_mut() = Uri::from_static("/mcp");
                *request.headers_mut() = all;
                Ok(service.send(request).await)
            }
        }
    }
}
