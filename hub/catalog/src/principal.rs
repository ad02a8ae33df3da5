//! Who sends a request.

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// Who sends a request, as far as access rules and upstream sessions tell callers apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Principal {
    /// The subject; empty for the anonymous principal.
    pub sub: String,
    pub claims: Map<String, Value>,
    pub groups: Vec<String>,
    /// The name of the API key; empty without one.
    pub key_name: String,
}

impl Principal {
    /// The one principal of a hub without authentication.
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// A text that is equal for principals that no access rule can tell apart.
    pub fn key(&self) -> String {
        let Self { sub, claims, groups, key_name } = self;
        serde_json::json!([sub, claims, groups, key_name]).to_string()
    }

    /// The hash that session ids carry and that upstream sessions are keyed by.
    pub fn hash(&self) -> [u8; 32] {
        // Sessions that are open during an upgrade have the hash of this word for the anonymous
        // principal.
        let key = if *self == Self::anonymous() { "anonymous".to_owned() } else { self.key() };
        Sha256::digest(key).into()
    }
}
