//! Writes of objects, before and after the API server has acknowledged them.

use std::marker::PhantomData;

use super::object::{Object, ObjectName};

/// Not sent yet.
#[derive(Debug, Clone, PartialEq)]
pub enum Prepared {}

/// Acknowledged by the API server, as it answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Applied {}

/// How an object is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteMode {
    /// Server-side apply, forced. `metadata.resourceVersion` and `uid`, where set, are preconditions.
    Apply,
    /// `POST`: it must not exist yet. An apply would overwrite what a newer leader has made since it was looked for.
    Create,
}

/// An object on its way to the API server, or back from it.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectWrite<State> {
    /// The object: as we want it, or as the server answered.
    pub object: Object,
    mode: WriteMode,
    state: PhantomData<State>,
}

impl ObjectWrite<Prepared> {
    /// An object to be applied. Only fields that the operator owns are set; `metadata.resourceVersion` and `uid`,
    /// where set, are preconditions.
    pub fn prepare(object: Object) -> Self {
        Self { object, mode: WriteMode::Apply, state: PhantomData }
    }

    /// An object that must not exist yet.
    pub fn create(object: Object) -> Self {
        Self { object, mode: WriteMode::Create, state: PhantomData }
    }

    /// How it is to be written.
    pub fn mode(&self) -> WriteMode {
        self.mode
    }

    /// What comes after it rests on it: if it is refused, nothing more of the plan may be written. A Deployment scaled
    /// down while routers still read the old weights loses sessions.
    pub fn is_essential(&self) -> bool {
        match &self.object {
            Object::ControllerRevision(_) => true,
            // Without content of ours it is what pods fill (`<hub>-learned`), and nothing rests on it.
            Object::ConfigMap(map) => map.immutable != Some(true) && map.data.is_some(),
            _ => false,
        }
    }

    /// The same object as the server answered it.
    pub fn applied(self, answer: Object) -> ObjectWrite<Applied> {
        ObjectWrite { object: answer, mode: self.mode, state: PhantomData }
    }
}

/// An object to be deleted if it still is the one that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delete {
    /// Which.
    pub object: ObjectName,
    /// `metadata.uid` as seen.
    pub uid: String,
    /// `metadata.resourceVersion` as seen.
    pub resource_version: String,
}

/// What became of a plan's objects.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Acknowledged {
    /// Those that the API server took, and those that needed no write (as they are in the caches).
    pub objects: Vec<ObjectWrite<Applied>>,
    /// Those that it refused.
    pub rejections: Vec<Rejection>,
}

/// A server's refusal of one object that trying again does not mend (400, 403, 422).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Which.
    pub object: ObjectName,
    /// The API server's own words.
    pub message: String,
}
