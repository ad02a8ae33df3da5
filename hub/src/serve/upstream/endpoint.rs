//! One HTTP endpoint: what is sent with every request, and how answers are read.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use mcphub_hub_protocol::sse::{Decoder, Event};
use mcphub_hub_wire::config::{self, ConnectionPool, Server};
use reqwest::redirect::Policy;
use tokio::time::Instant;
use url::Url;

use super::error::Error;

/// Longest answer that is read; an upstream must not be able to fill the pod's memory.
const MAX_ANSWER_BYTES: usize = 64 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Header files are looked at this often.
const RECHECK: Duration = Duration::from_secs(1);

/// Where a server is, and what it is sent with every request.
#[derive(Debug)]
pub(super) struct Endpoint {
    client: reqwest::Client,
    url: Url,
    fixed: HeaderMap,
    files: Vec<FileHeader>,
}

/// A header whose value is in a file.
#[derive(Debug)]
struct FileHeader {
    name: HeaderName,
    path: PathBuf,
    cached: Mutex<Option<Cached>>,
}

#[derive(Debug, Clone)]
struct Cached {
    looked: Instant,
    modified: Option<SystemTime>,
    value: HeaderValue,
}

/// An answer with its head; messages are still to be read.
#[derive(Debug)]
pub(super) struct Answer {
    /// HTTP status.
    pub(super) status: StatusCode,
    /// HTTP headers.
    pub(super) headers: HeaderMap,
    response: reqwest::Response,
    /// The rest of the body is events.
    events: Option<Decoder>,
    ready: VecDeque<Event>,
    /// Id of the last event, for going on after a cut.
    pub(super) last_event_id: Option<String>,
    /// How long to wait before that, in milliseconds, where the server says so.
    pub(super) retry_ms: Option<u64>,
    read: usize,
}

impl Endpoint {
    /// The endpoint of a server.
    pub(super) fn of(server: &Server, pool: &ConnectionPool) -> Result<Self, Error> {
        let unaskable = |what: &str| Error::Unaskable(what.to_owned());
        let url =
            Url::parse(&server.url).map_err(|error| unaskable(&format!("its url: {error}")))?;
        let mut fixed = HeaderMap::new();
        fixed.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        fixed.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        let mut files = Vec::new();
        for header in &server.headers {
            let name: HeaderName =
                header.name.parse().map_err(|_| unaskable("a header's name is none"))?;
            match &header.value {
                config::HeaderValue::Value(value) => {
                    fixed.insert(name.clone(), secret(value, &name)?);
                }
                config::HeaderValue::File(path) => {
                    files.push(FileHeader { name, path: path.into(), cached: Mutex::default() });
                }
            }
        }
        Ok(Self { client: client(server, pool)?, url, fixed, files })
    }

    /// Sends a message and reads the head of the answer.
    pub(super) async fn send(
        &self,
        method: Method,
        body: String,
        extra: &HeaderMap,
        timeout: Duration,
    ) -> Result<Answer, Error> {
        let mut headers = self.fixed.clone();
        for file in &self.files {
            headers.insert(file.name.clone(), file.value()?);
        }
        for (name, value) in extra {
            headers.insert(name.clone(), value.clone());
        }
        let request = self.client.request(method, self.url.clone()).headers(headers);
        let request = if body.is_empty() { request } else { request.body(body) };
        let sent = tokio::time::timeout(timeout, request.send())
            .await
            .map_err(|_| Error::TimedOut(timeout))?;
        let response = sent.map_err(Error::of_request)?;
        Ok(Answer::of(response))
    }
}

impl FileHeader {
    /// The file's value now. A Secret that is rotated is used without a restart.
    fn value(&self) -> Result<HeaderValue, Error> {
        let now = Instant::now();
        let cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(cached) =
            cached.as_ref().filter(|cached| now.duration_since(cached.looked) < RECHECK)
        {
            return Ok(cached.value.clone());
        }
        let unreadable = |error: std::io::Error| {
            Error::Unaskable(format!(
                "the value of header {} cannot be read from {}: {error}",
                self.name,
                self.path.display()
            ))
        };
        let modified = std::fs::metadata(&self.path).and_then(|data| data.modified()).ok();
        let value = match cached.filter(|cached| cached.modified == modified && modified.is_some())
        {
            Some(cached) => cached.value,
            None => {
                secret(std::fs::read_to_string(&self.path).map_err(unreadable)?.trim(), &self.name)?
            }
        };
        let fresh = Cached { looked: now, modified, value: value.clone() };
        *self.cached.lock().unwrap_or_else(PoisonError::into_inner) = Some(fresh);
        Ok(value)
    }
}

impl Answer {
    fn of(response: reqwest::Response) -> Self {
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

    /// The next message as written; `None` when there are no more.
    pub(super) async fn next(&mut self) -> Result<Option<String>, Error> {
        if self.events.is_none() {
            let whole = self.whole().await?;
            return Ok((!whole.trim().is_empty()).then_some(whole));
        }
        loop {
            while let Some(event) = self.ready.pop_front() {
                self.last_event_id = event.id.or(self.last_event_id.take());
                self.retry_ms = event.retry_ms.or(self.retry_ms);
                if !event.data.is_empty() {
                    return Ok(Some(event.data));
                }
            }
            let Some(chunk) = self.chunk().await? else { return Ok(None) };
            if let Some(decoder) = &mut self.events {
                self.ready.extend(decoder.push(&chunk));
                // Long streams are no long answers: only what is held counts.
                self.read = decoder.buffered_bytes();
            }
        }
    }

    /// Puts a message back, to be the next again.
    pub(super) fn unread(&mut self, text: String) {
        self.events.get_or_insert_default();
        self.ready.push_front(Event { data: text, ..Event::default() });
    }

    /// Whether messages come as events, so that more than one may.
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
        String::from_utf8(whole).map_err(|_| Error::Unparsable("the answer is not UTF-8".into()))
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let chunk = self.response.chunk().await.map_err(Error::of_request)?;
        self.read += chunk.as_ref().map_or(0, Bytes::len);
        if self.read > MAX_ANSWER_BYTES {
            return Err(Error::Unparsable(format!(
                "the answer is longer than {MAX_ANSWER_BYTES} bytes"
            )));
        }
        Ok(chunk)
    }
}

fn secret(value: &str, name: &HeaderName) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(value).map_err(|_| {
        Error::Unaskable(format!(
            "the value of header {name} has characters that no header can carry"
        ))
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn client(server: &Server, pool: &ConnectionPool) -> Result<reqwest::Client, Error> {
    let builder = reqwest::Client::builder()
        .no_proxy() // outgoing connections go to configured servers only
        .redirect(Policy::none()) // a redirect would carry credentials to another host
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(Duration::from_millis(pool.keep_alive_ms))
        .pool_max_idle_per_host(pool.max_connections as usize)
        .user_agent(concat!("mcp-hub/", env!("CARGO_PKG_VERSION")))
        .tls_danger_accept_invalid_certs(server.insecure_skip_verify);
    let builder = match &server.ca_file {
        Some(path) => {
            let unreadable =
                |error: String| Error::Unaskable(format!("the CA bundle {path}: {error}"));
            let pem = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
            let bundle = reqwest::Certificate::from_pem_bundle(&pem)
                .map_err(|error| unreadable(error.to_string()))?;
            builder.tls_certs_only(bundle)
        }
        // The image may have no system certificates, which are an error to load and needless for plain HTTP.
        None if server.url.starts_with("http://") => builder.tls_certs_only([]),
        None => builder,
    };
    builder.build().map_err(|error| Error::Unaskable(format!("no HTTP client: {error}")))
}
