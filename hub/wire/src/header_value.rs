//! A value in the config, or in a file that the config names.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a value is, such as that of a header or an API key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HeaderValue {
    /// The value itself. In a compiled config it is never a credential.
    Value(String),
    /// A file with the value. It is read again when it changes, and white space around it is
    /// ignored.
    File(String),
}

// A standalone config may have a credential here, and a config may be logged with `{:?}`.
impl fmt::Debug for HeaderValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(_) => f.write_str("Value(…)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}
