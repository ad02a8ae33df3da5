//! One POST, from its message to the last byte of its response. In the protocol versions with
//! sessions, it goes on if the client disconnects.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::http::StatusCode;
use axum::response::Response;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, Stream, StreamExt as _};
use mcphub_hub_protocol::message::Message;
use mcphub_hub_protocol::version::ProtocolVersion;
use tokio_util::task::TaskTracker;

use super::event_stream::SILENCE;
use crate::serve::methods::answer::{Answer, StreamItem};
use crate::serve::state::in_flight::Permit;

/// The answer to one message, with its HTTP status.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) answer: Answer,
}

/// A reply, which holds the permit of its request until it is written.
pub(super) struct Answered {
    pub(super) reply: Reply,
    pub(super) permit: Option<Permit>,
}

/// `Err` is the response to a body that is refused.
type Work = BoxFuture<'static, Result<Answered, Box<Response>>>;

/// What the message of an exchange says about its end.
#[derive(Debug, Default)]
pub(super) struct ExchangeTraits {
    /// "Disconnection should not be interpreted as the client cancelling its request" (2025-11-25,
    /// transports). A tool that writes would otherwise stop half way when Wi-Fi changes. Without
    /// sessions, closing the response is how a client cancels.
    outlives_client: AtomicBool,
    /// The response has the id of a new session in its head, so the head cannot be sent early.
    opens_session: AtomicBool,
}

impl ExchangeTraits {
    pub(super) fn set(&self, version: ProtocolVersion, message: &Message<'_>) {
        if let Message::Request(request) = message {
            self.outlives_client.store(!version.is_stateless(), Ordering::Relaxed);
            self.opens_session.store(request.method == "initialize", Ordering::Relaxed);
        }
    }
}

/// The work for one POST.
pub(super) struct Exchange {
    /// `None` once it is done, or has become a stream.
    work: Option<Work>,
    traits: Arc<ExchangeTraits>,
    outliving: TaskTracker,
}

impl Exchange {
    pub(super) fn new(
        work: impl Future<Output = Result<Answered, Box<Response>>> + Send + 'static,
        traits: Arc<ExchangeTraits>,
        outliving: &TaskTracker,
    ) -> Self {
        Self { work: Some(Box::pin(work)), traits, outliving: outliving.clone() }
    }

    /// The answer. `None` if it takes so long that the response should become a stream, which it
    /// never should if the client accepts none.
    pub(super) async fn answer_in_time(
        &mut self,
        accepts_stream: bool,
    ) -> Option<Result<Answered, Box<Response>>> {
        let work = self.work.as_mut()?;
        let answered = match tokio::time::timeout(SILENCE, &mut *work).await {
            Ok(answered) => answered,
            Err(_) if accepts_stream && !self.traits.opens_session.load(Ordering::Relaxed) => {
                return None;
            }
            Err(_) => work.await,
        };
        self.work = None;
        Some(answered)
    }

    /// Everything that is still to be sent, in a stream.
    pub(super) fn into_items(mut self) -> impl Stream<Item = StreamItem> + Send + 'static {
        let items = self.work.take().map_or_else(|| stream::empty().boxed(), items);
        self.outliving(items)
    }

    /// The rest of an answer that has begun as a stream.
    pub(super) fn rest(
        self,
        answer: Answer,
        permit: Option<Permit>,
    ) -> impl Stream<Item = StreamItem> + Send + 'static {
        self.outliving(answer_items(answer, permit))
    }

    fn outliving(&self, items: BoxStream<'static, StreamItem>) -> OutlivingStream {
        let outlives = self.traits.outlives_client.load(Ordering::Relaxed);
        OutlivingStream { items: Some(items), outliving: outlives.then(|| self.outliving.clone()) }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let outlives = self.traits.outlives_client.load(Ordering::Relaxed);
        if let Some(work) = self.work.take().filter(|_| outlives) {
            finish(items(work), &self.outliving);
        }
    }
}

/// A stream that goes on without its client.
struct OutlivingStream {
    /// `None` after the end.
    items: Option<BoxStream<'static, StreamItem>>,
    /// `None` if the stream ends with its client.
    outliving: Option<TaskTracker>,
}

impl Stream for OutlivingStream {
    type Item = StreamItem;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<StreamItem>> {
        let Some(items) = &mut self.items else { return Poll::Ready(None) };
        let item = std::task::ready!(items.poll_next_unpin(cx));
        if item.is_none() {
            self.items = None;
        }
        Poll::Ready(item)
    }
}

impl Drop for OutlivingStream {
    fn drop(&mut self) {
        if let (Some(items), Some(outliving)) = (self.items.take(), &self.outliving) {
            finish(items, outliving);
        }
    }
}

/// Finishes work whose client is gone, in a task. It still holds its permit, so that clients that
/// come and go start no more of it than those that stay.
fn finish(items: BoxStream<'static, StreamItem>, outliving: &TaskTracker) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        outliving.spawn_on(items.for_each(async |_| ()), &runtime);
    }
}

fn items(work: Work) -> BoxStream<'static, StreamItem> {
    let answered = stream::once(work).filter_map(async |answered| answered.ok());
    answered.flat_map(|Answered { reply, permit }| answer_items(reply.answer, permit)).boxed()
}

fn answer_items(answer: Answer, permit: Option<Permit>) -> BoxStream<'static, StreamItem> {
    let items = match answer {
        Answer::Accepted => stream::empty().boxed(),
        Answer::Response { message, .. } => stream::iter([StreamItem::Message(message)]).boxed(),
        Answer::Stream(items) => items,
    };
    items
        .map(move |item| {
            let _held = &permit;
            item
        })
        .boxed()
}
