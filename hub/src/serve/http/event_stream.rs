//! Writes streams to clients as server-sent events. The code below this layer knows streams only as
//! data.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use futures::stream::{Stream, StreamExt as _};
use mcphub_hub_protocol::sse;

use crate::serve::methods::answer::StreamItem;

/// A comment: the client's parser skips it, and proxies see traffic.
const COMMENT: &str = ":\n\n";

/// The items as an HTTP response, each one event.
pub(crate) fn response(items: impl Stream<Item = StreamItem> + Send + 'static) -> Response {
    let events = items.map(|item| Ok::<_, std::convert::Infallible>(event(&item)));
    // nginx would hold events back until its buffer is full.
    let unbuffered = (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        unbuffered,
    ];
    (headers, Body::from_stream(events)).into_response()
}

fn event(item: &StreamItem) -> String {
    match item {
        StreamItem::Message(message) => sse::encode(message),
        StreamItem::KeepAlive => COMMENT.to_owned(),
    }
}
