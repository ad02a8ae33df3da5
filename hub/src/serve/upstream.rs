//! One upstream server: its sessions, its list of tools, and calls to it.
//!
//! [`refresh`] keeps list and state up to date in the background, so that a bad, slow or hung
//! server delays only those who call it.

mod endpoint;
mod error;
mod exchange;
mod http_endpoint;
mod legacy_sse;
mod link;
mod local_endpoint;
mod pool;
mod refresh;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::Method;
use http::header::{HeaderName, HeaderValue};
use mcphub_hub_catalog::catalog::{ServerList, Tool};
use mcphub_hub_protocol::message::Params;
use mcphub_hub_protocol::rewrite::Hop;
use mcphub_hub_protocol::{mcp_headers, rewrite};
use mcphub_hub_wire::config::{ConnectionPool, HubConfig, Isolation, Server};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::endpoint::Endpoint;
pub(super) use self::error::Error;
pub(super) use self::exchange::{Exchange, ExchangeEvent};
use self::link::Link;
pub(super) use self::pool::SessionKey;
use self::pool::{Pool, PooledSession};

/// A configured server that is not disabled.
#[derive(Debug)]
pub struct Upstream {
    pub server: Server,
    pool_config: ConnectionPool,
    endpoint: Endpoint,
    pool: Pool,
    state: ArcSwap<UpstreamState>,
    next_id: AtomicU64,
    /// Notified when the list may have changed or the server may be gone: refresh at once.
    nudge: Notify,
    starting_until: Instant,
    closed: CancellationToken,
}

/// What is known about a server.
#[derive(Debug, Clone, Default)]
pub struct UpstreamState {
    pub status: Status,
    /// The last list of its tools. It stays when the server is gone.
    pub list: Option<Arc<ServerList>>,
    /// The instructions for models that it gave when it last listed its tools.
    pub instructions: Option<Arc<str>>,
}

/// The connection status of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Not reached yet, for this reason; empty before the first attempt.
    Starting(String),
    Connected,
    /// Its list could not be read, for this reason.
    Down(String),
}

impl Default for Status {
    fn default() -> Self {
        Self::Starting(String::new())
    }
}

impl Status {
    pub fn is_starting(&self) -> bool {
        matches!(self, Self::Starting(_))
    }
}

/// A `tools/call` on its way to the tool's server.
#[derive(Debug, Clone, Copy)]
pub struct CallTool<'a> {
    pub tool: &'a Tool,
    /// The arguments as JSON text; `None` if the client sent none.
    pub arguments: Option<&'a str>,
    /// The parameters as the client sent them. All members but the name, the arguments and parts of
    /// `_meta` go to the server byte for byte.
    pub rest: &'a Params<'a>,
    /// Whether the client wants progress notifications.
    pub progress: bool,
}

impl CallTool<'_> {
    fn params(&self, hop: Hop<'_>) -> String {
        rewrite::call_params(self.rest, &self.tool.own, self.arguments, hop)
    }

    /// The arguments that the tool wants mirrored into headers.
    fn mirrored_headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        self.tool.param_headers().iter().filter_map(|mirrored| {
            let value = mcp_headers::argument_value(mirrored, self.arguments)?;
            let value = HeaderValue::from_str(&mcp_headers::encode(&value)).ok()?;
            Some((mirrored.header.parse().ok()?, value))
        })
    }
}

/// Whose call it is, which decides in which upstream session it is sent.
#[derive(Debug, Clone, Copy)]
pub struct SessionOwner {
    /// Hash of the principal.
    pub principal: [u8; 32],
    /// The downstream session; `None` for a request without one.
    pub session: Option<[u8; 16]>,
}

impl Upstream {
    /// Starts to read the server's list in sessions of `list_key`. `changed` is notified whenever
    /// the state changes.
    pub fn start(
        server: Server,
        config: &HubConfig,
        list_key: SessionKey,
        changed: Arc<Notify>,
    ) -> Result<Arc<Self>, Error> {
        let pool_config = config.connection_pool.clone();
        let upstream = Arc::new(Self {
            starting_until: Instant::now() + Duration::from_millis(config.startup_timeout_ms),
            endpoint: Endpoint::new(&server, &pool_config)?,
            pool: Pool::new(server.max_sessions),
            state: ArcSwap::default(),
            next_id: AtomicU64::new(1),
            nudge: Notify::new(),
            closed: CancellationToken::new(),
            server,
            pool_config,
        });
        tokio::spawn(refresh::run(Arc::clone(&upstream), list_key, changed));
        Ok(upstream)
    }

    /// Whether nothing about the server has changed in a new config, so that it can keep running.
    pub fn is_for(&self, server: &Server, pool: &ConnectionPool) -> bool {
        self.server == *server && self.pool_config == *pool
    }

    pub fn state(&self) -> Arc<UpstreamState> {
        self.state.load_full()
    }

