//! One upstream server: its sessions, its list of tools, and calls to it.
//!
//! [`refresh`] keeps list and state fresh in the background, so that a bad, slow or hung server delays nobody
//! but those who call it.

mod endpoint;
mod error;
mod exchange;
mod link;
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
use mcphub_hub_protocol::{mcp_headers, rewrite};
use mcphub_hub_wire::config::{ConnectionPool, HubConfig, Isolation, Server};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::endpoint::Endpoint;
pub use self::error::Error;
pub use self::exchange::{Event, Exchange};
use self::link::Link;
pub use self::pool::Key;
use self::pool::{Pool, Session};

/// A configured server that is not disabled.
#[derive(Debug)]
pub struct Upstream {
    /// As configured.
    pub server: Server,
    pool_config: ConnectionPool,
    endpoint: Endpoint,
    pool: Pool,
    state: ArcSwap<State>,
    next_id: AtomicU64,
    /// The list may have changed, or the server may be gone: look at once.
    nudge: Notify,
    starting_until: Instant,
    closed: CancellationToken,
}

/// What is known of a server.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// How it stands with it.
    pub status: Status,
    /// Its tools when it last listed them; stays when it is gone.
    pub list: Option<Arc<ServerList>>,
    /// What it said of itself to models when it last listed its tools.
    pub instructions: Option<Arc<str>>,
}

/// How it stands with a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Not reached yet, and why; empty before the first try.
    Starting(String),
    /// Its list was read.
    Connected,
    /// Why its list could not be read.
    Down(String),
}

impl Default for Status {
    fn default() -> Self {
        Self::Starting(String::new())
    }
}

impl Status {
    /// Not reached yet, but nothing says that it will not be.
    pub fn is_starting(&self) -> bool {
        matches!(self, Self::Starting(_))
    }
}

/// A call as the hub got it.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The tool that was found.
    pub tool: &'a Tool,
    /// Its parameters as they came.
    pub params: &'a Params<'a>,
    /// The caller wants to hear of progress.
    pub progress: bool,
}

/// Whose call it is.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    /// Hash of who calls.
    pub principal: [u8; 32],
    /// The downstream session, where there is one.
    pub session: Option<[u8; 16]>,
}

impl Upstream {
    /// Starts to keep the server's list; `changed` is told whenever the state is another one.
    pub fn start(
        server: Server,
        config: &HubConfig,
        base: Key,
        changed: Arc<Notify>,
    ) -> Result<Arc<Self>, Error> {
        let pool_config = config.connection_pool.clone();
        let upstream = Arc::new(Self {
            starting_until: Instant::now() + Duration::from_millis(config.startup_timeout_ms),
            endpoint: Endpoint::of(&server, &pool_config)?,
            pool: Pool::of(server.max_sessions),
            state: ArcSwap::default(),
            next_id: AtomicU64::new(1),
            nudge: Notify::new(),
            closed: CancellationToken::new(),
            server,
            pool_config,
        });
        tokio::spawn(refresh::run(Arc::clone(&upstream), base, changed));
        Ok(upstream)
    }

    /// Whether this is what the config asks for, so that it can stay when the config is read again.
    pub fn is_for(&self, server: &Server, pool: &ConnectionPool) -> bool {
        self.server == *server && self.pool_config == *pool
    }

    /// What is known now.
    pub fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// Whose calls share a session.
    pub fn key(&self, caller: Caller) -> Key {
        match (self.server.isolation, caller.session) {
            (Isolation::Shared, _) => Key::Pod,
            (Isolation::PerSession, Some(session)) => Key::Session(session),
            (Isolation::PerSession | Isolation::PerPrincipal, _) => {
                Key::Principal(caller.principal)
            }
        }
    }

    /// Sends a call. The answer's head is there when this returns.
    pub async fn call(self: &Arc<Self>, caller: Caller, call: Call<'_>) -> Result<Exchange, Error> {
        let key = self.key(caller);
        let timeout = Duration::from_millis(call.tool.timeout_ms);
        let deadline = Instant::now() + timeout;
        let outcome =
            tokio::time::timeout_at(deadline, self.call_in_session(&key, call, deadline)).await;
        let outcome = outcome.unwrap_or(Err(Error::TimedOut(timeout)));
        if let Err(Error::NotConnected(_) | Error::Cut(_) | Error::Http(_)) = &outcome {
            self.nudge.notify_one();
        }
        outcome
    }

    async fn call_in_session(
        self: &Arc<Self>,
        key: &Key,
        call: Call<'_>,
        deadline: Instant,
    ) -> Result<Exchange, Error> {
        let (session, link) = self.session(key).await?;
        match self.send_call(&link, call, deadline).await {
            // It refused the call for its session, so it has not run it: once more is safe.
            Err(Error::SessionGone(_)) => {
                self.pool.forget(key, &session);
                let (_, link) = self.session(key).await?;
                self.send_call(&link, call, deadline).await
            }
            other => other,
        }
    }

    async fn send_call(
        self: &Arc<Self>,
        link: &Link,
        call: Call<'_>,
        deadline: Instant,
    ) -> Result<Exchange, Error> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let params = rewrite::call_params(
            call.params,
            &call.tool.own,
            link.hop(call.progress.then_some(id)),
        );
        let mut headers = link.request_headers("tools/call", Some(&call.tool.own));
        if link.modern {
            headers.extend(call.tool.param_headers().iter().filter_map(|mirrored| {
                let value = mcp_headers::encode(&mcp_headers::argument_value(
                    mirrored,
                    call.params.arguments,
                )?);
                Some((
                    mirrored.header.parse::<HeaderName>().ok()?,
                    HeaderValue::from_str(&value).ok()?,
                ))
            }));
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
            Ok(mut answer) => {
                if link::says_gone(link, &mut answer, &id.to_string()).await? {
                    exchange.over();
                    return Err(Error::SessionGone(answer.status));
                }
                exchange.answered(answer);
                Ok(exchange)
            }
            Err(error) => {
                if matches!(error, Error::NotConnected(_)) {
                    exchange.over();
                }
                Err(error)
            }
        }
    }

    /// The open session of a key.
    async fn session(&self, key: &Key) -> Result<(Arc<Session>, Link), Error> {
        let session = self.pool.session(key)?;
        let open = || link::open(&self.endpoint, self.server.transport, self.timeout());
        match session.link.get_or_try_init(open).await {
            Ok(link) => {
                let link = link.clone();
                Ok((session, link))
            }
            Err(error) => {
                self.pool.forget(key, &session);
                Err(error)
            }
        }
    }

    /// Ends what belongs to a downstream session that is over.
    pub fn end_session(self: &Arc<Self>, session: [u8; 16]) {
        let ended = self.pool.take(&Key::Session(session));
        drop(self.delete(ended.as_slice()));
    }

    /// Ends all: the server is not configured any more, or the hub stops. The tasks tell the server, and may be
    /// left alone.
    pub fn close(self: &Arc<Self>) -> Vec<JoinHandle<()>> {
        self.closed.cancel();
        self.delete(&self.pool.take_all())
    }

    fn delete(self: &Arc<Self>, sessions: &[Arc<Session>]) -> Vec<JoinHandle<()>> {
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
