//! The operator: watches McpHub resources and makes hubs exist, change safely and roll back.
//!
//! * [`run`](mod@run): starts everything and stops it in order.
//! * [`reconcile`](mod@reconcile): one hub, from what is seen of it to what is written; every decision is in `mcphub_operator_plan`.
//! * [`observe`], [`apply`], [`report`]: the IO around a plan.
//! * [`stores`]: what is known of the cluster. [`lease`]: who may write.

pub mod admin;
pub mod apply;
pub mod args;
pub mod backoff;
pub mod config;
mod controller;
pub mod lease;
pub mod master_key;
pub mod metrics;
pub mod observe;
pub mod reconcile;
pub mod report;
pub mod run;
pub mod stores;
pub mod telemetry;
pub mod words;

/// Field manager of everything that the operator writes; also the controller's name in Events.
pub const FIELD_MANAGER: &str = "mcphub-operator";
