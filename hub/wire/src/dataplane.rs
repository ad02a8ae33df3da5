//! `dataplane.json`: what changes while pods run. Pods of any age read it, so keys are only ever
//! added: unknown keys are ignored, and no key changes its meaning.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Version of [`Dataplane`]'s layout.
pub const SCHEMA: u32 = 1;

/// The highest generation that is obeyed. Counting never gets there, so a higher one is damage. A
/// pod that obeyed it would ignore every later generation.
pub const MAX_GENERATION: u64 = 1 << 53;

/// The name of a revision: eight lowercase hex digits, a hash of everything that decides how a hub
/// behaves.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Revision(String);

#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("\"{0}\" is not a revision; a revision is eight lowercase hex digits")]
pub struct InvalidRevision(String);

impl Revision {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Revision {
    type Err = InvalidRevision;
    fn from_str(text: &str) -> Result<Self, InvalidRevision> {
        let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        if text.len() == 8 && text.bytes().all(hex) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidRevision(text.into()))
        }
    }
}

impl TryFrom<String> for Revision {
    type Error = InvalidRevision;
    fn try_from(text: String) -> Result<Self, InvalidRevision> {
        text.parse()
    }
}

impl From<Revision> for String {
    fn from(revision: Revision) -> Self {
        revision.0
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The share of new sessions (stateful protocol) and of principals (stateless protocol), in
/// percent.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(try_from = "u8", into = "u8")]
pub struct Weight(u8);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0} is not a weight; a weight is 0 to 100")]
pub struct InvalidWeight(u8);

impl Weight {
    /// No new traffic.
    pub const ZERO: Self = Self(0);
    /// All new traffic.
    pub const FULL: Self = Self(100);

    pub fn percent(self) -> u8 {
        self.0
    }

    /// The weight of the other revision.
    #[must_use]
    pub fn rest(self) -> Self {
        Self(100 - self.0)
    }
}

impl TryFrom<u8> for Weight {
    type Error = InvalidWeight;
    fn try_from(percent: u8) -> Result<Self, InvalidWeight> {
        if percent <= 100 { Ok(Self(percent)) } else { Err(InvalidWeight(percent)) }
    }
}

impl From<Weight> for u8 {
    fn from(weight: Weight) -> Self {
        weight.0
    }
}

/// The role of a live revision. It is never a pod label, because promotion must not change pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Stable,
    Canary,
    /// Was stable before the last promotion, and is kept running during the guard.
    Previous,
    /// Was rolled back. It gets no requests and is kept for diagnosis.
    Failed,
    /// A role of a newer operator. It gets no new sessions.
    #[serde(other)]
    Unknown,
}

/// One live revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionState {
    pub role: Role,
    pub weight: Weight,
    /// The feature flags in force, by their names in the resource.
    #[serde(default)]
    pub flags: BTreeMap<String, bool>,
}

/// The whole of `dataplane.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dataplane {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Increases with every change of `revisions`, and only then.
    pub generation: u64,
    /// The live revisions. Their weights add up to 100, or to 0 before the first self-check has
    /// passed.
    pub revisions: BTreeMap<Revision, RevisionState>,
}

#[cfg(test)]
mod tests {
    use super::*;

    // An operator may be newer than the pods that it controls.
    #[test]
    fn unknown_keys_and_roles_of_a_newer_operator_are_ignored() {
        let newer = r#"{"schema":1,"generation":7,"hint":"x","revisions":{
            "0a1b2c3d":{"role":"stable","weight":100,"flags":{},"zone":"eu"},
            "ffffffff":{"role":"shadow","weight":0}}}"#;
        let read: Dataplane = serde_json::from_str(newer).unwrap();
        assert_eq!(read.revisions[&"0a1b2c3d".parse().unwrap()].weight, Weight::FULL);
        assert_eq!(read.revisions[&"ffffffff".parse().unwrap()].role, Role::Unknown);
    }

    #[test]
    fn a_weight_over_100_and_a_malformed_revision_are_rejected() {
        assert_eq!(Weight::try_from(101), Err(InvalidWeight(101)));
        assert_eq!("0A1B2C3D".parse::<Revision>(), Err(InvalidRevision("0A1B2C3D".into())));
        assert_eq!("0a1b2c3".parse::<Revision>(), Err(InvalidRevision("0a1b2c3".into())));
    }
}
