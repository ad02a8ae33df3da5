//! Plans of whole hubs, against a cluster in memory.
//!
//! The rollout engine has its own tests in `src/rollout/tests`. They tell stories that take hours.
#![allow(clippy::expect_used, clippy::panic, reason = "a test")]

mod accept;
mod argocd;
mod check;
mod cluster;
mod damage;
mod drift;
mod events;
mod failed_writes;
mod history;
mod late_answers;
mod objects;
mod plans;
mod pod_facts;
mod revision_content;
mod server_pods;
mod status;
