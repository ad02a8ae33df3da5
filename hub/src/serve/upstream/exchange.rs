//! One request to a server, from sending it to its response.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue};
use mcphub_hub_protocol::message::{UpstreamMessage as Message, parse_upstream};
use mcphub_hub_protocol::rewrite;
use tokio::time::Instant;

use super::Upstream;
use super::endpoint::Answer;
use super::error::Error;
use super::link::Link;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Before asking for the rest of a stream whose server does not say how long to wait.
const DEFAULT_RETRY_MS: u64 = 1000;

/// A request under way. Dropped before its response it is cancelled upstream.
#[derive(Debug)]
pub struct Exchange {
    upstream: Arc<Upstream>,
    link: Link,
    id: u64,
    answer: Option<Answer>,
    deadline: Instant,
    /// What the deadline was made of.
    timeout: Duration,
    done: bool,
}

/// What comes back.
#[derive(Debug)]
pub enum Event {
    /// A progress notification's parameters as written.
    Progress(String),
    /// The result as written.
    Result(String),
    /// The error object as written, and its code.
    Error(String, i64),
}

impl Exchange {
    pub(super) fn new(
        upstream: Arc<Upstream>,
        link: Link,
        id: u64,
        deadline: Instant,
        timeout: Duration,
    ) -> Self {
        Self { upstream, link, id, answer: None, deadline, timeout, done: false }
    }

    pub(super) fn answered(&mut self, answer: Answer) {
        self.answer = Some(answer);
    }

    /// The request never reached the server, or is known to be over there.
    pub(super) fn over(&mut self) {
        self.done = true;
    }

    /// Id of the request upstream, and its progress token.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The next of it. After a result or an error there is no more.
    pub async fn next(&mut self) -> Result<Event, Error> {
        let event = tokio::time::timeout_at(self.deadline, self.read()).await;
        let event = event.map_err(|_| Error::TimedOut(self.timeout))?;
        self.done = matches!(event, Ok(Event::Result(_) | Event::Error(..)));
        event
    }

    async fn read(&mut self) -> Result<Event, Error> {
        let ours = self.id.to_string();
        let Some(answer) = &mut self.answer else {
            return Err(Error::Cut("there is no answer".into()));
        };
        let status = answer.status;
        loop {
            let Some(text) = answer.next().await? else {
                if !status.is_success() {
                    return Err(Error::Http(status));
                }
                *answer = resumed(&self.upstream, &self.link, answer, self.timeout).await?;
                continue;
            };
            match parse_upstream(&text) {
                Some(Message::Result { id, result }) if id == ours && status.is_success() => {
                    return Ok(Event::Result(result.to_owned()));
                }
                Some(Message::Error { id, error, code }) if id.is_none_or(|id| id == ours) => {
                    return Ok(Event::Error(error.to_owned(), code));
                }
                Some(Message::Notification { method, params: Some(params) })
                    if method == "notifications/progress" =>
                {
                    return Ok(Event::Progress(params.to_owned()));
                }
                Some(Message::Request { id, method }) => {
                    self.upstream.answer_request(&self.link, id, &method)
                }
                Some(_) => {}
                None if status.is_success() => {
                    return Err(Error::Unparsable("no JSON-RPC message".into()));
                }
                None => return Err(Error::Http(status)),
            }
        }
    }
}

/// Goes on with a stream that ended before its response: a legacy server may close it and be asked again.
async fn resumed(
    upstream: &Upstream,
    link: &Link,
    cut: &Answer,
    timeout: Duration,
) -> Result<Answer, Error> {
    let over = || Error::Cut("it ended without a response".into());
    let last = cut.last_event_id.as_deref().filter(|_| !link.modern).ok_or_else(over)?;
    let mut headers = HeaderMap::clone(&link.headers);
    headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    headers.insert(LAST_EVENT_ID, HeaderValue::from_str(last).map_err(|_| over())?);
    tokio::time::sleep(Duration::from_millis(cut.retry_ms.unwrap_or(DEFAULT_RETRY_MS))).await;
    let mut answer = upstream.endpoint.send(Method::GET, String::new(), &headers, timeout).await?;
    if !answer.status.is_success() || !answer.is_stream() {
        return Err(over());
    }
    answer.last_event_id = Some(last.to_owned());
    answer.retry_ms = cut.retry_ms;
    Ok(answer)
}

impl Upstream {
    /// Answers what a server asks: that it is there, or that it gets nothing else. Else the server waits for ever.
    pub(super) fn answer_request(self: &Arc<Self>, link: &Link, id: &str, method: &str) {
        if link.modern {
            return; // the modern protocol has no requests of servers
        }
        let response = if method == "ping" {
            rewrite::response(id, "{}")
        } else {
            let message = "mcp-hub does not pass requests of servers on yet";
            rewrite::error_response(Some(id), &rewrite::error(-32601, message))
        };
        self.send_and_forget(link, response);
    }

    pub(super) fn send_and_forget(self: &Arc<Self>, link: &Link, message: String) {
        let (upstream, headers) = (Arc::clone(self), Arc::clone(&link.headers));
        // Not awaited: nothing hangs on it, and the server may be hung.
        tokio::spawn(async move {
            upstream.endpoint.send(Method::POST, message, &headers, upstream.timeout()).await.ok();
        });
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // A modern server sees its stream closed; a legacy one works on until it is told.
        if !self.done && !self.link.modern && tokio::runtime::Handle::try_current().is_ok() {
            let cancelled = format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{},"reason":"the caller is gone or has waited long enough"}}}}"#,
                self.id
            );
            self.upstream.send_and_forget(&self.link.clone(), cancelled);
        }
    }
}
