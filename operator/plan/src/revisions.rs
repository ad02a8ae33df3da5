//! Revisions as the cluster stores them: one ControllerRevision each.
//!
//! | file | what it owns |
//! |---|---|
//! | [`revision_record`] | the data of a ControllerRevision, and how it is rendered |
//! | [`stored_revision`] | reads and writes ControllerRevisions |
//! | [`recovery`] | a record whose ControllerRevision was deleted, from the objects that run |
//! | [`json_escape`] | the spelling of the data, which the API server compares byte by byte |

mod json_escape;
pub(crate) mod recovery;
pub(crate) mod revision_record;
pub(crate) mod stored_revision;

pub(crate) use self::revision_record::RevisionRecord;
pub use self::stored_revision::ATTEMPT;
pub(crate) use self::stored_revision::StoredRevision;
