//! The record of an attempt. It is stored in the state and as an annotation of the
//! ControllerRevision.

use jiff::Timestamp;

/// The last attempt of a revision.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptRecord {
    /// Counts from 1.
    pub attempt: u32,
    /// How the attempt ended; `None` while it is in progress.
    pub result: Option<AttemptResult>,
    #[serde(default)]
    pub reason: String,
    /// When the attempt ended, or started if it is in progress.
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
