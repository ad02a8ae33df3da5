//! The hub's port: everything that knows about HTTP.
//!
//! [`edge`] checks Host and Origin and reads bodies. [`mcp`] serves `/mcp`: [`context`] finds the
//! session and the protocol version of a request, [`stateless`] checks what the protocol without
//! sessions requires of its headers, [`exchange`] outlasts clients that disconnect, and
//! [`event_stream`] encodes streams. [`rest`] serves `/api`.
//! [`self_check`] and [`explain`] are on the admin port.

pub(super) mod context;
pub(super) mod edge;
pub(super) mod event_stream;
mod exchange;
pub(super) mod explain;
mod filtering_stats;
mod held_body;
mod mcp;
mod responses;
mod rest;
pub(super) mod self_check;
mod stateless;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::routing::{any, get};

use super::state::hub::Hub;

/// All routes of the hub's port.
pub(super) fn router(hub: Arc<Hub>) -> Router {
    let checked = Router::new()
        .route("/mcp", any(mcp::endpoint))
        .route("/mcp/v/{name}", any(mcp::view))
        .merge(rest::router())
        .layer(from_fn_with_state(Arc::clone(&hub), edge::check_host_and_origin));
    // The kubelet sends the pod's address as Host, so these two skip the checks. They answer with a
    // status only.
    Router::new()
        .route("/health", get(async || StatusCode::OK))
        .route("/ready", get(ready))
        .merge(checked)
        .with_state(hub)
}

async fn ready(State(hub): State<Arc<Hub>>) -> StatusCode {
    if hub.ready().is_ok() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}
