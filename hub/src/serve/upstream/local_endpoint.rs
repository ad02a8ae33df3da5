//! A server that this process speaks Streamable HTTP for: a stdio server, or one with HTTP+SSE.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use mcphub_hub_wire::config::{Command, Server};
use tokio_util::task::AbortOnDropHandle;

use super::error::Error;
use super::legacy_sse::LegacySse;
use crate::local_service::LocalService;
use crate::stdio::{self, ChildProgram, Orphans, Program, Reaper, StdioServer};

/// The hub ends calls by its own deadlines. This one only has to be later.
const CALL_TIMEOUT: Duration = Duration::from_hours(24);
/// A connection costs little, and without it the server could not notify the hub.
const LEGACY_SSE_IDLE_TIMEOUT: Duration = Duration::from_hours(24 * 365);

pub(super) struct LocalEndpoint {
    service: LocalService,
    server: Arc<StdioServer>,
    _sweeper: AbortOnDropHandle<()>,
}

impl LocalEndpoint {
    /// Runs the command of a server, one process for each session.
    pub(super) fn of_command(server: &Server, command: &Command) -> Result<Self, Error> {
        let failed = |error| Error::Unusable(format!("failed to watch processes: {error}"));
        let program = ChildProgram {
            name: server.name.as_str().into(),
            command: command.clone(),
            reaper: Reaper::start(Orphans::Leave).map_err(failed)?,
        };
        let idle_timeout = Duration::from_millis(command.idle_timeout_ms);
        Self::new(server, Arc::new(program), idle_timeout)
    }

    /// Connects to a server with HTTP+SSE, once for each session.
    pub(super) fn of_legacy_sse(server: &Server, program: LegacySse) -> Result<Self, Error> {
        Self::new(server, Arc::new(program), LEGACY_SSE_IDLE_TIMEOUT)
    }

    fn new(
        server: &Server,
        program: Arc<dyn Program>,
        idle_timeout: Duration,
    ) -> Result<Self, Error> {
        // The process of a session that has just ended may still be stopping.
        let most = server.max_sessions.saturating_add(1);
        let server = StdioServer::new(program, most, CALL_TIMEOUT)
            .map_err(|error| Error::Unusable(format!("failed to register metrics: {error}")))?;
        let sweeping = Arc::clone(&server);
        let sweeper = tokio::spawn(async move { sweeping.sweep(idle_timeout).await });
        let service = LocalService::new(stdio::router(Arc::clone(&server)));
        Ok(Self { service, server, _sweeper: AbortOnDropHandle::new(sweeper) })
    }

    pub(super) async fn send(
        &self,
        method: Method,
        body: String,
        headers: &HeaderMap,
    ) -> reqwest::Response {
        let mut request = http::Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = http::Uri::from_static("/mcp");
        let all = request.headers_mut();
        all.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        all.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        for (name, value) in headers {
            all.insert(name.clone(), value.clone());
        }
        self.service.send(request).await
    }

    /// Ends all sessions, and waits for their processes.
    pub(super) async fn stop(&self) {
        self.server.end_all().await;
    }
}

impl std::fmt::Debug for LocalEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalEndpoint").finish_non_exhaustive()
    }
}
