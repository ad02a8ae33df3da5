//! Why a request of a client is refused.

use std::time::Duration;

/// Sessions at a time, including those whose server is stopped.
pub(super) const MAX_SESSIONS: usize = 1024;

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(
        "all {0} server processes (--max-processes) are in use; try again later, or end a session"
    )]
    MaxProcesses(u32),
    #[error("there are {MAX_SESSIONS} sessions already; try again later, or end a session")]
    MaxSessions,
    #[error("too many calls are waiting for this server; try again later")]
    TooManyCalls,
    #[error("failed to start the server: {0}")]
    NotStarted(std::io::Error),
    #[error(
        "the server keeps ending soon after its start; its next start is in {} s, and its log says \
         why it ends",
        .0.as_secs().max(1)
    )]
    KeepsEnding(Duration),
    #[error("another request with this id is in progress; use a new id")]
    IdInUse,
    #[error("the session has ended; initialize again")]
    SessionEnded,
}
