//! The HTTP+SSE transport of 2024-11-05: a stream for what the server sends, and an address for
//! what it receives.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use mcphub_hub_protocol::sse::{Decoder, Event};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::http_endpoint::HttpEndpoint;
use crate::stdio::{MAX_MESSAGE_BYTES, MAX_QUEUED, Process, ProcessEvent, Program};

/// How long the server may take to name its address, and to accept a message.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Connects to a server. A connection is to a session what a process is to a stdio server.
pub(super) struct LegacySse {
    pub(super) name: Arc<str>,
    pub(super) http: Arc<HttpEndpoint>,
}

impl Program for LegacySse {
    fn start(
        &self,
        number: u64,
        permit: OwnedSemaphorePermit,
    ) -> std::io::Result<(Process, mpsc::Receiver<ProcessEvent>)> {
        let (stdin, messages) = mpsc::channel(MAX_QUEUED);
        let (events, received) = mpsc::channel(MAX_QUEUED);
        let stop = CancellationToken::new();
        let process = Process::new(stdin, stop.clone().drop_guard());
        let (http, name) = (Arc::clone(&self.http), Arc::clone(&self.name));
        tokio::spawn(async move {
            let reason = tokio::select! {
                reason = connect(&http, messages, &events) => reason,
                () = stop.cancelled() => "closed by the hub".to_owned(),
            };
            drop(permit);
            tracing::info!(server = %name, number, reason, "HTTP+SSE connection ended");
            events.send(ProcessEvent::Ended(reason)).await.ok();
        });
        Ok((process, received))
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// Runs a connection. Returns why it has ended.
async fn connect(
    http: &HttpEndpoint,
    messages: mpsc::Receiver<Bytes>,
    events: &mpsc::Sender<ProcessEvent>,
) -> String {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    let opened =
        http.send_to(http.url().clone(), Method::GET, String::new(), &headers, TIMEOUT).await;
    let stream = match opened {
        Ok(response) if !response.status().is_success() => {
            return format!("the event stream has HTTP status {}", response.status());
        }
        Ok(response) if !is_event_stream(&response) => {
            return "the response to GET is not an event stream".into();
        }
        Ok(response) => response,
        Err(error) => return format!("the server {error}"),
    };
    let (address_sender, address) = oneshot::channel();
    tokio::select! {
        reason = receive(http.url(), stream, address_sender, events) => reason,
        reason = send(http, address, messages) => reason,
    }
}

fn is_event_stream(response: &reqwest::Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with("text/event-stream"))
}

/// Reads the stream: first the address, then messages.
async fn receive(
    base: &Url,
    mut stream: reqwest::Response,
    address: oneshot::Sender<Url>,
    events: &mpsc::Sender<ProcessEvent>,
) -> String {
    let mut decoder = Decoder::default();
    let mut address = Some(address);
    loop {
        let chunk = match stream.chunk().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return "the server closed the event stream".into(),
            Err(error) => return format!("the event stream broke: {}", error.without_url()),
        };
        for event in decoder.push(&chunk) {
            let Event { kind, data, .. } = event;
            match kind.as_deref() {
                Some("endpoint") => match address_of(base, &data) {
                    Ok(url) => drop(address.take().map(|sender| sender.send(url))),
                    Err(reason) => return reason,
                },
                None | Some("message") if !data.is_empty() => {
                    let line = ProcessEvent::Line(Bytes::from(data));
                    let Ok(()) = events.send(line).await else {
                        return "its session is gone".into();
                    };
                }
                _ => {}
            }
        }
        if decoder.buffered_bytes() > MAX_MESSAGE_BYTES {
            return format!("it sent a message over {} MiB", MAX_MESSAGE_BYTES >> 20);
        }
    }
}

/// The address that a server names. Credentials are sent there, so it must be the same server.
fn address_of(base: &Url, data: &str) -> Result<Url, String> {
    let url = base.join(data.trim()).map_err(|_| "it named an invalid address".to_owned())?;
    if url.origin() == base.origin() {
        Ok(url)
    } else {
        Err("it named an address on another host, and credentials are not sent there".into())
    }
}

/// Posts messages one after the other, so that they arrive in their order.
async fn send(
    http: &HttpEndpoint,
    address: oneshot::Receiver<Url>,
    mut messages: mpsc::Receiver<Bytes>,
) -> String {
    let url = match tokio::time::timeout(TIMEOUT, address).await {
        Ok(Ok(url)) => url,
        Ok(Err(_)) => return "the event stream ended".into(),
        Err(_) => return "it named no address for messages".into(),
    };
    while let Some(message) = messages.recv().await {
        let body = String::from_utf8_lossy(&message).into_owned();
        let none = HeaderMap::new();
        match http.send_to(url.clone(), Method::POST, body, &none, TIMEOUT).await {
            Ok(response) if response.status().is_success() => {}
            Ok(response) => return format!("a message got HTTP status {}", response.status()),
            Err(error) => return format!("the server {error}"),
        }
    }
    // The session closes the connection, which it does by dropping it.
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;

    // A server that is not trusted with the credentials of another must not get them.
    #[test]
    fn an_address_on_another_host_is_refused() {
        let base = Url::parse("https://a.example/sse").unwrap();
        let good = address_of(&base, "/messages?session=1").unwrap();
        assert_eq!(good.as_str(), "https://a.example/messages?session=1");
        for other in ["https://b.example/x", "http://a.example/x", "//b.example/x"] {
            assert!(address_of(&base, other).is_err(), "{other}");
        }
    }
}
