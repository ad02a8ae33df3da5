//! How a request counts. Rollback rules are judged by these, so the mapping is in one place and in no other.

/// How a request counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Answered.
    Ok,
    /// The caller's doing.
    CallerError,
    /// The tool said so.
    ToolError,
    /// The upstream server could not be asked or did not answer.
    UpstreamError,
    /// Ours.
    HubError,
}

impl Outcome {
    /// All of them: each is exported as 0 from the start.
    pub const ALL: [Self; 5] =
        [Self::Ok, Self::CallerError, Self::ToolError, Self::UpstreamError, Self::HubError];

    /// Label value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::CallerError => "caller_error",
            Self::ToolError => "tool_error",
            Self::UpstreamError => "upstream_error",
            Self::HubError => "hub_error",
        }
    }

    /// Position in [`Self::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With a result, by the hub itself or from upstream.
    Result,
    /// With a result that says `isError`.
    ToolSaidError,
    /// With this JSON-RPC error from upstream.
    UpstreamRefused {
        /// JSON-RPC error code.
        code: i64,
    },
    /// Refused before any upstream was asked: malformed, unknown tool or method, over a limit.
    Refused,
    /// The client cancelled it or went away.
    Cancelled,
    /// No connection to upstream, or none allowed.
    NotConnected,
    /// Upstream took too long.
    TimedOut,
    /// The answer broke off.
    Cut,
    /// Upstream answered with an HTTP error.
    HttpError,
    /// Upstream's answer is not what the protocol says.
    Unparsable,
    /// A bug of ours.
    Bug,
}

/// How that counts.
pub fn of(ending: Ending) -> Outcome {
    match ending {
        Ending::Result => Outcome::Ok,
        Ending::Refused | Ending::Cancelled | Ending::UpstreamRefused { code: -32602..=-32600 } => {
            Outcome::CallerError
        }
        Ending::ToolSaidError | Ending::UpstreamRefused { .. } => Outcome::ToolError,
        Ending::NotConnected
        | Ending::TimedOut
        | Ending::Cut
        | Ending::HttpError
        | Ending::Unparsable => Outcome::UpstreamError,
        Ending::Bug => Outcome::HubError,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    // A tool that errs, or an upstream outage, must not roll back a healthy canary: only hub_error does by default.
    #[rstest]
    #[case(Ending::Result, Outcome::Ok)]
    #[case(Ending::Refused, Outcome::CallerError)]
    #[case(Ending::Cancelled, Outcome::CallerError)]
    #[case(Ending::UpstreamRefused { code: -32600 }, Outcome::CallerError)]
    #[case(Ending::UpstreamRefused { code: -32601 }, Outcome::CallerError)]
    #[case(Ending::UpstreamRefused { code: -32602 }, Outcome::CallerError)]
    #[case(Ending::UpstreamRefused { code: -32603 }, Outcome::ToolError)]
    #[case(Ending::UpstreamRefused { code: -32599 }, Outcome::ToolError)]
    #[case(Ending::UpstreamRefused { code: 1 }, Outcome::ToolError)]
    #[case(Ending::ToolSaidError, Outcome::ToolError)]
    #[case(Ending::NotConnected, Outcome::UpstreamError)]
    #[case(Ending::TimedOut, Outcome::UpstreamError)]
    #[case(Ending::Cut, Outcome::UpstreamError)]
    #[case(Ending::HttpError, Outcome::UpstreamError)]
    #[case(Ending::Unparsable, Outcome::UpstreamError)]
    #[case(Ending::Bug, Outcome::HubError)]
    fn every_ending_counts_as_the_rollout_rules_say(
        #[case] ending: Ending,
        #[case] outcome: Outcome,
    ) {
        assert_eq!(of(ending), outcome);
    }

    #[test]
    fn positions_and_labels_agree() {
        for (position, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome.index(), position);
        }
    }
}
