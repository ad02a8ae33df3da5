//! Writes streams to clients as server-sent events. The code below this layer knows streams only as
//! data.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use futures::stream::{self, Stream, StreamExt as _};
use mcphub_hub_protocol::sse;

use crate::serve::methods::answer::StreamItem;

/// No client waits longer than this for a byte of an answer or a stream: proxies close connections
/// that are silent for longer, many of them after 30 or 60 s.
pub(super) const SILENCE: Duration = Duration::from_secs(10);
/// A comment: the client's parser skips it, and proxies see traffic.
const COMMENT: &str = ":\n\n";

/// The items as an HTTP response, each one event, with comments while there is none.
pub(crate) fn response(items: impl Stream<Item = StreamItem> + Send + 'static) -> Response {
    let events = with_comments(items).map(|item| Ok::<_, std::convert::Infallible>(event(&item)));
    // nginx would hold events back until its buffer is full.
    let unbuffered = (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        unbuffered,
    ];
    (headers, Body::from_stream(events)).into_response()
}

fn with_comments(items: impl Stream<Item = StreamItem> + Send) -> impl Stream<Item = StreamItem> {
    stream::unfold(Box::pin(items), |mut items| async move {
        let next = tokio::time::timeout(SILENCE, items.next()).await;
        let item = next.unwrap_or(Some(StreamItem::KeepAlive))?;
        Some((item, items))
    })
}

fn event(item: &StreamItem) -> String {
    match item {
        StreamItem::Message(message) => sse::encode(message),
        StreamItem::KeepAlive => COMMENT.to_owned(),
    }
}
