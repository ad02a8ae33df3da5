//! Events about an McpHub.

/// A Kubernetes Event on the McpHub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Whether the type is `Warning` instead of `Normal`.
    pub warning: bool,
    /// `UpperCamelCase`, from a bounded set.
    pub reason: String,
    /// What happened and, if necessary, what to do.
    pub message: String,
}

/// Maximum length of a note in bytes. The API server rejects longer ones.
const LONGEST: usize = 1024;

impl Event {
    /// The message, cut to what the API server stores.
    pub fn note(&self) -> String {
        if self.message.len() <= LONGEST {
            return self.message.clone();
        }
        let cut = self.message.floor_char_boundary(LONGEST - '…'.len_utf8());
        format!("{}…", self.message.get(..cut).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_cut_at_a_character_within_the_api_servers_limit() {
        let note = |message: String| Event { warning: false, reason: "A".into(), message }.note();
        let cut = note("ä".repeat(600));
        assert_eq!(cut.len(), 1023);
        assert!(cut.ends_with("ä…"));
        assert_eq!(note("short".into()), "short");
    }
}
