//! Kubernetes objects in general: what one is, how it is named, labeled, compared and written.

pub mod canonical;
pub mod drift;
mod event;
pub mod labels;
pub mod names;
mod object;
mod write;

pub use self::event::Event;
pub use self::object::{Object, ObjectName};
pub use self::write::{
    Acknowledged, Applied, Delete, Failure, ObjectWrite, Prepared, Rejection, WriteMode,
};
