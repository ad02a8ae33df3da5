//! The revisions that are stored in the cluster.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use mcphub_hub_wire::dataplane::Revision;
use serde_json::Value;

use super::json_escape;
use super::recovery::copied_back;
use super::revision_record::{RevisionRecord, SCHEMA};
use crate::api::{labels, names};
use crate::objects::revision_deployment;
use crate::rollout::AttemptRecord;
use crate::snapshot::HubObjects;

/// Annotation with an [`AttemptRecord`]: attempt, result, reason, time.
pub const ATTEMPT: &str = "mcphub.dev/attempt";

/// A revision with a ControllerRevision, or one that is about to get one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StoredRevision {
    /// The data exactly as it is stored. The API server rejects every change of it.
    pub(crate) data: Value,
    /// The parsed data; `None` if a newer operator wrote it. Nothing of such a revision is touched.
    pub(crate) record: Option<RevisionRecord>,
    /// The position in the order of revisions.
    pub(crate) number: i64,
    /// The last attempt.
    pub(crate) attempt: Option<AttemptRecord>,
    /// When it was created; `None` if it is not created yet.
    pub(crate) created: Option<Timestamp>,
}

impl StoredRevision {
    /// A revision that is not stored yet.
    pub(crate) fn new(record: RevisionRecord, number: i64) -> Self {
        // This fails only for maps whose keys are not strings, and there are none.
        let data = json_escape::escape(serde_json::to_value(&record).unwrap_or_default());
        Self { data, record: Some(record), number, attempt: None, created: None }
    }

    /// Parses a ControllerRevision.
    pub(crate) fn read(object: &ControllerRevision) -> Self {
        let data = object.data.as_ref().map(|data| data.0.clone()).unwrap_or_default();
        let record =
            serde_json::from_value::<RevisionRecord>(json_escape::unescape(data.clone())).ok();
        let attempt = object.metadata.annotations.as_ref().and_then(|all| all.get(ATTEMPT));
        Self {
            data,
            record: record.filter(|record| record.schema <= SCHEMA),
            number: object.revision,
            attempt: attempt.and_then(|text| serde_json::from_str(text).ok()),
            created: Some(
                object
                    .metadata
                    .creation_timestamp
                    .as_ref()
                    .map_or(Timestamp::UNIX_EPOCH, |time| time.0),
            ),
        }
    }

    /// The ControllerRevision with this attempt as its annotation.
    pub(crate) fn object(
        &self,
        hub: &str,
        revision: &Revision,
        attempt: Option<&AttemptRecord>,
    ) -> ControllerRevision {
        let version = self.record.as_ref().map(|record| record.version.clone()).unwrap_or_default();
        let labels = revision_deployment::labels_of(hub, revision, &version);
        let mut metadata = labels::meta(names::revision(hub, revision), labels);
        // This fails only for maps whose keys are not strings, and there are none.
        let text = attempt.and_then(|attempt| serde_json::to_string(attempt).ok());
        metadata.annotations = text.map(|text| BTreeMap::from([(ATTEMPT.into(), text)]));
        ControllerRevision {
            metadata,
            data: Some(RawExtension(self.data.clone())),
            revision: self.number,
        }
    }
}

/// All stored revisions: those with a ControllerRevision, and those whose ControllerRevision was
/// deleted by hand while their Deployment and config still exist.
pub(crate) fn stored_revisions(
    hub: &str,
    objects: &HubObjects,
) -> BTreeMap<Revision, StoredRevision> {
    let named =
        |object: &ControllerRevision| names::revision_of(hub, object.metadata.name.as_deref()?);
    let there = objects.controller_revisions.values();
    let mut all: BTreeMap<_, _> =
        there.filter_map(|object| Some((named(object)?, StoredRevision::read(object)))).collect();
    let last = all.values().map(|stored| stored.number).max().unwrap_or_default();
    for (name, deployment) in &objects.deployments {
        let Some(revision) =
            names::revision_of(hub, name).filter(|revision| !all.contains_key(revision))
        else {
            continue;
        };
        if let Some(record) = copied_back(&revision, deployment, objects) {
            all.insert(revision, StoredRevision::new(record, last + 1));
        }
    }
    all
}
