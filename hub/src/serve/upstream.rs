//! One upstream server: its sessions, its list of tools, and calls to it.
//!
//! [`refresh`] keeps list and state up to date in the background, so that a bad, slow or hung
//! server delays only those who call it.

mod breaker;
mod endpoint;
mod error;
mod exchange;
mod http_endpoint;
mod legacy_sse;
mod link;
mod local_endpoint;
mod pool;
mod refresh;
mod session;

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
use prometheus::IntGauge;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::breaker::ServerBreaker;
use self::endpoint::Endpoint;
pub(super) use self::error::Error;
pub(super) use self::exchange::{Exchange, ExchangeEvent};
use self::link::Refusal;
pub(super) use self::pool::SessionKey;
use self::pool::{Pool, PooledSession};
use self::session::{Connection, UpstreamSession};
use super::state::in_flight::InFlight;

/// How long opening a session may take: a cold start installs packages.
const START_TIMEOUT: Duration = Duration::from_mins(1);
/// Errors about a request that the server has not run, and that a new request may not have.
const HEADER_MISMATCH: i64 = -32020;
const VERSION: i64 = -32022;

/// A configured server that is not disabled.
#[derive(Debug)]
pub struct Upstream {
    pub server: Server,
    pool_config: ConnectionPool,
    endpoint: Arc<Endpoint>,
    pool: Pool,
    state: ArcSwap<UpstreamState>,
    next_id: AtomicU64,
    /// Calls that it works on.
    pub calls: InFlight,
    breaker: Arc<ServerBreaker>,
    /// Notified when the list may have changed or the server may be gone: refresh at once.
    nudge: Arc<Notify>,
    /// Runs DELETE requests.
    deletes: TaskTracker,
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
    /// Starts to read the server's list in sessions of `list_key`. `state` is what is known of the
    /// server already; `changed` is notified whenever it changes; `breaker` shows the state of its
    /// circuit breaker.
    pub fn start(
        server: Server,
        config: &HubConfig,
        list_key: SessionKey,
        state: Arc<UpstreamState>,
        changed: Arc<Notify>,
        breaker: IntGauge,
    ) -> Result<Arc<Self>, Error> {
        let pool_config = config.connection_pool.clone();
        let upstream = Arc::new(Self {
            starting_until: Instant::now() + Duration::from_millis(config.startup_timeout_ms),
            endpoint: Arc::new(Endpoint::new(&server, &pool_config)?),
            pool: Pool::new(server.max_sessions),
            state: ArcSwap::new(state),
            next_id: AtomicU64::new(1),
            calls: InFlight::default(),
            breaker: ServerBreaker::new(&server.name, breaker),
            nudge: Arc::default(),
            deletes: TaskTracker::new(),
            closed: CancellationToken::new(),
            server,
            pool_config,
        });
        tokio::spawn(refresh::run(Arc::clone(&upstream), list_key, changed));
        Ok(upstream)
    }

    /// Whether this is the same server, though its settings may differ.
    pub fn is_same_server(&self, server: &Server) -> bool {
        self.server.name == server.name
            && self.server.url == server.url
            && self.server.command == server.command
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
        let guard = self.breaker.acquire().inspect_err(|_| {
            // That a server is back is noticed when its list is read.
            if self.state().status != Status::Connected {
                self.nudge.notify_one();
            }
        })?;
        let outcome =
            tokio::time::timeout_at(deadline, self.call_in_session(&key, call, deadline)).await;
        match outcome.unwrap_or(Err(Error::TimedOut(timeout))) {
            Ok(mut exchange) => {
                exchange.set_breaker(guard);
                Ok(exchange)
            }
            Err(error) => {
                guard.fail(&error);
                if matches!(
                    error,
                    Error::NotConnected(_) | Error::ConnectionLost(_) | Error::Http(_)
                ) {
                    self.nudge.notify_one();
                }
                Err(error)
            }
        }
    }

