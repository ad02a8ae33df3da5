//! The endpoint of a server: where requests go, what is sent with every request, and how responses
//! are read.
//!
//! Everything speaks Streamable HTTP. A stdio server, and a server with the HTTP+SSE transport, is
//! a [`LocalEndpoint`]: a handler in this process that speaks it for them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap};
use http::{Method, StatusCode};
use mcphub_hub_protocol::sse::{Decoder, Event};
use mcphub_hub_wire::config::{ConnectionPool, Server, Transport};
use serde_json::value::RawValue;

use super::error::Error;
use super::http_endpoint::HttpEndpoint;
use super::legacy_sse::LegacySse;
use super::local_endpoint::LocalEndpoint;

/// The longest response that is read. A server must not be able to fill the pod's memory.
const MAX_RESPONSE_BYTES: usize = 16 << 20;

/// Where requests to a server go.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// `None` for a stdio server.
    http: Option<Arc<HttpEndpoint>>,
    /// `None` for a server with Streamable HTTP only.
    local: Option<LocalEndpoint>,
    /// Whether requests go to `local`.
    use_local: AtomicBool,
}

/// A response whose head has been read. Its messages are still to be read.
#[derive(Debug)]
pub(super) struct UpstreamResponse {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    response: reqwest::Response,
    /// `Some` if the rest of the body is an event stream.
    events: Option<Decoder>,
    ready: VecDeque<Event>,
    /// The id of the last event, to resume the stream after it broke.
    pub(super) last_event_id: Option<String>,
    /// How many milliseconds to wait before resuming; `None` if the server does not say.
    pub(super) retry_ms: Option<u64>,
    read: usize,
}

impl Endpoint {
    pub(super) fn new(server: &Server, pool: &ConnectionPool) -> Result<Self, Error> {
        if let Some(command) = &server.command {
            let local = LocalEndpoint::of_command(server, command)?;
            return Ok(Self { http: None, local: Some(local), use_local: AtomicBool::new(true) });
        }
        let http = Arc::new(HttpEndpoint::new(server, pool)?);
        let local = match server.transport {
            Transport::StreamableHttp => None,
            Transport::Auto | Transport::Sse => {
                let program = LegacySse { name: server.name.as_str().into(), http: http.clone() };
                Some(LocalEndpoint::of_legacy_sse(server, program)?)
            }
        };
        let use_local = AtomicBool::new(server.transport == Transport::Sse);
        Ok(Self { http: Some(http), local, use_local })
    }

    /// What to check if the server does not let the hub in; empty for any other error.
    pub(super) fn advice(&self, error: &Error) -> String {
        self.http.as_ref().map(|http| http.advice(error)).unwrap_or_default()
    }

    /// Sends a message and reads the head of the response.
    pub(super) async fn send(
        &self,
        method: Method,
        body: String,
        extra: &HeaderMap,
        timeout: Duration,
    ) -> Result<UpstreamResponse, Error> {
        match (&self.http, &self.local) {
            (_, Some(local)) if self.use_local.load(Ordering::Relaxed) => {
                let sent = local.send(method, body, extra);
                let sent = tokio::time::timeout(timeout, sent).await;
                sent.map(UpstreamResponse::new).map_err(|_| Error::TimedOut(timeout))
            }
            (Some(http), _) => {
                let sent = http.send_to(http.url().clone(), method, body, extra, timeout).await;
                sent.map(UpstreamResponse::new)
            }
            (None, _) => Err(Error::Unusable("it has neither a URL nor a command".into())),
        }
    }

    /// Whether the server may have only the transport HTTP+SSE, which would refuse `initialize`
    /// like this.
    pub(super) fn may_be_legacy_sse(&self, error: &Error) -> bool {
        let refused = matches!(error, Error::Http(status) if status.is_client_error()
            && !matches!(status.as_u16(), 401 | 403 | 407 | 429));
        refused && self.http.is_some() && self.local.is_some() && !self.uses_legacy_sse()
    }

