//! One request to a server, from sending it to its response.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue};
use mcphub_hub_protocol::message::{UpstreamMessage, parse_upstream};
use tokio::time::Instant;

use super::breaker::BreakerGuard;
use super::endpoint::UpstreamResponse;
use super::error::Error;
use super::link;
use super::session::UpstreamSession;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// How long to wait before resuming a stream if the server does not say.
const DEFAULT_RETRY_MS: u64 = 1000;
/// The shortest time before resuming a stream. It doubles while nothing comes: a server that says 0
/// and closes each stream at once would be asked as fast as the network is.
const MIN_RETRY_MS: u64 = 100;
const MAX_RETRY_MS: u64 = 30_000;
/// How often a server that cannot be reached is asked for the rest of a stream.
const MAX_RESUMES: u32 = 5;

/// A request in flight. If it is dropped before its response, it is cancelled upstream.
#[derive(Debug)]
pub struct Exchange {
    session: Arc<UpstreamSession>,
    id: u64,
    response: Option<UpstreamResponse>,
    deadline: Instant,
    /// The time that the deadline was computed from.
    timeout: Duration,
    finished: bool,
    breaker: Option<BreakerGuard>,
    /// How often the stream was resumed since its last message.
    resumes: u32,
}

/// What a server sends in response to a request, as JSON text.
#[derive(Debug)]
pub enum ExchangeEvent {
    /// The parameters of a progress notification.
    Progress(String),
    Result(String),
    /// The error object, and its code.
    Error(String, i64),
}

impl Exchange {
    pub(super) fn new(
        session: Arc<UpstreamSession>,
        id: u64,
        deadline: Instant,
        timeout: Duration,
    ) -> Self {
        let (response, breaker) = (None, None);
        Self { session, id, response, deadline, timeout, finished: false, breaker, resumes: 0 }
    }

    /// Tells the breaker how the exchange ends.
    pub(super) fn set_breaker(&mut self, breaker: BreakerGuard) {
        self.breaker = Some(breaker);
    }

    pub(super) fn set_response(&mut self, response: UpstreamResponse) {
        self.response = Some(response);
    }

    /// Notes that the server is not working on the request, so that it need not be cancelled.
    pub(super) fn finish(&mut self) {
        self.finished = true;
    }

    /// The id of the request upstream, which is also its progress token.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The next event. A result or an error is the last one.
    pub async fn next(&mut self) -> Result<ExchangeEvent, Error> {
        let event = tokio::time::timeout_at(self.deadline, self.read()).await;
        let event = event.unwrap_or(Err(Error::TimedOut(self.timeout)));
        match &event {
            Ok(ExchangeEvent::Progress(_)) => {}
            Ok(ExchangeEvent::Result(_) | ExchangeEvent::Error(..)) => {
                if let Some(breaker) = self.breaker.take() {
                    breaker.succeed();
                }
            }
            Err(error) => {
                if let Some(breaker) = self.breaker.take() {
                    breaker.fail(error);
                }
            }
        }
        self.finished = matches!(
            event,
            Ok(ExchangeEvent::Result(_) | ExchangeEvent::Error(..)) | Err(Error::Refused { .. })
        );
        event
    }

    async fn read(&mut self) -> Result<ExchangeEvent, Error> {
        let ours = self.id.to_string();
        let Some(response) = &mut self.response else {
            return Err(Error::ConnectionLost("there is no response".into()));
        };
        let status = response.status;
        loop {
            let (text, cause) = match response.next().await {
                Ok(text) => (text, None),
                Err(error @ Error::ConnectionLost(_)) => (None, Some(error)),
                Err(error) => return Err(error),
            };
            let Some(text) = text else {
                if !status.is_success() {
                    return Err(Error::Http(status));
                }
                self.resumes += 1;
                match resume(&self.session, response, self.resumes, self.timeout, cause).await {
                    Ok(resumed) => *response = resumed,
                    Err(Error::NotConnected(_)) if self.resumes < MAX_RESUMES => {}
                    Err(error) => return Err(error),
                }
                continue;
            };
            self.resumes = 0;
            match parse_upstream(&text) {
                Some(UpstreamMessage::Result { id, result })
                    if id == ours && status.is_success() =>
                {
                    return Ok(ExchangeEvent::Result(result.to_owned()));
                }
                Some(UpstreamMessage::Error { id, error, code })
                    if id.is_none_or(|id| id == ours) =>
                {
                    // What it says is about this hop. The caller would take it for its own.
                    if link::is_hop_error(code) {
                        let error = error.to_owned();
                        return Err(Error::Refused { method: "tools/call", error, code });
                    }
                    return Ok(ExchangeEvent::Error(error.to_owned(), code));
                }
                Some(UpstreamMessage::Notification { method, params: Some(params) })
                    if method == "notifications/progress" =>
                {
                    return Ok(ExchangeEvent::Progress(params.to_owned()));
                }
                Some(UpstreamMessage::Request { id, method }) => {
                    self.session.connection.answer_request(id, &method);
                }
                Some(_) => {}
                None if !status.is_success() => return Err(Error::Http(status)),
                None => response.skip(&text)?,
            }
        }
    }
}

/// Resumes a stream that ended or broke before its response. A server with sessions may close a
/// stream and be asked for the rest. `cause` is why the stream broke; `None` if it ended.
async fn resume(
    session: &UpstreamSession,
    broken: &UpstreamResponse,
    attempt: u32,
    timeout: Duration,
    cause: Option<Error>,
) -> Result<UpstreamResponse, Error> {
    let link = &session.connection.link;
    let ended = || Error::ConnectionLost("the stream ended without a response".into());
    let no_response = || cause.clone().unwrap_or_else(ended);
    let last =
        broken.last_event_id.as_deref().filter(|_| !link.stateless).ok_or_else(no_response)?;
    let mut headers = HeaderMap::clone(&link.headers);
    headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    headers.insert(LAST_EVENT_ID, HeaderValue::from_str(last).map_err(|_| no_response())?);
    let retry = broken.retry_ms.unwrap_or(DEFAULT_RETRY_MS).clamp(MIN_RETRY_MS, MAX_RETRY_MS);
    let wait = retry.saturating_mul(1 << attempt.saturating_sub(1).min(10)).min(MAX_RETRY_MS);
    tokio::time::sleep(Duration::from_millis(wait)).await;
    let mut response =
        session.connection.endpoint.send(Method::GET, String::new(), &headers, timeout).await?;
    if !response.status.is_success() || !response.is_stream() {
        return Err(no_response());
    }
    response.last_event_id = Some(last.to_owned());
    response.retry_ms = broken.retry_ms;
    Ok(response)
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // A server without sessions sees that the stream is closed. A server with sessions
        // continues until it is notified.
        if !self.finished
            && !self.session.connection.link.stateless
            && tokio::runtime::Handle::try_current().is_ok()
        {
            let reason = "the caller disconnected, canceled or timed out";
            let params = format!(r#"{{"requestId":{},"reason":"{reason}"}}"#, self.id);
            let method = "notifications/cancelled";
            let cancelled = format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#);
            self.session.connection.send_and_forget(cancelled);
        }
    }
}
