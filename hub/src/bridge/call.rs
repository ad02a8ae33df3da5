//! A request that waits for its answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::answers;
use super::session::Session;

/// Part of what a client gets for its request.
#[derive(Debug)]
pub(super) enum Part {
    /// A message on the way.
    Related(Bytes),
    /// The answer; nothing comes after it.
    Answer(Bytes),
}

/// Waits for an answer until its time is up.
pub(super) struct Call {
    session: Arc<Session>,
    id: String,
    answer: oneshot::Receiver<Bytes>,
    related: mpsc::Receiver<Bytes>,
    within: Duration,
    deadline: Instant,
}

impl Call {
    pub(super) fn new(
        session: Arc<Session>,
        id: String,
        answer: oneshot::Receiver<Bytes>,
        related: mpsc::Receiver<Bytes>,
        within: Duration,
    ) -> Self {
        Self { session, id, answer, related, within, deadline: Instant::now() + within }
    }

    /// One that is answered already.
    pub(super) fn answered(session: Arc<Session>, id: String, answer: Bytes) -> Self {
        let (done, received) = oneshot::channel();
        done.send(answer).ok();
        let (_, related) = mpsc::channel(1);
        Self::new(session, id, received, related, Duration::ZERO)
    }

    /// When the wait is over.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// What comes next. Not asked again after the answer.
    pub(super) async fn next(&mut self) -> Part {
        tokio::select! {
            // What was said before the answer comes before it.
            biased;
            Some(message) = self.related.recv() => Part::Related(message),
            answer = &mut self.answer => Part::Answer(answer.unwrap_or_else(|_| answers::call_cancelled(&self.id))),
            () = tokio::time::sleep_until(self.deadline) => {
                self.session.time_out(&self.id);
                Part::Answer(answers::timed_out(&self.id, self.within))
            }
        }
    }

    /// The answer alone.
    pub(super) async fn answer(mut self) -> Bytes {
        loop {
            if let Part::Answer(answer) = self.next().await {
                return answer;
            }
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // The client has gone. The server goes on (only a cancellation cancels); its answer is for nobody.
        self.session.cancel(&self.id);
    }
}
