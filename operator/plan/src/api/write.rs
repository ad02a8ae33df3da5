//! Writes of objects, before and after the API server has acknowledged them.

use std::collections::BTreeSet;
use std::marker::PhantomData;

use super::object::{Object, ObjectName};

/// The object has not been sent yet.
#[derive(Debug, Clone, PartialEq)]
pub enum Prepared {}

/// The API server has acknowledged the object.
#[derive(Debug, Clone, PartialEq)]
pub enum Applied {}

/// How an object is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteMode {
    /// Server-side apply with force. `metadata.resourceVersion` and `uid` are preconditions if they
    /// are set.
    Apply,
    /// `POST`: the object must not exist yet. An apply would overwrite what a newer leader has
    /// created since the cache was read.
    Create,
}

/// An object before (`Prepared`) or after (`Applied`) it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectWrite<State> {
    /// The desired object, or the object that the API server returned.
    pub object: Object,
    mode: WriteMode,
    needs: BTreeSet<ObjectName>,
    state: PhantomData<State>,
}

impl ObjectWrite<Prepared> {
    /// Prepares a server-side apply. The object has only the fields that the operator owns.
    /// `metadata.resourceVersion` and `uid` are preconditions if they are set.
    pub fn prepare(object: Object) -> Self {
        Self { object, mode: WriteMode::Apply, needs: BTreeSet::new(), state: PhantomData }
    }

    /// Prepares the creation of an object that must not exist yet.
    pub fn create(object: Object) -> Self {
        Self { object, mode: WriteMode::Create, needs: BTreeSet::new(), state: PhantomData }
    }

    pub fn mode(&self) -> WriteMode {
        self.mode
    }

    /// Adds objects of the same plan that must be written before this one.
    #[must_use]
    pub fn after(mut self, needs: impl IntoIterator<Item = ObjectName>) -> Self {
        self.needs.extend(needs);
        self
    }

    /// Objects of the same plan that must be written before this one. A Deployment that is scaled
    /// down while routers still read the old weights loses sessions.
    pub fn needs(&self) -> &BTreeSet<ObjectName> {
        &self.needs
    }

    /// The same object after the write, as the API server returned it.
    pub fn applied(self, answer: Object) -> ObjectWrite<Applied> {
        ObjectWrite { object: answer, mode: self.mode, needs: self.needs, state: PhantomData }
    }
}

/// The deletion of an object, if it is still the one that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delete {
    pub object: ObjectName,
    /// `metadata.uid` as it was read.
    pub uid: String,
    /// `metadata.resourceVersion` as it was read.
    pub resource_version: String,
}

/// The outcome of writing the objects of a plan.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Acknowledged {
    /// Objects that the API server accepted, and objects that needed no write (as they are in the
    /// caches).
    pub objects: Vec<ObjectWrite<Applied>>,
    /// Objects that the API server rejected.
    pub rejections: Vec<Rejection>,
    /// Objects that could not be written or deleted for another reason.
    pub failures: Vec<Failure>,
}

/// The API server's rejection of one object (400, 403, 422). A retry would not change it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    pub object: ObjectName,
    /// The message of the API server.
    pub message: String,
}

/// A write or delete that failed and is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What failed: `write` or `delete`.
    pub verb: &'static str,
    pub object: ObjectName,
    /// What happened, for the status.
    pub message: String,
}