    /// The session that a call is sent in, by the server's isolation.
    fn session_key(&self, owner: SessionOwner) -> SessionKey {
        match (self.server.isolation, owner.session) {
            (Isolation::Shared, _) => SessionKey::Pod,
            (Isolation::PerSession, Some(session)) => SessionKey::Session(session),
            (Isolation::PerSession | Isolation::PerPrincipal, _) => {
                SessionKey::Principal(owner.principal)
            }
        }
    }

    /// Sends a call, and returns when the head of the response has arrived.
    pub async fn call(
        self: &Arc<Self>,
        owner: SessionOwner,
        call: CallTool<'_>,
    ) -> Result<Exchange, Error> {
        let key = self.session_key(owner);
        let timeout = Duration::from_millis(call.tool.timeout_ms);
        let deadline = Instant::now() + timeout;
        let outcome =
            tokio::time::timeout_at(deadline, self.call_in_session(&key, call, deadline)).await;
        let outcome = outcome.unwrap_or(Err(Error::TimedOut(timeout)));
        if let Err(Error::NotConnected(_) | Error::ConnectionLost(_) | Error::Http(_)) = &outcome {
            self.nudge.notify_one();
        }
        outcome
    }

    async fn call_in_session(
        self: &Arc<Self>,
        key: &SessionKey,
        call: CallTool<'_>,
        deadline: Instant,
    ) -> Result<Exchange, Error> {
        let (session, link) = self.session(key).await?;
        match self.send_call(&link, call, deadline).await {
            // The server refused the call because of the session, so it has not run it: sending it
            // again is safe.
            Err(Error::SessionGone(_)) => {
                self.pool.remove(key, &session);
                let (_, link) = self.session(key).await?;
                self.send_call(&link, call, deadline).await
            }
            other => other,
        }
    }

    async fn send_call(
        self: &Arc<Self>,
        link: &Link,
        call: CallTool<'_>,
        deadline: Instant,
    ) -> Result<Exchange, Error> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let params = call.params(link.hop(call.progress.then_some(id)));
        let mut headers = link.request_headers("tools/call", Some(&call.tool.own));
        if link.stateless {
            headers.extend(call.mirrored_headers());
        }
        let body = link::request(&id.to_string(), "tools/call", &params);
        let mut exchange = Exchange::new(
            Arc::clone(self),
            link.clone(),
            id,
            deadline,
            Duration::from_millis(call.tool.timeout_ms),
        );
        let sent = self
            .endpoint
            .send(Method::POST, body, &headers, deadline.saturating_duration_since(Instant::now()))
            .await;
        match sent {
            Ok(mut response) => {
                if link::session_is_gone(link, &mut response, &id.to_string()).await? {
                    exchange.finish();
                    return Err(Error::SessionGone(response.status));
                }
                exchange.set_response(response);
                Ok(exchange)
            }
            Err(error) => {
                if matches!(error, Error::NotConnected(_)) {
                    exchange.finish();
                }
                Err(error)
            }
        }
    }

    /// The session with this key. It is opened if it does not exist.
    async fn session(&self, key: &SessionKey) -> Result<(Arc<PooledSession>, Link), Error> {
        let session = self.pool.session(key)?;
        let open = || link::open(&self.endpoint, self.server.transport, self.timeout());
        match session.link.get_or_try_init(open).await {
            Ok(link) => {
                let link = link.clone();
                Ok((session, link))
            }
            Err(error) => {
                self.pool.remove(key, &session);
                Err(error)
            }
        }
    }

    /// Ends the upstream session of a downstream session that has ended.
    pub fn end_session(self: &Arc<Self>, session: [u8; 16]) {
        let ended = self.pool.take(&SessionKey::Session(session));
        drop(self.delete(ended.as_slice()));
    }

    /// Ends all sessions, because the server is not configured any more or the hub stops. The
    /// returned tasks send the DELETE requests; it is fine not to wait for them.
    pub fn close(self: &Arc<Self>) -> Vec<JoinHandle<()>> {
        self.closed.cancel();
        self.delete(&self.pool.take_all())
    }

    /// Ends the processes of a stdio server, and waits for them.
    pub async fn stop_processes(&self) {
        self.endpoint.stop().await;
    }

    fn delete(self: &Arc<Self>, sessions: &[Arc<PooledSession>]) -> Vec<JoinHandle<()>> {
        let open = sessions
            .iter()
            .filter_map(|session| session.link.get())
            .filter(|link| link.has_session())
            .cloned();
        let delete = |link: Link| {
            let upstream = Arc::clone(self);
            tokio::spawn(async move {
                let timeout = upstream.timeout().min(Duration::from_secs(5));
                upstream
                    .endpoint
                    .send(Method::DELETE, String::new(), &link.headers, timeout)
                    .await
                    .ok();
            })
        };
        open.map(delete).collect()
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.server.timeout_ms)
    }
}
