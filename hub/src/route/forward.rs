//! Takes a request, decides where it goes, and passes bytes both ways. Bodies are not read.

use std::convert::Infallible;
use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{Request, Response, StatusCode, Version};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use mcphub_hub_routing::session_id::{self, SessionClaims};
use mcphub_hub_routing::weights::{self, Decision, Draw, Gone, Unavailable};
use mcphub_hub_wire::dataplane::Revision;
use mcphub_hub_wire::keys::KeyRing;
use tokio::sync::{Semaphore, watch};

use super::answers;
use super::metrics::{Metrics, Outcome, Rejected};
use super::pods::Upstream;
use super::request_body::RequestBody;
use super::table::{Live, Table};
use super::ticket::{Answer, Place, Ticket};

/// Requests and streams under way at a time; more are 503 (`mcp_router_rejected_total{reason="too_many"}`).
pub(super) const MAX_CONCURRENT: usize = 16_384;
/// A pod that takes no connection within this time is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A quiet connection is asked this often whether its pod's node is there.
const PEER_ALIVE: Duration = Duration::from_secs(10);
/// Shorter than any server keeps an idle connection: one that closes while a request is on its way loses it.
const POOL_IDLE: Duration = Duration::from_secs(20);
/// Tries to reach a pod for one request.
const MAX_TRIES: usize = 3;
/// A session has one pod; a lost SYN must not end it.
const SESSION_RETRY: Duration = Duration::from_millis(100);

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const REVISION: HeaderName = HeaderName::from_static("mcp-hub-revision");
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// RFC 9110, 7.6.1, and what older proxies send.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What a client gets: an answer of ours, or a pod's.
pub(super) type ResponseBody = Either<Full<Bytes>, Answer>;

/// Forwards requests.
pub(super) struct Forwarder {
    table: Arc<ArcSwap<Table>>,
    keys: watch::Receiver<Arc<KeyRing>>,
    metrics: Arc<Metrics>,
    places: Arc<Semaphore>,
    client: Client<HttpConnector, RequestBody>,
}

/// A request that is not decided yet.
struct Pending {
    head: Parts,
    body: RequestBody,
    session: Option<SessionClaims>,
    affinity: Option<Vec<u8>>,
    started: Instant,
    place: Place,
}

/// A request that no pod answers.
struct Refusal {
    reason: Rejected,
    /// The revision whose pods took no connection, where that is why.
    blamed: Option<Arc<Live>>,
}

impl Forwarder {
    /// Forwards by this table.
    pub(super) fn new(
        table: Arc<ArcSwap<Table>>,
        keys: watch::Receiver<Arc<KeyRing>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let mut connector = HttpConnector::new();
        // Without it a stateful SSE answer costs 44 ms (delayed ACK).
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        // A node that is lost closes nothing: its requests and streams would hang for the kernel's 15 minutes.
        connector.set_keepalive(Some(PEER_ALIVE));
        connector.set_keepalive_interval(Some(PEER_ALIVE));
        connector.set_keepalive_retries(Some(2));
        connector.set_tcp_user_timeout(Some(PEER_ALIVE * 3));
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Self { table, keys, metrics, places: Arc::new(Semaphore::new(MAX_CONCURRENT)), client }
    }

