//! Why an upstream server did not answer.

use std::time::Duration;

use http::StatusCode;
use mcphub_hub_protocol::outcome::RequestEnd;

/// Why an upstream server did not answer. Display goes on from the server's name, for models and people.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// No connection.
    #[error("cannot be reached: {0}")]
    NotConnected(String),
    /// As many sessions as `maxSessions` allows are open.
    #[error("has {0} sessions open already, which is all that maxSessions allows; try again later")]
    TooManySessions(u32),
    /// No answer in time.
    #[error("did not answer within {} s", .0.as_secs_f64())]
    TimedOut(Duration),
    /// The answer broke off.
    #[error("broke off its answer: {0}")]
    Cut(String),
    /// An HTTP status that is no answer.
    #[error("answered with HTTP status {0}")]
    Http(StatusCode),
    /// It does not know the session any more.
    #[error("does not know the session any more (HTTP status {0})")]
    SessionGone(StatusCode),
    /// Not what the protocol says.
    #[error("answered with what is not MCP: {0}")]
    Unparsable(String),
    /// A JSON-RPC error to a request of the hub's own.
    #[error("refused {method}: {error}")]
    Refused {
        /// What the hub asked for.
        method: &'static str,
        /// The error object as written.
        error: String,
        /// Its code.
        code: i64,
    },
    /// A header or the like cannot be sent.
    #[error("cannot be asked: {0}")]
    Unaskable(String),
}

impl Error {
    /// How a call that ended so counts.
    pub fn ending(&self) -> RequestEnd {
        match self {
            Self::NotConnected(_)
            | Self::TooManySessions(_)
            | Self::Unaskable(_)
            | Self::Refused { .. } => RequestEnd::NotConnected,
            Self::TimedOut(_) => RequestEnd::TimedOut,
            Self::Cut(_) => RequestEnd::ConnectionLost,
            Self::Http(_) | Self::SessionGone(_) => RequestEnd::HttpError,
            Self::Unparsable(_) => RequestEnd::InvalidResponse,
        }
    }

    /// The error of a request that got no response. URLs stay out of it: their paths may hold tokens. Timeouts in it
    /// are those of connecting and of the kernel; that of the whole request is kept by its sender.
    pub(super) fn of_request(error: reqwest::Error) -> Self {
        let connect = error.is_connect();
        let cause = root_cause(&error.without_url());
        if connect { Self::NotConnected(cause) } else { Self::Cut(cause) }
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

    // "did not answer within 60 s" of a server that nobody reached sends its reader to the wrong place, and a server
    // that is still starting would be called down.
    #[tokio::test]
    async fn a_connection_that_is_not_taken_in_time_is_no_connection() {
        rustls::crypto::ring::default_provider().install_default().ok(); // once a process; later tests find it
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        // Fills the queue: the kernel then drops further attempts.
        let within = Duration::from_millis(100);
        let _queued: Vec<_> =
            (0..4).map(|_| TcpStream::connect_timeout(&address, within)).collect();
        let client = reqwest::Client::builder().no_proxy().connect_timeout(within).build().unwrap();
        let error = client.get(format!("http://{address}")).send().await.unwrap_err();
        assert!(error.is_timeout());
        let error = Error::of_request(error);
        assert!(matches!(error, Error::NotConnected(_)), "{error:?}");
    }
}
