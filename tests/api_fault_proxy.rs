//! A proxy between the operator and the API server. It lets one write of a namespace fail, before
//! or after the write took effect, and it can cut the operator off.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::{Stream, StreamExt as _, stream};
use kube::config::Kubeconfig;
use mcphub_tests::cluster::ControlPlane;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What happens to one write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is answered with this status and does not take effect.
    Refuse(u16),
    /// It takes effect and is answered with this status.
    Lose(u16),
    /// It takes effect, and the response breaks off in the middle.
    Cut,
    /// It takes effect and is never answered.
    Hang,
}

/// The faults of the matrix, in the order in which they take turns.
pub(crate) const FAULTS: [Fault; 6] = [
    Fault::Refuse(500),
    Fault::Lose(500),
    Fault::Refuse(409),
    Fault::Lose(504),
    Fault::Refuse(429),
    Fault::Cut,
];

/// How the operator is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    Up,
    /// Nothing is answered, and watches say nothing.
    Down,
}

/// Ends with its value.
pub(crate) struct FaultProxy {
    /// What a kubeconfig names as the server.
    pub(crate) url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    server: String,
    client: reqwest::Client,
    namespaces: Mutex<BTreeMap<String, Namespace>>,
    link: watch::Sender<Link>,
    /// Raised to end all open watches.
    watches: watch::Sender<u64>,
    delay: watch::Sender<Duration>,
    hangs: watch::Sender<u64>,
}

/// The writes of one namespace.
#[derive(Default)]
struct Namespace {
    seen: u64,
    fault: Option<(u64, Fault)>,
    /// The write that the fault met.
    met: Option<String>,
}

impl FaultProxy {
    pub(crate) async fn start(plane: &ControlPlane) -> Result<Self> {
        let kubeconfig = Kubeconfig::read_from(plane.kubeconfig())?;
        let cluster = kubeconfig.clusters.first().and_then(|named| named.cluster.as_ref());
        let cluster = cluster.context("the kubeconfig has no cluster")?;
        let authority = match (&cluster.certificate_authority_data, &cluster.certificate_authority)
        {
            (Some(data), _) => BASE64_STANDARD.decode(data)?,
            (None, Some(file)) => std::fs::read(file)?,
            (None, None) => anyhow::bail!("the kubeconfig has no certificate authority"),
        };
        let client = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(&authority)?])
            .no_proxy()
            .build()?;
        let shared = Arc::new(Shared {
            server: cluster.server.clone().context("the kubeconfig has no server")?,
            client,
            namespaces: Mutex::default(),
            link: watch::Sender::new(Link::Up),
            watches: watch::Sender::new(0),
            delay: watch::Sender::new(Duration::ZERO),
            hangs: watch::Sender::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let routes = axum::Router::new().fallback(forward).with_state(shared.clone());
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, routes).await;
        });
        Ok(Self { url, shared, task })
    }

    /// Lets the n-th write of a namespace fail, counted from now on and from 1.
    pub(crate) fn fail(&self, namespace: &str, number: u64, fault: Fault) {
        let fault = Namespace { fault: Some((number, fault)), ..Namespace::default() };
        self.shared.namespaces().insert(namespace.to_owned(), fault);
    }

    /// How many writes a namespace has had, and which of them met its fault.
    pub(crate) fn writes(&self, namespace: &str) -> (u64, Option<String>) {
        let namespaces = self.shared.namespaces();
        let found = namespaces.get(namespace);
        found.map_or((0, None), |namespace| (namespace.seen, namespace.met.clone()))
    }

    /// How many writes are hanging.
    pub(crate) fn hangs(&self) -> u64 {
        *self.shared.hangs.borrow()
    }

    pub(crate) fn set(&self, link: Link) {
        self.shared.link.send_replace(link);
    }

    /// Ends all watches that are open, as a load balancer does that is restarted.
    pub(crate) fn cut_watches(&self) {
        self.shared.watches.send_modify(|number| *number += 1);
    }

    /// Lets watches report everything this much later.
    pub(crate) fn delay_watches(&self, delay: Duration) {
        self.shared.delay.send_replace(delay);
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn namespaces(&self) -> MutexGuard<'_, BTreeMap<String, Namespace>> {
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fault of this request, if it is the write that has one.
    fn fault(&self, method: &Method, uri: &Uri) -> Option<Fault> {
        let dry = uri.query().is_some_and(|query| query.contains("dryRun"));
        if *method == Method::GET || dry {
            return None;
        }
        let namespace = uri.path().split_once("/namespaces/")?.1.split('/').next()?;
        let mut namespaces = self.namespaces();
        let namespace = namespaces.entry(namespace.to_owned()).or_default();
        namespace.seen += 1;
        let (number, fault) = namespace.fault?;
        (number == namespace.seen).then(|| {
            namespace.met = Some(format!("{method} {}", uri.path()));
            fault
        })
    }
}