    /// Answers the request, by a pod where one can.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Result<Response<ResponseBody>, Infallible> {
        let response = self.forwarded(request, peer).await.unwrap_or_else(|refusal| {
            self.metrics
                .reject(refusal.reason, refusal.blamed.as_deref().map(|live| &live.metrics));
            answers::rejected(refusal.reason).map(Either::Left)
        });
        Ok(response)
    }

    async fn forwarded(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let started = Instant::now();
        let permit = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Rejected::TooMany)?;
        let place = Place::new(permit, self.metrics.in_flight.clone());
        let (mut head, body) = request.into_parts();
        let session = self.session(&head.headers)?;
        let affinity = affinity(&head);
        to_pod(&mut head, peer.ip());
        let body = RequestBody::new(body);
        self.decided(Pending { head, body, session, affinity, started, place }).await
    }

    /// The session that the request says it belongs to. A modern request has none, whatever header it carries.
    fn session(&self, headers: &HeaderMap) -> Result<Option<SessionClaims>, Rejected> {
        let Some(id) = headers.get(SESSION_ID) else { return Ok(None) };
        let keys = Arc::clone(&self.keys.borrow());
        let opened = id
            .to_str()
            .map_err(|_| session_id::Error::Malformed)
            .and_then(|id| session_id::open(&keys, id));
        match opened {
            Ok(claims) => Ok(Some(claims)),
            Err(_) if is_modern(headers) => Ok(None),
            Err(error) => {
                tracing::debug!(%error, "unknown session");
                Err(Rejected::UnknownSession)
            }
        }
    }

    async fn decided(&self, mut request: Pending) -> Result<Response<ResponseBody>, Refusal> {
        let draw = Draw { revision: rand::random(), pod: rand::random() };
        let mut unreachable = Vec::new();
        let mut blamed = None;
        for attempt in 1..=MAX_TRIES {
            let table = self.table.load_full();
            let facts = match &request.session {
                Some(claims) => weights::Request::Session(claims),
                None => weights::Request::Fresh { affinity: request.affinity.as_deref() },
            };
            let reason =
                match weights::decide(&table.dataplane, &table.pods, facts, draw, &unreachable) {
                    Decision::Forward { revision, pod, failover } => {
                        let Some(live) = table.live.get(revision) else {
                            return Err(Rejected::NoPod.into());
                        };
                        match self.sent(request, revision, pod, Arc::clone(live)).await {
                            Ok(response) => {
                                self.metrics.failovers.inc_by(failover.into());
                                return Ok(response);
                            }
                            Err(unsent) => request = unsent,
                        }
                        // That a terminating pod ends its sessions in the end is no error of its revision.
                        blamed = pod.ready.then(|| Arc::clone(live));
                        if request.session.is_some() && attempt == 1 {
                            tokio::time::sleep(SESSION_RETRY).await;
                        } else {
                            unreachable.push(pod.name.clone());
                        }
                        continue;
                    }
                    Decision::SessionGone(gone) => gone.into(),
                    Decision::Unavailable(why) => why.into(),
                };
            return Err(Refusal { reason, blamed });
        }
        Err(Refusal { reason: Rejected::NoPod, blamed })
    }

    /// The pod's answer, or the request back if it never reached the pod.
    async fn sent(
        &self,
        request: Pending,
        revision: &Revision,
        pod: &Upstream,
        live: Arc<Live>,
    ) -> Result<Response<ResponseBody>, Pending> {
        let mut ticket =
            Ticket::new(live, Arc::clone(&pod.in_flight), request.started, &request.head.method);
        let cut = ticket.live().cut.clone();
        let Some(outgoing) = outgoing(&request, pod) else {
            ticket.end(Outcome::CallerError);
            return Ok(answers::bare(StatusCode::BAD_REQUEST).map(Either::Left));
        };
        let answer = tokio::select! {
            answer = self.client.request(outgoing) => answer,
            () = cut.cancelled() => {
                ticket.end(Outcome::HubError);
                return Ok(cut_short(&request).map(Either::Left));
            }
        };
        match answer {
            Ok(response) => Ok(to_client(response, revision, request, ticket)),
            Err(error) if error.is_connect() && !request.body.is_taken() => {
                tracing::debug!(%revision, pod = pod.name, error = &error as &dyn Error, "pod takes no connection");
                ticket.unreached();
                Err(request)
            }
            Err(error) => {
                tracing::warn!(%revision, pod = pod.name, error = &error as &dyn Error, "pod did not answer");
                ticket.end(Outcome::HubError);
                Ok(answers::no_answer("the hub did not answer").map(Either::Left))
            }
        }
    }
}

