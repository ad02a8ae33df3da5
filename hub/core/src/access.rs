//! Who may know of which tool.

use serde_json::{Map, Value};

/// Who asks, as far as access rules see it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Caller {
    /// `caller.sub`; empty for everybody who is not known.
    pub sub: String,
    /// `caller.claims`
    pub claims: Map<String, Value>,
    /// `caller.groups`
    pub groups: Vec<String>,
    /// `caller.keyName`; empty without an API key.
    pub key_name: String,
}

impl Caller {
    /// Everybody, while there is no authentication.
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// The same for callers whom no rule can tell apart.
    pub fn key(&self) -> String {
        let Self { sub, claims, groups, key_name } = self;
        serde_json::json!([sub, claims, groups, key_name]).to_string()
    }
}
