//! Types of the McpHub resource, and the CRD generated from them.
//!
//! One file per section of the spec; [`hub`] is the root. No field has a default here but `replicas`: the hash of
//! a revision is taken over what the user wrote, and must not move when a default changes.
//!
//! * [`values`]: durations, decimals and sizes, as they are written; [`shaped`]: parts of a pod.
//! * [`rules`], [`not_yet`]: what the API server refuses, and with which sentence.
//! * [`crd`]: the finished CustomResourceDefinition; [`mod@reference`]: its documentation.

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
