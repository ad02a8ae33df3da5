//! `notifications/tools/list_changed`: on a session's stream, or before an answer if the session
//! has no stream.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, Stream, StreamExt as _};
use tokio::sync::watch;

use super::answer::{Answer, StreamItem};
use super::ctx::Ctx;
use crate::serve::state::caller_view;
use crate::serve::state::hub::Hub;
use crate::serve::state::sessions::Session;
use crate::serve::state::snapshot::HubSnapshot;

const LIST_CHANGED: &str = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
/// Changes within this time are one notification.
const COALESCE: Duration = Duration::from_millis(100);

/// Puts the notification before the answer if the session's list has changed and no stream is open
/// to carry it. Clients that never open a stream would otherwise not list the tools that a prompt
/// has added.
pub(crate) fn prepend(hub: &Hub, ctx: &Ctx, answer: Answer) -> Answer {
    let due = ctx.accepts_stream
        && ctx.session.as_ref().is_some_and(|session| {
            !session.has_stream() && caller_view::take_list_change(hub, session)
        });
    let notification = stream::iter([StreamItem::Message(LIST_CHANGED.to_owned())]);
    match answer {
        Answer::Response { message, .. } if due => {
            let response = stream::iter([StreamItem::Message(message)]);
            Answer::Stream(notification.chain(response).boxed())
        }
        Answer::Stream(items) if due => Answer::Stream(notification.chain(items).boxed()),
        answer => answer,
    }
}

/// The stream of a session: a notification for every change of its list, until the session or the
/// hub ends or the client opens a newer stream.
pub(crate) fn stream(
    hub: &Arc<Hub>,
    session: Arc<Session>,
) -> impl Stream<Item = StreamItem> + use<> {
    let state = ChangeStream::open(hub, session);
    // Some clients wait for the first byte before they go on.
    let first = stream::iter([StreamItem::KeepAlive]);
    first.chain(stream::unfold(state, |mut state| async move {
        let item = state.next().await?;
        Some((item, state))
    }))
}

struct ChangeStream {
    hub: Arc<Hub>,
    session: Arc<Session>,
    newer_stream: watch::Receiver<u64>,
    snapshots: watch::Receiver<Arc<HubSnapshot>>,
    additions: watch::Receiver<u64>,
}

impl ChangeStream {
    fn open(hub: &Arc<Hub>, session: Arc<Session>) -> Self {
        Self {
            newer_stream: session.open_stream(),
            snapshots: hub.subscribe(),
            additions: hub.additions(&session).changes(),
            hub: Arc::clone(hub),
            session,
        }
    }

    async fn next(&mut self) -> Option<StreamItem> {
        loop {
            self.snapshots.borrow_and_update();
            self.additions.borrow_and_update();
            if caller_view::take_list_change(&self.hub, &self.session) {
                return Some(StreamItem::Message(LIST_CHANGED.to_owned()));
            }
            tokio::select! {
                () = self.session.ended.cancelled() => return None,
                () = self.hub.stopping.cancelled() => return None,
                _ = self.newer_stream.changed() => return None,
                changed = self.snapshots.changed() => {
                    changed.ok()?;
                    tokio::time::sleep(COALESCE).await;
                }
                changed = self.additions.changed() => {
                    changed.ok()?;
                    tokio::time::sleep(COALESCE).await;
                }
            }
        }
    }
}
