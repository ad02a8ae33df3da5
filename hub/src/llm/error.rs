//! Why a language model did not answer.

use std::time::Duration;

use mcphub_hub_protocol::outcome::Outcome;
use mcphub_hub_select::llm::answer::AnswerError;

/// Why a language model did not answer. Contains none of the provider's text but a code, and never
/// the API key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Misconfigured(String),
    #[error(
        "the provider rejected the key of filtering.llm (HTTP {status}{}), which is {location}; \
         put a key there that may use the model",
        suffix(.code.as_deref())
    )]
    KeyRejected { location: String, status: u16, code: Option<String> },
    #[error(
        "the quota of the account of filtering.llm is used up (HTTP {status}{}); add credit, or \
         set selector.backend to Embedded",
        suffix(.code.as_deref())
    )]
    QuotaExhausted { status: u16, code: Option<String> },
    #[error(
        "the provider rejected the question (HTTP {status}{}); check model and baseUrl of \
         filtering.llm",
        suffix(.code.as_deref())
    )]
    Rejected { status: u16, code: Option<String> },
    /// A redirect is not followed, because it would send the key to another host.
    #[error(
        "the provider sent a redirect (HTTP {0}), which is not followed; set baseUrl of \
         filtering.llm to the final URL"
    )]
    Redirected(u16),
    #[error("the provider limits the rate (HTTP 429)")]
    RateLimited { retry_after: Option<Duration> },
    #[error("the provider failed (HTTP {status}{})", suffix(.code.as_deref()))]
    Http { status: u16, code: Option<String>, retry_after: Option<Duration> },
    #[error("failed to connect to the provider: {0}")]
    NotConnected(String),
    #[error("failed to read the provider's response: {0}")]
    ResponseAborted(String),
    #[error("the provider's response is longer than {0} bytes")]
    TooLong(usize),
    #[error("no answer within {} s; the limit is filtering.llm.timeout", .0.as_secs_f64())]
    TimedOut(Duration),
    #[error(
        "{0} questions are waiting for the language model already; raise \
         filtering.llm.maxConcurrent if the provider allows it"
    )]
    QueueFull(usize),
    #[error(
        "the language model failed too often; the next question is sent in {} s",
        .0.as_secs().max(1)
    )]
    BreakerOpen(Duration),
    #[error("failed to use the answer of the language model: {0}")]
    Answer(#[from] AnswerError),
}

/// The provider's code, to follow the status.
fn suffix(code: Option<&str>) -> String {
    code.map(|code| format!(", {code}")).unwrap_or_default()
}

impl Error {
    /// All values of [`Self::category`]. Each is exported as 0 from the start.
    pub const CATEGORIES: [&'static str; 17] = [
        "unaskable",
        "key_refused",
        "spent",
        "rejected",
        "redirected",
        "rate_limited",
        "http",
        "not_connected",
        "cut",
        "too_long",
        "timed_out",
        "queue_full",
        "breaker_open",
        "malformed",
        "wrong_answer",
        "refused",
        "truncated",
    ];

    /// The value of the label `reason`.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Misconfigured(_) => "unaskable",
            Self::KeyRejected { .. } => "key_refused",
            Self::QuotaExhausted { .. } => "spent",
            Self::Rejected { .. } => "rejected",
            Self::Redirected(_) => "redirected",
            Self::RateLimited { .. } => "rate_limited",
            Self::Http { .. } => "http",
            Self::NotConnected(_) => "not_connected",
            Self::ResponseAborted(_) => "cut",
            Self::TooLong(_) => "too_long",
            Self::TimedOut(_) => "timed_out",
            Self::QueueFull(_) => "queue_full",
            Self::BreakerOpen(_) => "breaker_open",
            Self::Answer(AnswerError::Malformed) => "malformed",
            Self::Answer(AnswerError::WrongShape | AnswerError::UnknownTools) => "wrong_answer",
            Self::Answer(AnswerError::Refused) => "refused",
            Self::Answer(AnswerError::Truncated) => "truncated",
        }
    }

    /// Whether a person must change the setup first. Only such an error fails the self-check.
    pub fn is_setup(&self) -> bool {
        matches!(
            self,
            Self::Misconfigured(_)
                | Self::KeyRejected { .. }
                | Self::QuotaExhausted { .. }
                | Self::Rejected { .. }
                | Self::Redirected(_)
        )
    }

    /// The outcome by which a question with this error is counted.
    pub fn outcome(&self) -> Outcome {
        match self {
            // The provider refuses because of the caller's prompt.
            Self::Answer(AnswerError::Refused) => Outcome::CallerError,
            Self::QueueFull(_) => Outcome::HubError,
            _ if self.is_setup() => Outcome::HubError,
            _ => Outcome::UpstreamError,
        }
    }

    /// Whether a retry of the same question may succeed.
    pub(super) fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::RateLimited { .. }
                | Self::Http { .. }
                | Self::NotConnected(_)
                | Self::ResponseAborted(_)
                | Self::TimedOut(_)
        )
    }

    /// How long the provider says to wait.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after } | Self::Http { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether the error counts as a failure for the circuit breaker. An answer that is refused or
    /// too long depends on the prompt and says nothing about the next question.
    pub(super) fn trips_breaker(&self) -> bool {
        !matches!(
            self,
            Self::Answer(AnswerError::Refused | AnswerError::Truncated)
                | Self::QueueFull(_)
                | Self::BreakerOpen(_)
        )
    }

    /// The URL is removed from the text, because it may contain a token.
    pub(super) fn from_request(error: reqwest::Error) -> Self {
        let connect = error.is_connect();
        let error = error.without_url();
        let mut cause: &dyn std::error::Error = &error;
        while let Some(next) = cause.source() {
            cause = next;
        }
        if connect {
            Self::NotConnected(cause.to_string())
        } else {
            Self::ResponseAborted(cause.to_string())
        }
    }
}