/// A client whose session is gone begins another one by itself; anything else it can only report.
fn cut_short(request: &Pending) -> Response<Full<Bytes>> {
    match request.session {
        Some(_) => answers::rejected(Rejected::RevisionFailed),
        None => answers::no_answer("the revision that was asked has been rolled back"),
    }
}

fn outgoing(request: &Pending, pod: &Upstream) -> Option<Request<RequestBody>> {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(pod.authority.parse::<Authority>().ok()?);
    let path = request.head.uri.path_and_query().cloned();
    parts.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    let mut outgoing = Request::new(request.body.clone());
    *outgoing.method_mut() = request.head.method.clone();
    *outgoing.uri_mut() = Uri::from_parts(parts).ok()?;
    *outgoing.version_mut() = Version::HTTP_11;
    *outgoing.headers_mut() = request.head.headers.clone();
    if !pod.ready {
        // It is leaving: a connection kept for later may close just as the next request is on its way.
        outgoing.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Some(outgoing)
}

fn to_client(
    response: Response<Incoming>,
    revision: &Revision,
    request: Pending,
    ticket: Ticket,
) -> Response<ResponseBody> {
    let (mut head, body) = response.into_parts();
    strip_hop_by_hop(&mut head.headers);
    if let Ok(value) = HeaderValue::from_str(revision.as_str()) {
        head.headers.insert(REVISION, value);
    }
    if request.session.is_none() && head.headers.contains_key(SESSION_ID) {
        ticket.live().metrics.sessions.inc();
    }
    head.version = Version::default();
    let answer = Answer::new(body, head.status, &head.headers, ticket, request.place);
    Response::from_parts(head, Either::Right(answer))
}

/// The head as the pod should see it.
fn to_pod(head: &mut Parts, peer: IpAddr) {
    strip_hop_by_hop(&mut head.headers);
    // HTTP/2 has the host in the URI only; the hub checks it (DNS rebinding).
    if !head.headers.contains_key(header::HOST)
        && let Some(host) =
            head.uri.authority().and_then(|a| HeaderValue::from_str(a.as_str()).ok())
    {
        head.headers.insert(header::HOST, host);
    }
    if let Ok(peer) = HeaderValue::from_str(&peer.to_canonical().to_string()) {
        head.headers.append(FORWARDED_FOR, peer);
    }
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Handshake revisions are dates up to 2025-11-25; later ones have no sessions.
fn is_modern(headers: &HeaderMap) -> bool {
    headers
        .get(PROTOCOL_VERSION)
        .is_some_and(|version| version.as_bytes() > b"2025-11-25".as_slice())
}

/// What keeps the requests of one caller on one revision. Legacy requests without a session have no such thing: their
/// weight is drawn, since most of them begin one.
fn affinity(head: &Parts) -> Option<Vec<u8>> {
    let stateless = is_modern(&head.headers) || head.uri.path().starts_with("/api/");
    let credential = head.headers.get(header::AUTHORIZATION).or_else(|| head.headers.get(API_KEY));
    credential.filter(|_| stateless).map(|value| weights::principal(value.as_bytes()))
}

impl From<Rejected> for Refusal {
    fn from(reason: Rejected) -> Self {
        Self { reason, blamed: None }
    }
}

impl From<Gone<'_>> for Rejected {
    fn from(gone: Gone<'_>) -> Self {
        match gone {
            Gone::Failed(_) => Self::RevisionFailed,
            Gone::NotLive | Gone::Pod(_) => Self::PodGone,
        }
    }
}

impl From<Unavailable> for Rejected {
    fn from(why: Unavailable) -> Self {
        match why {
            Unavailable::NoWeight => Self::NoWeight,
            Unavailable::NoPod => Self::NoPod,
        }
    }
}
