//! The answer to a message, independent of HTTP.

use futures::stream::BoxStream;
use mcphub_hub_protocol::version::ProtocolVersion;
use mcphub_hub_protocol::{json_splice, rewrite};

/// The answer to one message.
pub(crate) enum Answer {
    /// Nothing: the message was a notification or a response.
    Accepted,
    Response {
        /// The JSON-RPC response.
        message: String,
        /// The code, if the response is a JSON-RPC error.
        error: Option<i64>,
        /// The id of the session that the request opened.
        session: Option<String>,
    },
    /// Notifications, and the response at the end.
    Stream(BoxStream<'static, StreamItem>),
}

/// One item of a stream to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StreamItem {
    /// A JSON-RPC message.
    Message(String),
    /// Traffic without meaning, so that proxies do not close a silent stream.
    KeepAlive,
}

impl Answer {
    pub(crate) fn result(id: &str, result: &str) -> Self {
        Self::Response { message: rewrite::response(id, result), error: None, session: None }
    }

    /// `error` is the error object as JSON, `code` its code.
    pub(crate) fn error(id: &str, error: &str, code: i64) -> Self {
        let message = rewrite::error_response(Some(id), error);
        Self::Response { message, error: Some(code), session: None }
    }

    /// The result of a tool that the hub answers itself.
    pub(crate) fn tool_text(version: ProtocolVersion, id: &str, text: &str) -> Self {
        let text = json_splice::quoted(text);
        Self::tool_result(
            version,
            id,
            &format!(r#"{{"content":[{{"type":"text","text":{text}}}]}}"#),
        )
    }

    /// A tool's result that says what went wrong, for the model that called the tool.
    pub(crate) fn tool_error(version: ProtocolVersion, id: &str, message: &str) -> Self {
        Self::tool_result(version, id, &rewrite::tool_error(message))
    }

    fn tool_result(version: ProtocolVersion, id: &str, result: &str) -> Self {
        let head = rewrite::ResultHead::default();
        Self::result(id, &rewrite::result_for(version, result, &head, "{}"))
    }

    /// The code of a JSON-RPC error; `None` for every other answer.
    pub(crate) fn error_code(&self) -> Option<i64> {
        match self {
            Self::Response { error, .. } => *error,
            Self::Accepted | Self::Stream(_) => None,
        }
    }

    /// The response message. A stream has none, because it has not ended.
    pub(crate) fn into_message(self) -> Option<String> {
        match self {
            Self::Response { message, .. } => Some(message),
            Self::Accepted | Self::Stream(_) => None,
        }
    }
}
