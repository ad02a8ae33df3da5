//! Types of the McpHub resource, and the CRD generated from them.
//!
//! Each section of the spec has its own module, and [`hub`] is the root. Only `replicas` has a
//! default in the schema. The hash of a revision covers what the user wrote, and it must not change
//! when a default changes.
//!
//! * [`values`] has durations, decimals and sizes. [`shaped`] has parts of a pod.
//! * [`rules`] and [`not_yet`] have the validation rules and their messages.
//! * [`crd`] builds the CustomResourceDefinition, and [`mod@reference`] its documentation.

#![allow(
    clippy::doc_markdown,
    reason = "doc comments become schema descriptions, read as plain text by kubectl explain"
)]

pub mod auth;
pub mod container;
pub mod crd;
pub mod expose;
pub mod filtering;
pub mod flags;
pub mod hub;
pub mod llm;
pub mod monitoring;
pub mod not_yet;
pub mod pods;
pub mod reference;
pub mod refs;
pub mod remote;
pub mod rollout;
pub mod rules;
pub mod servers;
pub mod sessions;
pub mod shaped;
pub mod status;
pub mod traffic;
pub mod values;

pub use hub::{McpHub, McpHubSpec};
pub use status::McpHubStatus;
