//! The record of an attempt, as an annotation of the ControllerRevision.

use jiff::Timestamp;

/// What is written on a ControllerRevision about its attempts.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptRecord {
    /// 1, 2, …
    pub attempt: u32,
    /// How the attempt ended; `None`: it is going on.
    pub result: Option<AttemptResult>,
    /// Why, for a person.
    #[serde(default)]
    pub reason: String,
    /// When it ended, or began while it goes on.
    pub at: Timestamp,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[allow(missing_docs)] // the words of the status contract
pub enum AttemptResult {
    Promoted,
    RolledBack,
    Replaced,
    Aborted,
    Failed,
}
