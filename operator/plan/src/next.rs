//! When to reconcile again.

use std::time::Duration;

/// When to look again even if nothing changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// At once: the plan's writes changed what it was made from.
    Now,
    /// After so long.
    In(Duration),
    /// Not for anything that is known of: now and then, with jitter.
    Idle,
}

impl Next {
    /// The earlier of two.
    #[must_use]
    pub fn or_sooner(self, other: Self) -> Self {
        match (self, other) {
            (Self::Now, _) | (_, Self::Now) => Self::Now,
            (Self::In(a), Self::In(b)) => Self::In(a.min(b)),
            (Self::In(a), Self::Idle) | (Self::Idle, Self::In(a)) => Self::In(a),
            (Self::Idle, Self::Idle) => Self::Idle,
        }
    }
}
