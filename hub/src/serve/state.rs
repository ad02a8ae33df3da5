//! The state that all requests of a hub share.

pub mod additions;
pub mod caller_view;
pub mod hub;
pub mod in_flight;
pub mod sessions;
pub mod snapshot;
pub mod validation;
