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

impl Error {
    /// How a call that failed with this error is counted.
    pub fn ending(&self) -> RequestEnd {
        match self {
            Self::NotConnected(_)
            | Self::TooManySessions(_)
            | Self::Unusable(_)
            | Self::Refused { .. } => RequestEnd::NotConnected,
            Self::TimedOut(_) => RequestEnd::TimedOut,
            Self::ConnectionLost(_) => RequestEnd::ConnectionLost,
            Self::Http(_) | Self::SessionGone(_) => RequestEnd::HttpError,
            Self::InvalidResponse(_) | Self::InputRequired => RequestEnd::InvalidResponse,
        }
    }

    /// The error of a request that got no response. It does not contain URLs, because their paths
    /// may hold tokens. A timeout in it is that of connecting or of the kernel; the sender handles
    /// the timeout of the whole request.
    pub(super) fn from_request(error: reqwest::Error) -> Self {
        let connect = error.is_connect();
        let cause = root_cause(&error.without_url());
        if connect { Self::NotConnected(cause) } else { Self::ConnectionLost(cause) }
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
