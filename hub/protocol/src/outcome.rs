//! How a request counts. Rollback rules query these outcomes, so the mapping is only here.

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    Ok,
    /// The caller's fault.
    CallerError,
    /// The tool returned an error.
    ToolError,
    /// The upstream server could not be reached, or gave no valid response.
    UpstreamError,
    /// The hub's fault.
    HubError,
}

impl Outcome {
    /// All of them; each is exported as 0 from the start.
    pub const ALL: [Self; 5] =
        [Self::Ok, Self::CallerError, Self::ToolError, Self::UpstreamError, Self::HubError];

    /// The label value in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::CallerError => "caller_error",
            Self::ToolError => "tool_error",
            Self::UpstreamError => "upstream_error",
            Self::HubError => "hub_error",
        }
    }

    /// The position in [`Self::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestEnd {
    /// With a result, of the hub itself or of the upstream server.
    Result,
    /// With a result that has `isError`.
    ToolError,
    /// With this JSON-RPC error of the upstream server.
    UpstreamError {
        code: i64,
    },
    /// Rejected before the upstream server was asked: malformed, unknown tool or method, or over a
    /// limit.
    Rejected,
    /// The client canceled it or disconnected.
    Cancelled,
    /// There was no connection to the upstream server, and none could be opened.
    NotConnected,
    TimedOut,
    /// The connection broke before the response was complete.
    ConnectionLost,
    /// The upstream server responded with an HTTP error.
    HttpError,
    /// The response violates the protocol.
    InvalidResponse,
    /// A bug in the hub.
    Bug,
}

impl RequestEnd {
    pub fn outcome(self) -> Outcome {
        match self {
            Self::Result => Outcome::Ok,
            Self::Rejected | Self::Cancelled | Self::UpstreamError { code: -32602..=-32600 } => {
                Outcome::CallerError
            }
            Self::ToolError | Self::UpstreamError { .. } => Outcome::ToolError,
            Self::NotConnected
            | Self::TimedOut
            | Self::ConnectionLost
            | Self::HttpError
            | Self::InvalidResponse => Outcome::UpstreamError,
            Self::Bug => Outcome::HubError,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    // A failing tool or upstream server must not roll back a healthy canary. By default only
    // hub_error does.
    #[rstest]
    #[case(RequestEnd::Result, Outcome::Ok)]
    #[case(RequestEnd::Rejected, Outcome::CallerError)]
    #[case(RequestEnd::Cancelled, Outcome::CallerError)]
    #[case(RequestEnd::UpstreamError { code: -32600 }, Outcome::CallerError)]
    #[case(RequestEnd::UpstreamError { code: -32601 }, Outcome::CallerError)]
    #[case(RequestEnd::UpstreamError { code: -32602 }, Outcome::CallerError)]
    #[case(RequestEnd::UpstreamError { code: -32603 }, Outcome::ToolError)]
    #[case(RequestEnd::UpstreamError { code: -32599 }, Outcome::ToolError)]
    #[case(RequestEnd::UpstreamError { code: 1 }, Outcome::ToolError)]
    #[case(RequestEnd::ToolError, Outcome::ToolError)]
    #[case(RequestEnd::NotConnected, Outcome::UpstreamError)]
    #[case(RequestEnd::TimedOut, Outcome::UpstreamError)]
    #[case(RequestEnd::ConnectionLost, Outcome::UpstreamError)]
    #[case(RequestEnd::HttpError, Outcome::UpstreamError)]
    #[case(RequestEnd::InvalidResponse, Outcome::UpstreamError)]
    #[case(RequestEnd::Bug, Outcome::HubError)]
    fn every_end_of_a_request_counts_as_the_rollback_rules_expect(
        #[case] end: RequestEnd,
        #[case] outcome: Outcome,
    ) {
        assert_eq!(end.outcome(), outcome);
    }

    // Alerts, dashboards and rollback rules select these label values.
    #[test]
    fn labels_are_pinned() {
        let labels = Outcome::ALL.map(Outcome::label);
        assert_eq!(labels, ["ok", "caller_error", "tool_error", "upstream_error", "hub_error"]);
    }

    #[test]
    fn an_index_is_the_position_of_its_outcome() {
        for (position, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome.index(), position);
        }
    }
}
