//! Formats an error together with its causes.

use std::error::Error;
use std::fmt::Write as _;

/// The error and its sources on one line, separated by `: `.
///
/// A response of the API server contributes only its message and its code, because the `Display`
/// of `kube::Error` prints every field of the status.
pub fn join(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let separator = if text.is_empty() { "" } else { ": " };
        if let Some(kube::Error::Api(status)) = error.downcast_ref::<kube::Error>() {
            let _ = write!(text, "{separator}{} ({})", status.message, status.code);
            return text;
        }
        let _ = write!(text, "{separator}{error}"); // writing to a String cannot fail
        next = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("failed to write the status")]
    struct WriteError(#[source] kube::Error);

    #[test]
    fn a_response_of_the_api_server_is_reduced_to_its_message_and_code() {
        let status = Status::failure("hubs \"team\" is busy", "Conflict").with_code(409);
        let error = WriteError(kube::Error::Api(status.boxed()));
        assert_eq!(join(&error), "failed to write the status: hubs \"team\" is busy (409)");
    }
}