    async fn call_in_session(
        self: &Arc<Self>,
        key: &SessionKey,
        call: CallTool<'_>,
        deadline: Instant,
    ) -> Result<Exchange, Error> {
        let (pooled, session) = self.session(key).await?;
        match self.send_call(session, call, deadline).await {
            // The server refused the call as it was sent, so it has not run it: sending it again is
            // safe.
            Err(Error::SessionGone(_) | Error::Refused { code: HEADER_MISMATCH | VERSION, .. }) => {
                self.pool.remove(key, &pooled);
                drop(pooled);
                self.nudge.notify_one();
                let (_, session) = self.session(key).await?;
                self.send_call(session, call, deadline).await
            }
            other => other,
        }
    }

    async fn send_call(
        self: &Arc<Self>,
        session: Arc<UpstreamSession>,
        call: CallTool<'_>,
        deadline: Instant,
    ) -> Result<Exchange, Error> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let link = &session.connection.link;
        let params = call.params(link.hop(call.progress.then_some(id)));
        let mut headers = link.request_headers("tools/call", Some(&call.tool.own));
        if link.stateless {
            headers.extend(call.mirrored_headers());
        }
        let body = link::request(&id.to_string(), "tools/call", &params);
        let timeout = Duration::from_millis(call.tool.timeout_ms);
        let mut exchange = Exchange::new(Arc::clone(&session), id, deadline, timeout);
        let left = deadline.saturating_duration_since(Instant::now());
        let sent = self.endpoint.send(Method::POST, body, &headers, left).await;
        let mut response = match sent {
            Ok(response) => response,
            Err(error) => {
                if matches!(error, Error::NotConnected(_)) {
                    exchange.finish();
                }
                return Err(error);
            }
        };
        let lost = match link::refusal(link, &mut response, &id.to_string()).await? {
            None => false,
            Some(Refusal::SessionGone) => true,
            Some(Refusal::Unclear { code, error }) => {
                let lost = !session.connection.is_alive().await;
                if !lost && link::is_hop_error(code) {
                    exchange.finish();
                    return Err(Error::Refused { method: "tools/call", error, code });
                }
                lost
            }
        };
        if lost {
            exchange.finish();
            return Err(Error::SessionGone(response.status));
        }
        exchange.set_response(response);
        Ok(exchange)
    }

    /// The session with this key. It is opened if it does not exist.
    async fn session(
        &self,
        key: &SessionKey,
    ) -> Result<(Arc<PooledSession>, Arc<UpstreamSession>), Error> {
        let pooled = self.pool.session(key, || self.open())?;
        match pooled.opened().await {
            Ok(session) => Ok((pooled, session)),
            Err(error) => {
                self.pool.remove(key, &pooled);
                Err(error)
            }
        }
    }

    /// Opens a session.
    fn open(&self) -> impl Future<Output = Result<Arc<UpstreamSession>, Error>> + Send + 'static {
        let (endpoint, nudge) = (Arc::clone(&self.endpoint), Arc::clone(&self.nudge));
        let (transport, timeout) = (self.server.transport, self.timeout());
        let deletes = self.deletes.clone();
        async move {
            let link = link::open(&endpoint, transport, START_TIMEOUT).await?;
            let connection = Connection { endpoint, link, timeout };
            Ok(Arc::new(UpstreamSession::new(connection, nudge, deletes)))
        }
    }

    /// Ends the upstream session of a downstream session that has ended.
    pub fn end_session(self: &Arc<Self>, session: [u8; 16]) {
        self.pool.remove_key(&SessionKey::Session(session));
    }

    /// Ends all sessions when their calls have ended, because the server is not configured any
    /// more or the hub stops. The returned tasks wait for the DELETE requests; it is fine not to
    /// wait for them.
    pub fn close(self: &Arc<Self>) -> Vec<JoinHandle<()>> {
        self.closed.cancel();
        self.pool.close();
        self.deletes.close();
        let deletes = self.deletes.clone();
        vec![tokio::spawn(async move { deletes.wait().await })]
    }

    /// Ends the processes of a stdio server, and waits for them.
    pub async fn stop_processes(&self) {
        self.endpoint.stop().await;
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.server.timeout_ms)
    }
}
