//! The bounds of a port, with real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail the test")]

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::get;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mcphub_hub_listen::{ConnectionMetrics, Limits};
use prometheus::{Registry, TextEncoder};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// Nothing takes longer than this, unless there is a bug.
const PATIENCE: Duration = Duration::from_mins(1);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

struct TestPort {
    address: SocketAddr,
    registry: Registry,
    stop: CancellationToken,
    served: tokio::task::JoinHandle<bool>,
}

/// So short that a test need not wait, where the others are so long that they do not matter.
const SHORT: Duration = Duration::from_millis(200);

fn limits() -> Limits {
    Limits {
        connections: 100,
        head_timeout: PATIENCE,
        idle_timeout: PATIENCE,
        crowded_idle_timeout: PATIENCE,
        close_timeout: PATIENCE,
    }
}

impl TestPort {
    async fn start(limits: Limits) -> Self {
        let endless = async || {
            let first = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from("first"))]);
            Body::from_stream(futures::StreamExt::chain(first, futures::stream::pending()))
        };
        let router =
            Router::new().route("/", get(async || "hello")).route("/endless", get(endless));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (registry, stop) = (Registry::new(), CancellationToken::new());
        let served = tokio::spawn(mcphub_hub_listen::serve(
            listener,
            mcphub_hub_listen::router(router),
            limits,
            ConnectionMetrics::register(&registry, "test").unwrap(),
            stop.clone().cancelled_owned(),
        ));
        Self { address, registry, stop, served }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    fn limited(&self, reason: &str) -> f64 {
        let text = TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap();
        let series = format!("test_connections_limited_total{{reason=\"{reason}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&series)).unwrap().parse().unwrap()
    }
}

async fn send(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
}

/// Reads until the text has arrived.
async fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut all = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&all).contains(text) {
            let mut buffer = [0; 1024];
            let read = stream.read(&mut buffer).await.unwrap();
            assert!(read > 0, "closed after {}", String::from_utf8_lossy(&all));
            all.extend_from_slice(&buffer[..read]);
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("the text arrives");
    String::from_utf8(all).unwrap()
}

/// Reads to the end of the connection, however it ends.
async fn is_closed(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    let _either = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest))
        .await
        .expect("the connection is closed");
}

#[tokio::test]
async fn a_connection_whose_request_head_does_not_end_is_closed_and_counted() {
    let port = TestPort::start(Limits { head_timeout: SHORT, ..limits() }).await;
    let mut slow = port.connect().await;
    send(&mut slow, b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ").await;
    is_closed(&mut slow).await;
    let mut second = port.connect().await;
    send(&mut second, REQUEST).await;
    read_until(&mut second, "hello").await;
    send(&mut second, b"GET / HTT").await;
    is_closed(&mut second).await;
    assert!((port.limited("slow_head") - 2.0).abs() < f64::EPSILON);
}

// Clients keep connections for the next request. If the head timeout closed them, a request that is
// on its way would be lost.
#[tokio::test]
async fn a_connection_between_two_requests_has_the_idle_timeout_and_not_the_head_timeout() {
    let port = TestPort::start(Limits { head_timeout: SHORT, ..limits() }).await;
    let (mut used, mut silent) = (port.connect().await, port.connect().await);
    send(&mut used, REQUEST).await;
    read_until(&mut used, "hello").await;
    is_closed(&mut silent).await; // it has sent no request at all
    send(&mut used, REQUEST).await;
    read_until(&mut used, "hello").await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_counted_and_one_with_an_open_response_is_not() {
    let port = TestPort::start(Limits { idle_timeout: SHORT, ..limits() }).await;
    let (mut idle, mut streaming) = (port.connect().await, port.connect().await);
    send(&mut streaming, b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    read_until(&mut streaming, "first").await;
    send(&mut idle, REQUEST).await;
    read_until(&mut idle, "hello").await;
    is_closed(&mut idle).await;
    assert!((port.limited("idle") - 1.0).abs() < f64::EPSILON);
    let mut byte = [0];
    assert!(streaming.try_read(&mut byte).is_err(), "nothing to read, and not closed");
}

// HTTP/2 frames that belong to no request keep no connection.
#[tokio::test]
async fn an_idle_http2_connection_is_closed() {
    let port = TestPort::start(Limits { idle_timeout: SHORT, ..limits() }).await;
    let io = TokioIo::new(port.connect().await);
    let mut client = http2::Builder::new(TokioExecutor::new());
    client.timer(hyper_util::rt::TokioTimer::new());
    client.keep_alive_interval(Duration::from_millis(20)).keep_alive_while_idle(true);
    let (mut requests, connection) = client.handshake(io).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get("http://localhost/").body(Empty::<Bytes>::new()).unwrap();
    let response = requests.send_request(request).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
    let ended = tokio::time::timeout(PATIENCE, connection).await;
    ended.expect("the server closes it").unwrap().ok();
    assert!((port.limited("idle") - 1.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn a_request_head_that_is_too_long_is_refused() {
    let port = TestPort::start(limits()).await;
    let mut stream = port.connect().await;
    let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: {}", "a".repeat(100 << 10));
    stream.write_all(long.as_bytes()).await.ok();
    let mut text = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut text)).await.unwrap().ok();
    let text = String::from_utf8_lossy(&text);
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 431"), "{text}");
}

// Otherwise idle connections keep out the probes of the kubelet, and the pod restarts.
#[tokio::test]
async fn at_the_bound_idle_and_slow_connections_are_closed_sooner_for_one_that_waits() {
    let bounds = Limits { connections: 8, crowded_idle_timeout: SHORT, ..limits() };
    let port = TestPort::start(bounds).await;
    let mut others = Vec::new();
    for _ in 0..4 {
        let (mut idle, mut slow) = (port.connect().await, port.connect().await);
        send(&mut idle, REQUEST).await;
        read_until(&mut idle, "hello").await;
        send(&mut slow, b"GET / HTT").await;
        others.extend([idle, slow]);
    }
    let mut further = port.connect().await;
    send(&mut further, REQUEST).await;
    read_until(&mut further, "hello").await;
    assert!(port.limited("full") > 0.0);
}

#[tokio::test]
async fn a_port_that_stops_closes_idle_connections_and_waits_for_responses() {
    let port = TestPort::start(limits()).await;
    let (mut idle, mut streaming) = (port.connect().await, port.connect().await);
    send(&mut idle, REQUEST).await;
    read_until(&mut idle, "hello").await;
    send(&mut streaming, b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    read_until(&mut streaming, "first").await;
    port.stop.cancel();
    is_closed(&mut idle).await;
    assert!(!port.served.is_finished(), "a response is not complete");
    drop(streaming);
    assert!(tokio::time::timeout(PATIENCE, port.served).await.unwrap().unwrap());
}
