//! Errors in words.

use std::error::Error;
use std::fmt::Write as _;

/// An error and what is behind it, in one line. Of the API server's answers the message only: their `Display` shows
/// every field.
pub fn of(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let separator = if text.is_empty() { "" } else { ": " };
        if let Some(kube::Error::Api(status)) = error.downcast_ref::<kube::Error>() {
            let _ = write!(text, "{separator}{} ({})", status.message, status.code);
            return text;
        }
        let _ = write!(text, "{separator}{error}"); // writing to a String does not fail
        next = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;
    use crate::report;

    #[test]
    fn an_answer_of_the_api_server_is_its_message_and_code() {
        let status = Status::failure("hubs \"team\" is busy", "Conflict").with_code(409);
        let error = report::Error(kube::Error::Api(status.boxed()));
        assert_eq!(of(&error), "the status cannot be written: hubs \"team\" is busy (409)");
    }
}
