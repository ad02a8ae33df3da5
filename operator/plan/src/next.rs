//! When to reconcile again.

use std::time::Duration;

/// When to reconcile again even if nothing changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Immediately, because the writes of the plan changed its own input.
    Now,
    /// After this time.
    In(Duration),
    /// There is no known reason. Reconcile now and then, with jitter.
    Idle,
}

impl Next {
    /// The earlier of the two.
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
