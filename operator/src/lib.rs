//! The operator watches McpHub resources. It creates hubs, changes them safely and rolls them back.
//!
//! * [`run`](mod@run) starts everything and stops it in order.
//! * `reconcile` reconciles one hub. Every decision is in `mcphub_operator_plan`.
//! * `observe`, `apply` and `report` do the IO around a plan.
//! * `stores` caches the cluster's objects. `lease` elects the replica that may write.

mod admin;
mod apply;
pub mod args;
mod backoff;
mod config;
mod controller;
pub mod error_chain;
mod lease;
mod master_key;
mod metrics;
mod object_api;
mod observe;
mod reconcile;
mod report;
pub mod run;
mod stores;
pub mod telemetry;

/// The field manager of everything that the operator writes. Events name it as the controller.
pub(crate) const FIELD_MANAGER: &str = "mcphub-operator";
