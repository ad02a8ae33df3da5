//! Chooses a pod for a request, and passes bytes both ways. The router does not read bodies.

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
use mcphub_hub_routing::decision::{self, Decision, Draw, GoneReason, UnavailableReason};
use mcphub_hub_routing::session_id::{self, SessionClaims};
use mcphub_hub_wire::dataplane::Revision;
use mcphub_hub_wire::keys::KeyRing;
use tokio::sync::{Semaphore, watch};

use super::in_flight::{Permit, PodBody, RequestInFlight};
use super::metrics::{Metrics, RejectReason, RouterOutcome};
use super::pods::Upstream;
use super::request_body::RequestBody;
use super::responses;
use super::table::{LiveRevision, Table};

/// Requests and streams in flight. More of them get a 503, counted as
/// `mcp_router_rejected_total{reason="too_many"}`.
const MAX_CONCURRENT: usize = 16_384;
/// A pod that takes no connection within this time counts as unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How often TCP keepalive probes an idle connection, to notice a lost node.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// Shorter than any server keeps an idle connection. A server that closes an idle connection while
/// a request is on its way loses the request.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// How many times the router tries to reach a pod for one request.
const MAX_ATTEMPTS: usize = 3;
/// The wait before a session's only pod is tried again. One lost SYN must not end the session.
const SESSION_RETRY_DELAY: Duration = Duration::from_millis(100);

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const REVISION: HeaderName = HeaderName::from_static("mcp-hub-revision");
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The hop-by-hop headers of RFC 9110, 7.6.1, and those that older proxies send.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The body of the router's own response, or of a pod's.
pub(super) type ResponseBody = Either<Full<Bytes>, PodBody>;

pub(super) struct Forwarder {
    table: Arc<ArcSwap<Table>>,
    keys: watch::Receiver<Arc<KeyRing>>,
    metrics: Arc<Metrics>,
    permits: Arc<Semaphore>,
    client: Client<HttpConnector, RequestBody>,
}

/// A request that has not reached a pod yet.
struct ClientRequest {
    head: Parts,
    body: RequestBody,
    session: Option<SessionClaims>,
    affinity: Option<Vec<u8>>,
    started: Instant,
    permit: Permit,
}

/// Why the router rejects a request.
struct Rejection {
    reason: RejectReason,
    /// The revision whose pods took no connection, if that is why.
    unreachable: Option<Arc<LiveRevision>>,
}

impl Forwarder {
    pub(super) fn new(
        table: Arc<ArcSwap<Table>>,
        keys: watch::Receiver<Arc<KeyRing>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let mut connector = HttpConnector::new();
        // Without TCP_NODELAY, a stateful SSE response takes 44 ms longer (delayed ACK).
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        // A lost node closes no connection. Without keepalive, requests to its pods would hang
        // for the kernel's default of 15 minutes.
        connector.set_keepalive(Some(KEEPALIVE_INTERVAL));
        connector.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
        connector.set_keepalive_retries(Some(2));
        connector.set_tcp_user_timeout(Some(KEEPALIVE_INTERVAL * 3));
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Self { table, keys, metrics, permits: Arc::new(Semaphore::new(MAX_CONCURRENT)), client }
    }

