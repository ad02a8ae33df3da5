//! Why an upstream server did not answer.

use std::time::Duration;

use http::StatusCode;
use mcphub_hub_protocol::outcome::RequestEnd;

/// Why an upstream server did not answer. Display continues a sentence that starts with the
/// server's name; models and people read it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    #[error("cannot be reached: {0}")]
    NotConnected(String),
    #[error("has {0} open sessions, the limit of maxSessions; try again later")]
    TooManySessions(u32),
    /// The call was not sent.
    #[error("already works on {0} calls, half of limits.maxConcurrent; try again later")]
    Busy(u32),
    /// The call was not sent, because the last ones failed.
    #[error(
        "gets no calls for now, because its last {failures} calls failed (the last one: it \
         {cause}); do not repeat the call at once, the hub tries the server again in {} s",
        .wait.as_secs().max(1)
    )]
    CircuitOpen { failures: u32, cause: String, wait: Duration },
    #[error("did not answer within {} s", .0.as_secs_f64())]
    TimedOut(Duration),
    #[error("closed the connection before its response was complete: {0}")]
    ConnectionLost(String),
    #[error("responded with HTTP status {0}")]
    Http(StatusCode),
    #[error("has closed the session (HTTP status {0})")]
    SessionGone(StatusCode),
    /// The response violates the protocol.
    #[error("sent an invalid MCP response: {0}")]
    InvalidResponse(String),
    /// Its list is over a bound, so the last one stays in use.
    #[error("lists more than {tools} tools or {bytes} bytes, so its last list stays in use")]
    ListTooLong { bytes: usize, tools: usize },
    /// The server wants input from the caller before it continues.
    #[error("requested input from the caller, which this hub does not support yet")]
    InputRequired,
    /// The server answered a request of the hub itself with a JSON-RPC error.
    #[error("refused {method}: {error}")]
    Refused {
        method: &'static str,
        /// The error object as JSON text.
        error: String,
        code: i64,
    },
    /// The config of the server cannot be used.
    #[error("cannot be used: {0}")]
    Unusable(String),
}

impl From<prometheus::Error> for Error {
    fn from(error: prometheus::Error) -> Self {
        Self::Unusable(format!("failed to register its metrics: {error}"))
    }
}

impl Error {
    /// How a call that failed with this error is counted.
    pub fn ending(&self) -> RequestEnd {
        match self {
            Self::NotConnected(_)
            | Self::TooManySessions(_)
            | Self::Busy(_)
            | Self::CircuitOpen { .. }
            | Self::Unusable(_)
            | Self::Refused { .. } => RequestEnd::NotConnected,
            Self::TimedOut(_) => RequestEnd::TimedOut,
            Self::ConnectionLost(_) => RequestEnd::ConnectionLost,
            Self::Http(_) | Self::SessionGone(_) => RequestEnd::HttpError,
            Self::InvalidResponse(_) | Self::ListTooLong { .. } | Self::InputRequired => {
                RequestEnd::InvalidResponse
            }
        }
    }

    /// Whether the server failed, so that further calls are likely to fail too.
    pub(super) fn trips_breaker(&self) -> bool {
        match self {
            Self::NotConnected(_) | Self::TimedOut(_) | Self::ConnectionLost(_) => true,
            Self::Http(status) => status.is_server_error(),
            _ => false,
        }
    }

    /// Whether the error says neither that the server works nor that it does not.
    pub(super) fn says_nothing(&self) -> bool {
        matches!(
            self,
            Self::TooManySessions(_)
                | Self::Busy(_)
                | Self::CircuitOpen { .. }
                | Self::SessionGone(_)
                | Self::Unusable(_)
        )
    }

    /// The error of a request that got no response. It does not contain URLs, because their paths
    /// may hold tokens. A timeout in it is that of connecting or of the kernel; the sender handles
    /// the timeout of the whole request.
    pub(super) fn from_request(error: reqwest::Error) -> Self {
        let connect = error.is_connect();
        let host = error.url().and_then(|url| url.host_str()).unwrap_or("its host").to_owned();
        let error = error.without_url();
        let cause = root_cause(&error);
        let cause = if is_dns(&error) { dns_failure(&host, &cause) } else { cause };
        if connect { Self::NotConnected(cause) } else { Self::ConnectionLost(cause) }
    }
}

/// Whether the name of the host could not be looked up.
fn is_dns(error: &reqwest::Error) -> bool {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    // The text of hyper-util's connector, which has no type for it.
    causes.into_iter().any(|cause| cause.to_string() == "dns error")
}

/// A resolver's own words ("error response: Server Failure") read like an answer of the server.
fn dns_failure(host: &str, cause: &str) -> String {
    if cause.contains("Server Failure") {
        format!("DNS has no address for {host} (SERVFAIL)")
    } else if cause.contains("no record") || cause.contains("Non-Existent Domain") {
        format!("DNS has no address for {host} (NXDOMAIN)")
    } else {
        format!("the lookup of {host} in DNS failed: {cause}")
    }
}

fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    /// A resolver that fails with this text, as the real one does.
    struct Failing(&'static str);

    impl reqwest::dns::Resolve for Failing {
        fn resolve(&self, _: reqwest::dns::Name) -> reqwest::dns::Resolving {
            let error = std::io::Error::other(self.0);
            Box::pin(std::future::ready(Err(error.into())))
        }
    }

    // Otherwise it reads as if the server had answered.
    #[tokio::test]
    async fn a_host_that_does_not_resolve_is_named_as_a_failure_of_dns() {
        rustls::crypto::ring::default_provider().install_default().ok();
        for (cause, expected) in [
            ("error response: Server Failure", "DNS has no address for nosuch.ai.svc (SERVFAIL)"),
            ("no records found for Query {..}", "DNS has no address for nosuch.ai.svc (NXDOMAIN)"),
            ("request timed out", "the lookup of nosuch.ai.svc in DNS failed: request timed out"),
        ] {
            let resolver = std::sync::Arc::new(Failing(cause));
            let client = reqwest::Client::builder().no_proxy().dns_resolver(resolver);
            let url = "http://nosuch.ai.svc:8080/mcp?token=1";
            let error = client.build().unwrap().get(url).send().await.unwrap_err();
            let error = Error::from_request(error).to_string();
            assert_eq!(error, format!("cannot be reached: {expected}"));
        }
    }

    // "did not answer within 60 s" about a server that could not be reached misleads its reader,
    // and a server that is still starting would count as down.
    #[tokio::test]
    async fn a_connection_that_is_not_accepted_in_time_counts_as_not_connected() {
        // Only once per process; other tests may have done it.
        rustls::crypto::ring::default_provider().install_default().ok();
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        // The queue is full then, and the kernel drops further attempts.
        let within = Duration::from_millis(100);
        let _queued: Vec<_> =
            (0..4).map(|_| TcpStream::connect_timeout(&address, within)).collect();
        let client = reqwest::Client::builder().no_proxy().connect_timeout(within).build().unwrap();
        let error = client.get(format!("http://{address}")).send().await.unwrap_err();
        assert!(error.is_timeout());
        let error = Error::from_request(error);
        assert!(matches!(error, Error::NotConnected(_)), "{error:?}");
    }
}
