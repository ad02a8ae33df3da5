//! Why a language model did not answer.

use std::time::Duration;

use mcphub_hub_protocol::outcome::Outcome;
use mcphub_hub_select::llm::answer::Failure;

/// Why a language model did not answer. Nothing that its provider wrote is in it but a word, and never the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// What the config says cannot be asked.
    #[error("{0}")]
    Unaskable(String),
    /// The key is refused.
    #[error("the provider refuses the key of filtering.llm (HTTP {status}{}), which is {place}; put one there that may use the model", word(.code.as_deref()))]
    KeyRefused {
        /// Where the key is.
        place: String,
        /// HTTP status.
        status: u16,
        /// The provider's word for it.
        code: Option<String>,
    },
    /// Nothing is left to spend.
    #[error("the account of filtering.llm has nothing left to spend (HTTP {status}{}); top it up, or write selector.backend: Embedded", word(.code.as_deref()))]
    Spent {
        /// HTTP status.
        status: u16,
        /// The provider's word for it.
        code: Option<String>,
    },
    /// The provider does not take the question.
    #[error("the provider does not take the question (HTTP {status}{}); check model and baseUrl of filtering.llm", word(.code.as_deref()))]
    Rejected {
        /// HTTP status.
        status: u16,
        /// The provider's word for it.
        code: Option<String>,
    },
    /// A redirect, which would carry the key to another host.
    #[error(
        "the provider answered with a redirect (HTTP {0}), which is not followed; write the final address as baseUrl of filtering.llm"
    )]
    Redirected(u16),
    /// Too many questions for the provider.
    #[error("the provider is asked too much (HTTP 429)")]
    RateLimited {
        /// How long it wants to be left alone.
        wait: Option<Duration>,
    },
    /// The provider is in trouble.
    #[error("the provider is in trouble (HTTP {status}{})", word(.code.as_deref()))]
    Http {
        /// HTTP status.
        status: u16,
        /// The provider's word for it.
        code: Option<String>,
        /// How long it wants to be left alone.
        wait: Option<Duration>,
    },
    /// No connection.
    #[error("the provider cannot be reached: {0}")]
    NotConnected(String),
    /// The answer broke off.
    #[error("the provider broke off its answer: {0}")]
    Cut(String),
    /// More bytes than an answer may have.
    #[error("the provider's answer is longer than {0} bytes")]
    TooLong(usize),
    /// No answer in time.
    #[error("no answer within {} s; filtering.llm.timeout bounds it", .0.as_secs_f64())]
    TimedOut(Duration),
    /// Enough wait already.
    #[error(
        "{0} questions wait for the language model already; raise filtering.llm.maxConcurrent where the provider allows it"
    )]
    QueueFull(usize),
    /// It failed too often.
    #[error("the language model failed too often, and is asked again in {} s", .0.as_secs().max(1))]
    BreakerOpen(Duration),
    /// It answered, but not what was asked.
    #[error("the language model is of no use: {0}")]
    Answer(#[from] Failure),
}

fn word(code: Option<&str>) -> String {
    code.map(|code| format!(", {code}")).unwrap_or_default()
}

impl Error {
    /// Every [`Self::category`]: each is exported as 0 from the start.
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

    /// A word of a bounded set.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Unaskable(_) => "unaskable",
            Self::KeyRefused { .. } => "key_refused",
            Self::Spent { .. } => "spent",
            Self::Rejected { .. } => "rejected",
            Self::Redirected(_) => "redirected",
            Self::RateLimited { .. } => "rate_limited",
            Self::Http { .. } => "http",
            Self::NotConnected(_) => "not_connected",
            Self::Cut(_) => "cut",
            Self::TooLong(_) => "too_long",
            Self::TimedOut(_) => "timed_out",
            Self::QueueFull(_) => "queue_full",
            Self::BreakerOpen(_) => "breaker_open",
            Self::Answer(Failure::Malformed) => "malformed",
            Self::Answer(Failure::WrongShape | Failure::Unknown) => "wrong_answer",
            Self::Answer(Failure::Refused) => "refused",
            Self::Answer(Failure::Truncated) => "truncated",
        }
    }

    /// Whether somebody must change something before it can work: the self-check fails by it, and by nothing else.
    pub fn is_setup(&self) -> bool {
        matches!(
            self,
            Self::Unaskable(_)
                | Self::KeyRefused { .. }
                | Self::Spent { .. }
                | Self::Rejected { .. }
                | Self::Redirected(_)
        )
    }

    /// How a question that ended so counts.
    pub fn outcome(&self) -> Outcome {
        match self {
            // What a provider will not speak about is in the prompt.
            Self::Answer(Failure::Refused) => Outcome::CallerError,
            Self::QueueFull(_) => Outcome::HubError,
            _ if self.is_setup() => Outcome::HubError,
            _ => Outcome::UpstreamError,
        }
    }

    /// Whether the same question may be answered a moment later.
    pub(super) fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::RateLimited { .. }
                | Self::Http { .. }
                | Self::NotConnected(_)
                | Self::Cut(_)
                | Self::TimedOut(_)
        )
    }

    /// How long the provider wants to be left alone.
    pub(super) fn wait(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { wait } | Self::Http { wait, .. } => *wait,
            _ => None,
        }
    }

    /// Whether asking others makes no sense either. One prompt that is refused, or answered at too great a length, says
    /// nothing about the next.
    pub(super) fn trips(&self) -> bool {
        !matches!(
            self,
            Self::Answer(Failure::Refused | Failure::Truncated)
                | Self::QueueFull(_)
                | Self::BreakerOpen(_)
        )
    }

    /// URLs stay out of it: they may hold tokens.
    pub(super) fn of_request(error: reqwest::Error) -> Self {
        let connect = error.is_connect();
        let error = error.without_url();
        let mut cause: &dyn std::error::Error = &error;
        while let Some(next) = cause.source() {
            cause = next;
        }
        if connect { Self::NotConnected(cause.to_string()) } else { Self::Cut(cause.to_string()) }
    }
}