    /// Responds to the request: with the response of a pod, or with an error.
    pub(super) async fn respond(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Result<Response<ResponseBody>, Infallible> {
        let response = self.forward(request, peer).await.unwrap_or_else(|rejection| {
            let unreachable = rejection.unreachable.as_deref().map(|live| &live.metrics);
            self.metrics.reject(rejection.reason, unreachable);
            responses::rejected(rejection.reason).map(Either::Left)
        });
        Ok(response)
    }

    async fn forward(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Result<Response<ResponseBody>, Rejection> {
        let started = Instant::now();
        let permit =
            Arc::clone(&self.permits).try_acquire_owned().map_err(|_| RejectReason::TooMany)?;
        let permit = Permit::new(permit, self.metrics.in_flight.clone());
        let (mut head, body) = request.into_parts();
        let session = self.session(&head.headers)?;
        let affinity = affinity(&head);
        prepare_head(&mut head, peer.ip());
        let body = RequestBody::new(body);
        self.send(ClientRequest { head, body, session, affinity, started, permit }).await
    }

    /// The session of the request. A request of the stateless protocol has none, whatever its
    /// headers say.
    fn session(&self, headers: &HeaderMap) -> Result<Option<SessionClaims>, RejectReason> {
        let Some(id) = headers.get(SESSION_ID) else { return Ok(None) };
        let keys = Arc::clone(&self.keys.borrow());
        let opened = id
            .to_str()
            .map_err(|_| session_id::Error::Malformed)
            .and_then(|id| session_id::open(&keys, id));
        match opened {
            Ok(claims) => Ok(Some(claims)),
            Err(_) if is_stateless(headers) => Ok(None),
            Err(error) => {
                tracing::debug!(%error, "unknown session");
                Err(RejectReason::UnknownSession)
            }
        }
    }

    /// Chooses a pod and sends the request there, and tries other pods while none was reached.
    async fn send(&self, mut request: ClientRequest) -> Result<Response<ResponseBody>, Rejection> {
        let draw = Draw { revision: rand::random(), pod: rand::random() };
        let mut unreachable = Vec::new();
        let mut blamed = None; // the revision whose pods took no connection
        for attempt in 1..=MAX_ATTEMPTS {
            let table = self.table.load_full();
            let decision_input = match &request.session {
                Some(claims) => decision::Request::Session(claims),
                None => decision::Request::New { affinity: request.affinity.as_deref() },
            };
            let reason = match decision::decide(
                &table.dataplane,
                &table.pods,
                decision_input,
                draw,
                &unreachable,
            ) {
                Decision::Forward { revision, pod, failover } => {
                    let Some(live) = table.live.get(revision) else {
                        return Err(RejectReason::NoPod.into());
                    };
                    match self.send_to(pod, revision, Arc::clone(live), request).await {
                        Ok(response) => {
                            self.metrics.failovers.inc_by(failover.into());
                            return Ok(response);
                        }
                        Err(unsent) => request = unsent,
                    }
                    // A terminating pod is expected to go, so its revision gets no error.
                    blamed = pod.ready.then(|| Arc::clone(live));
                    if request.session.is_some() && attempt == 1 {
                        tokio::time::sleep(SESSION_RETRY_DELAY).await;
                    } else {
                        unreachable.push(pod.name.clone());
                    }
                    continue;
                }
                Decision::SessionGone(gone) => gone.into(),
                Decision::Unavailable(why) => why.into(),
            };
            return Err(Rejection { reason, unreachable: blamed });
        }
        Err(Rejection { reason: RejectReason::NoPod, unreachable: blamed })
    }

    /// Sends the request to this pod. Gives the request back if it never reached the pod.
    async fn send_to(
        &self,
        pod: &Upstream,
        revision: &Revision,
        live: Arc<LiveRevision>,
        request: ClientRequest,
    ) -> Result<Response<ResponseBody>, ClientRequest> {
        let (load, method) = (Arc::clone(&pod.in_flight), &request.head.method);
        let mut in_flight = RequestInFlight::new(live, load, request.started, method);
        let abort = in_flight.live().abort.clone();
        let Some(outgoing) = outgoing_request(&request, pod) else {
            in_flight.end(RouterOutcome::CallerError);
            return Ok(responses::status_only(StatusCode::BAD_REQUEST).map(Either::Left));
        };
        let result = tokio::select! {
            result = self.client.request(outgoing) => result,
            () = abort.cancelled() => {
                in_flight.end(RouterOutcome::HubError);
                return Ok(aborted_response(&request).map(Either::Left));
            }
        };
        match result {
            Ok(response) => Ok(client_response(response, revision, request, in_flight)),
            Err(error) if error.is_connect() && !request.body.was_read() => {
                let error = &error as &dyn Error;
                tracing::debug!(%revision, pod = pod.name, error, "failed to connect to the pod");
                in_flight.connect_failed();
                Err(request)
            }
            Err(error) => {
                let error = &error as &dyn Error;
                tracing::warn!(%revision, pod = pod.name, error, "pod did not respond");
                in_flight.end(RouterOutcome::HubError);
                Ok(responses::bad_gateway("the hub did not respond").map(Either::Left))
            }
        }
    }
}

/// A client whose session is gone initializes again by itself, so a session gets that error.
/// A client without a session can only report the error.
fn aborted_response(request: &ClientRequest) -> Response<Full<Bytes>> {
    match request.session {
        Some(_) => responses::rejected(RejectReason::RevisionFailed),
        None => responses::bad_gateway("the revision that served this request was rolled back"),
    }
}

fn outgoing_request(request: &ClientRequest, pod: &Upstream) -> Option<Request<RequestBody>> {
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
        // The pod is terminating. If its connection stayed in the pool, the pod could close it
        // just as the next request is on its way.
        outgoing.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Some(outgoing)
}

fn client_response(
    response: Response<Incoming>,
    revision: &Revision,
    request: ClientRequest,
    in_flight: RequestInFlight,
) -> Response<ResponseBody> {
    let (mut head, body) = response.into_parts();
    strip_hop_by_hop(&mut head.headers);
    if let Ok(value) = HeaderValue::from_str(revision.as_str()) {
        head.headers.insert(REVISION, value);
    }
    if request.session.is_none() && head.headers.contains_key(SESSION_ID) {
        in_flight.live().metrics.sessions.inc();
    }
    head.version = Version::default();
    let body = PodBody::new(body, head.status, &head.headers, in_flight, request.permit);
    Response::from_parts(head, Either::Right(body))
}

/// Changes the head of the client's request to what the pod gets.
fn prepare_head(head: &mut Parts, peer: IpAddr) {
    strip_hop_by_hop(&mut head.headers);
    // HTTP/2 has the host only in the URI. The hub checks the Host header (DNS rebinding).
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

/// Whether the request uses a stateless protocol version. Versions are dates, and those after
/// 2025-11-25 have no sessions.
fn is_stateless(headers: &HeaderMap) -> bool {
    headers
        .get(PROTOCOL_VERSION)
        .is_some_and(|version| version.as_bytes() > b"2025-11-25".as_slice())
}

/// The key that keeps the requests of one caller on one revision. A request of a stateful protocol
/// version without a session has none, because most of these open a session: its revision is drawn
/// by weight.
fn affinity(head: &Parts) -> Option<Vec<u8>> {
    let stateless = is_stateless(&head.headers) || head.uri.path().starts_with("/api/");
    let credential = head.headers.get(header::AUTHORIZATION).or_else(|| head.headers.get(API_KEY));
    credential.filter(|_| stateless).map(|value| decision::principal(value.as_bytes()))
}

impl From<RejectReason> for Rejection {
    fn from(reason: RejectReason) -> Self {
        Self { reason, unreachable: None }
    }
}

impl From<GoneReason<'_>> for RejectReason {
    fn from(gone: GoneReason<'_>) -> Self {
        match gone {
            GoneReason::Failed(_) => Self::RevisionFailed,
            GoneReason::NotLive | GoneReason::Pod(_) => Self::PodGone,
        }
    }
}

impl From<UnavailableReason> for RejectReason {
    fn from(why: UnavailableReason) -> Self {
        match why {
            UnavailableReason::NoWeight => Self::NoWeight,
            UnavailableReason::NoPod => Self::NoPod,
        }
    }
}