async fn forward(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    connected(&shared).await;
    let fault = shared.fault(request.method(), request.uri());
    if let Some(Fault::Refuse(status)) = fault {
        return failure(status);
    }
    let response = match pass(&shared, request).await {
        Ok(response) => response,
        Err(error) => {
            eprintln!("fault proxy: {error:#}");
            return failure(502);
        }
    };
    match fault {
        Some(Fault::Lose(status)) => failure(status),
        Some(Fault::Cut) => {
            let error = std::io::Error::other("the connection was cut");
            let body = stream::iter([Ok(Bytes::from_static(b"{")), Err(error)]);
            Response::new(Body::from_stream(body))
        }
        Some(Fault::Hang) => {
            shared.hangs.send_modify(|number| *number += 1);
            std::future::pending().await
        }
        Some(Fault::Refuse(_)) | None => response,
    }
}

/// Waits until the link is up.
async fn connected(shared: &Shared) {
    // The sender is in `shared`, so the channel is open.
    let _ = shared.link.subscribe().wait_for(|link| *link == Link::Up).await;
}

async fn pass(shared: &Arc<Shared>, request: Request) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let watches = path.contains("watch=true");
    let mut headers = parts.headers;
    without_connection(&mut headers);
    let body = axum::body::to_bytes(body, 8 << 20).await?;
    let url = format!("{}{path}", shared.server);
    let response =
        shared.client.request(parts.method, url).headers(headers).body(body).send().await?;
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = response.status();
    *answer.headers_mut() = response.headers().clone();
    without_connection(answer.headers_mut());
    let chunks = response.bytes_stream();
    *answer.body_mut() = if watches {
        Body::from_stream(watched(shared.clone(), chunks))
    } else {
        Body::from_stream(chunks)
    };
    Ok(answer)
}

/// A watch, which stalls while the link is down and ends when watches are cut.
fn watched(
    shared: Arc<Shared>,
    chunks: impl Stream<Item = reqwest::Result<Bytes>> + Send + 'static,
) -> impl Stream<Item = reqwest::Result<Bytes>> + Send {
    let mut cut = shared.watches.subscribe();
    let late = chunks.then(move |chunk| {
        let shared = shared.clone();
        async move {
            connected(&shared).await;
            let delay = *shared.delay.borrow();
            tokio::time::sleep(delay).await;
            chunk
        }
    });
    late.take_until(async move { cut.changed().await })
}

fn without_connection(headers: &mut HeaderMap) {
    for name in
        [header::HOST, header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING]
    {
        headers.remove(name);
    }
}

/// A Status as the API server sends it.
fn failure(code: u16) -> Response {
    let reason = match code {
        409 => "Conflict",
        429 => "TooManyRequests",
        504 => "Timeout",
        _ => "InternalError",
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "a fault of this test", "reason": reason, "code": code,
    });
    let mut response = Response::new(Body::from(status.to_string()));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_GATEWAY);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    if code == 429 {
        headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    }
    response
}