    /// Whether requests go through the transport HTTP+SSE.
    pub(super) fn uses_legacy_sse(&self) -> bool {
        self.http.is_some() && self.use_local.load(Ordering::Relaxed)
    }

    /// Sends the requests from now on through the transport HTTP+SSE, or no longer.
    pub(super) fn set_legacy_sse(&self, on: bool) {
        self.use_local.store(on, Ordering::Relaxed);
    }

    /// Ends the processes of a stdio server, and waits for them.
    pub(super) async fn stop(&self) {
        if let Some(local) = &self.local {
            local.stop().await;
        }
    }
}

impl UpstreamResponse {
    fn new(response: reqwest::Response) -> Self {
        let is_events = response.headers().get(CONTENT_TYPE).is_some_and(|value| {
            value.as_bytes().to_ascii_lowercase().starts_with(b"text/event-stream")
        });
        Self {
            status: response.status(),
            headers: response.headers().clone(),
            response,
            events: is_events.then(Decoder::default),
            ready: VecDeque::new(),
            last_event_id: None,
            retry_ms: None,
            read: 0,
        }
    }

    /// The next message, byte for byte; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<String>, Error> {
        if self.events.is_none() {
            if let Some(unread) = self.ready.pop_front() {
                return Ok(Some(unread.data));
            }
            let whole = self.whole().await?;
            return Ok((!whole.trim().is_empty()).then_some(whole));
        }
        loop {
            while let Some(event) = self.ready.pop_front() {
                let is_message = event.is_message();
                self.last_event_id = event.id.or(self.last_event_id.take());
                self.retry_ms = event.retry_ms.or(self.retry_ms);
                if !event.data.is_empty() && is_message {
                    return Ok(Some(event.data));
                }
            }
            let Some(chunk) = self.chunk().await? else { return Ok(None) };
            if let Some(decoder) = &mut self.events {
                self.ready.extend(decoder.push(&chunk).into_iter().flat_map(split_batch));
                // A long stream is not a long response: only what is buffered counts.
                self.read = decoder.buffered_bytes();
            }
        }
    }

    /// Puts a message back, so that it is the next one again.
    pub(super) fn unread(&mut self, text: String) {
        self.ready.push_front(Event { data: text, ..Event::default() });
    }

    /// Skips a text that is not a JSON-RPC message. Servers send such events to keep a stream open.
    /// A body that is not a message is an error, because nothing comes after it.
    pub(super) fn skip(&self, text: &str) -> Result<(), Error> {
        if !self.is_stream() {
            return Err(Error::InvalidResponse("not a JSON-RPC message".into()));
        }
        tracing::debug!(bytes = text.len(), "skipping an event that is not a JSON-RPC message");
        Ok(())
    }

    /// Whether the response is an event stream, which may have more than one message.
    pub(super) fn is_stream(&self) -> bool {
        self.events.is_some()
    }

    async fn whole(&mut self) -> Result<String, Error> {
        let mut whole = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if whole.is_empty() && self.response.content_length() == Some(chunk.len() as u64) {
                whole = chunk.into();
            } else {
                whole.extend_from_slice(&chunk);
            }
        }
        String::from_utf8(whole)
            .map_err(|_| Error::InvalidResponse("the response is not UTF-8".into()))
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let chunk = self.response.chunk().await.map_err(Error::from_request)?;
        self.read += chunk.as_ref().map_or(0, Bytes::len);
        if self.read > MAX_RESPONSE_BYTES {
            return Err(Error::InvalidResponse(format!(
                "the response is longer than {MAX_RESPONSE_BYTES} bytes"
            )));
        }
        Ok(chunk)
    }
}

/// The events of one message each. Servers of 2025-03-26 may send several messages in one event.
fn split_batch(event: Event) -> Vec<Event> {
    match serde_json::from_str::<Vec<&RawValue>>(&event.data) {
        Ok(batch) if event.data.trim_start().starts_with('[') => batch
            .into_iter()
            .map(|text| Event { data: text.get().to_owned(), ..event.clone() })
            .collect(),
        _ => vec![event],
    }
}
