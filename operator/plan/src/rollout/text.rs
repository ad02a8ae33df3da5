//! Pieces of text that messages have in common.

use std::time::Duration;

/// A duration such as `2m`, `1m30s` or `500ms`. From ten seconds on, fractions are dropped.
pub(crate) fn plain(length: Duration) -> String {
    let length = if length >= Duration::from_secs(10) {
        Duration::from_secs(length.as_secs())
    } else {
        length
    };
    mcphub_crds::values::Duration::from(length).to_string()
}

/// A number with its noun, whose plural is regular, for example "1 server" and "2 servers".
pub(crate) fn counted(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}
