//! Arithmetic on instants that saturates instead of failing.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Time from `since` to `now`; zero if the clock went back.
pub(crate) fn elapsed(now: Timestamp, since: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or(Duration::ZERO)
}

/// The instant `length` after `start`, limited to the representable range.
pub(crate) fn after(start: Timestamp, length: Duration) -> Timestamp {
    let length = SignedDuration::try_from(length).unwrap_or(SignedDuration::MAX);
    start.saturating_add(length).unwrap_or(Timestamp::MAX)
}

/// The instant `length` before `end`, limited to the representable range.
pub(crate) fn before(end: Timestamp, length: Duration) -> Timestamp {
    let length = SignedDuration::try_from(length).unwrap_or(SignedDuration::MAX);
    end.saturating_sub(length).unwrap_or(Timestamp::MIN)
}

/// Milliseconds, as they are stored.
pub(crate) fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}
