//! The operator watches McpHub resources. It creates hubs, changes them safely and rolls them back.
//!
//! * [`run`](mod@run) starts everything and stops it in order.
//! * [`reconcile`](mod@reconcile) reconciles one hub. Every decision is in `mcphub_operator_plan`.
//! * [`observe`], [`apply`] and [`report`] do the IO around a plan.
//! * [`stores`] caches the cluster's objects. [`lease`] elects the replica that may write.

pub mod admin;
pub mod apply;
pub mod args;
pub mod backoff;
pub mod config;
mod controller;
pub mod error_chain;
pub mod lease;
pub mod master_key;
pub mod metrics;
mod object_api;
pub mod observe;
pub mod reconcile;
pub mod report;
pub mod run;
pub mod stores;
pub mod telemetry;

/// The field manager of everything that the operator writes. Events name it as the controller.
pub const FIELD_MANAGER: &str = "mcphub-operator";
