//! A body that holds the permit of its request until it has been written.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::response::Response;
use http_body::{Frame, SizeHint};

use crate::serve::state::in_flight::Permit;

/// The connection takes a whole frame at once. With smaller frames, what a client does not read
/// stays here, and so does the permit.
const FRAME_BYTES: usize = 64 << 10;

struct HeldBody {
    rest: Bytes,
    _permit: Option<Permit>,
}

/// A body of JSON.
pub(super) fn body(json: String, permit: Option<Permit>) -> Body {
    Body::new(HeldBody { rest: json.into(), _permit: permit })
}

/// The same response, whose body holds the permit.
pub(super) fn hold(response: Response, json: String, permit: Option<Permit>) -> Response {
    let (parts, _) = response.into_parts();
    Response::from_parts(parts, body(json, permit))
}

impl http_body::Body for HeldBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.rest.len().min(FRAME_BYTES);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
