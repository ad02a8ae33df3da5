//! The client against a small real server, which loses sessions and fails on request.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{Client, Reply};
use crate::traffic::{LoadProfile, Traffic, spread};

/// What the server does with one request instead of answering it.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// It forgets all sessions, as a revision whose traffic was cut, and then answers 404.
    LoseSessions,
    Status(u16),
    /// It closes the connection in the middle of the answer.
    CutConnection,
    ToolError,
}

#[derive(Default)]
struct Behavior {
    /// The faults of the next requests of a method, in order.
    faults: BTreeMap<&'static str, VecDeque<Fault>>,
    sessions: BTreeSet<String>,
    opened: u32,
    /// `method session` of every request, with `-` for none.
    log: Vec<String>,
}

struct Server {
    url: String,
    behavior: Arc<Mutex<Behavior>>,
}

impl Server {
    async fn start(faults: &[(&'static str, &[Fault])]) -> Self {
        let faults = faults.iter().map(|(method, faults)| (*method, faults.iter().copied()));
        let faults = faults.map(|(method, faults)| (method, faults.collect())).collect();
        let behavior = Arc::new(Mutex::new(Behavior { faults, ..Behavior::default() }));
        let app = Router::new()
            .route("/mcp", post(answer_post).delete(answer_delete))
            .with_state(behavior.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, behavior }
    }

    fn log(&self) -> Vec<String> {
        self.behavior.lock().unwrap().log.clone()
    }

    fn lose_sessions(&self) {
        self.behavior.lock().unwrap().sessions.clear();
    }
}

type Shared = State<Arc<Mutex<Behavior>>>;

async fn answer_post(State(behavior): Shared, headers: HeaderMap, body: Bytes) -> Response {
    let message: Value = serde_json::from_slice(&body).unwrap();
    let method = message["method"].as_str().unwrap();
    behavior.lock().unwrap().answer(method, &message["id"], session_of(&headers))
}

async fn answer_delete(State(behavior): Shared, headers: HeaderMap) -> Response {
    behavior.lock().unwrap().answer("DELETE", &Value::Null, session_of(&headers))
}

fn session_of(headers: &HeaderMap) -> Option<String> {
    Some(headers.get("mcp-session-id")?.to_str().unwrap().to_owned())
}

impl Behavior {
    fn answer(&mut self, method: &str, id: &Value, session: Option<String>) -> Response {
        self.log.push(format!("{method} {}", session.as_deref().unwrap_or("-")));
        let mut tool_error = false;
        match self.faults.get_mut(method).and_then(VecDeque::pop_front) {
            Some(Fault::LoseSessions) => {
                self.sessions.clear();
                return StatusCode::NOT_FOUND.into_response();
            }
            Some(Fault::Status(code)) => {
                return StatusCode::from_u16(code).unwrap().into_response();
            }
            Some(Fault::CutConnection) => {
                let cut = futures::stream::iter([Err::<Bytes, _>(std::io::Error::other("cut"))]);
                return Response::new(Body::from_stream(cut));
            }
            Some(Fault::ToolError) => tool_error = true,
            None => {}
        }
        if method == "initialize" {
            self.opened += 1;
            let name = format!("s{}", self.opened);
            self.sessions.insert(name.clone());
            let headers = [("mcp-session-id", name), ("mcp-hub-revision", "0a1b2c3d".to_owned())];
            return (headers, result(id, &json!({}))).into_response();
        }
        if session.is_none_or(|session| !self.sessions.contains(&session)) {
            return StatusCode::NOT_FOUND.into_response();
        }
        match method {
            "notifications/initialized" => StatusCode::ACCEPTED.into_response(),
            "tools/list" => result(id, &json!({"tools": [{"name": "echo"}]})).into_response(),
            _ => result(id, &json!({"content": [], "isError": tool_error})).into_response(),
        }
    }
}

fn result(id: &Value, result: &Value) -> axum::Json<Value> {
    axum::Json(json!({"jsonrpc": "2.0", "id": id, "result": result}))
}

async fn call(client: &mut Client) -> Reply {
    client.call("echo", &json!({"message": "hello"})).await
}

fn reason(reply: Reply) -> String {
    match reply {
        Reply::Failed(why) => why,
        reply => panic!("{reply:?} is no failure"),
    }
}

const LOST: &[Fault] = &[Fault::LoseSessions];
const LOST_TWICE: &[Fault] = &[Fault::LoseSessions, Fault::LoseSessions];

#[tokio::test]
async fn a_session_that_serves_all_requests_is_opened_once() {
    let server = Server::start(&[]).await;
    let mut client = Client::new(&server.url);
    assert_eq!(client.initialize().await, Reply::Ok);
    assert_eq!(call(&mut client).await, Reply::Ok);
    assert_eq!(client.tools().await.unwrap(), ["echo"]);
    assert_eq!(client.end().await, Reply::Ok);
    assert_eq!(client.reinitializations(), 0);
    assert_eq!(
        server.log(),
        [
            "initialize -",
            "notifications/initialized s1",
            "tools/call s1",
            "tools/list s1",
            "DELETE s1"
        ]
    );
}

// A rollback that cuts a canary in the middle of a handshake failed a run of the system tests.
#[tokio::test]
async fn a_session_that_is_lost_before_its_initialized_notification_is_opened_again() {
    let server = Server::start(&[("notifications/initialized", LOST)]).await;
    let mut client = Client::new(&server.url);
    assert_eq!(client.initialize().await, Reply::Ok);
    assert_eq!((client.reinitializations(), client.session()), (1, Some("s2")));
    assert_eq!(
        server.log(),
        [
            "initialize -",
            "notifications/initialized s1",
            "initialize -",
            "notifications/initialized s2"
        ]
    );
}

#[tokio::test]
async fn an_initialize_that_gets_404_is_sent_once_more() {
    let server = Server::start(&[("initialize", LOST)]).await;
    let mut client = Client::new(&server.url);
    assert_eq!(client.initialize().await, Reply::Ok);
    assert_eq!(client.reinitializations(), 1);
}

#[tokio::test]
async fn a_call_or_list_in_a_lost_session_is_sent_again_in_a_new_one() {
    let server = Server::start(&[]).await;
    let mut client = Client::new(&server.url);
    assert_eq!(client.initialize().await, Reply::Ok);
    server.lose_sessions();
    assert_eq!(call(&mut client).await, Reply::Ok);
    server.lose_sessions();
    assert_eq!(client.tools().await.unwrap(), ["echo"]);
    assert_eq!(client.reinitializations(), 2);
    assert_eq!(
        server.log()[2..],
        [
            "tools/call s1",
            "initialize -",
            "notifications/initialized s2",
            "tools/call s2",
            "tools/list s2",
            "initialize -",
            "notifications/initialized s3",
            "tools/list s3",
        ]
    );
}

// The contract allows one new initialize for a request. A hub that needs two has failed the client.
#[tokio::test]
async fn a_request_that_loses_its_session_twice_has_failed() {
    for method in ["initialize", "notifications/initialized"] {
        let server = Server::start(&[(method, LOST_TWICE)]).await;
        let mut client = Client::new(&server.url);
        let why = reason(client.initialize().await);
        assert_eq!(why, "initialize: 404 again after a new initialize", "{method}");
        assert_eq!(client.reinitializations(), 1, "{method}");
    }
    let server = Server::start(&[("tools/call", LOST_TWICE), ("tools/list", LOST_TWICE)]).await;
    let mut client = Client::new(&server.url);
    assert_eq!(client.initialize().await, Reply::Ok);
    assert_eq!(reason(call(&mut client).await), "echo: 404 again after a new initialize");
    assert_eq!(client.tools().await.unwrap_err(), "tools/list: 404 again after a new initialize");
}

#[tokio::test]
async fn a_call_whose_new_session_is_lost_in_the_handshake_has_failed() {
    let server = Server::start(&[]).await;
    let mut client = Client::new(&server.url);
    assert_eq!(client.initialize().await, Reply::Ok);
    server.lose_sessions();
    server
        .behavior
        .lock()
        .unwrap()
        .faults
        .insert("notifications/initialized", LOST.to_vec().into());
    assert_eq!(reason(call(&mut client).await), "echo: 404 again after a new initialize");
    assert_eq!(client.reinitializations(), 1);
}

#[tokio::test]
async fn an_http_error_fails_a_request_without_a_new_initialize() {
    for code in [400, 429, 500, 502, 503] {
        for method in ["initialize", "notifications/initialized"] {
            let server = Server::start(&[(method, &[Fault::Status(code)])]).await;
            let mut client = Client::new(&server.url);
            assert!(reason(client.initialize().await).contains(&code.to_string()), "{method}");
            assert_eq!(client.reinitializations(), 0, "{method} {code}");
        }
        let server = Server::start(&[("tools/call", &[Fault::Status(code)])]).await;
        let mut client = Client::new(&server.url);
        assert_eq!(client.initialize().await, Reply::Ok);
        assert!(reason(call(&mut client).await).contains(&code.to_string()));
        assert_eq!(client.reinitializations(), 0, "{code}");
    }
}

#[tokio::test]
async fn a_connection_that_is_refused_or_cut_fails_the_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    drop(listener);
    reason(Client::new(&url).initialize().await);

    let server = Server::start(&[("tools/call", &[Fault::CutConnection])]).await;
    let mut client = Client::new(&server.url);
    assert_eq!(client.initialize().await, Reply::Ok);
    reason(call(&mut client).await);
    assert_eq!(client.reinitializations(), 0);
}

#[tokio::test]
async fn an_error_of_the_tool_is_not_a_failure_of_the_hub() {
    let server = Server::start(&[("tools/call", &[Fault::ToolError])]).await;
    let mut client = Client::new(&server.url);
    assert_eq!(client.initialize().await, Reply::Ok);
    assert_eq!(call(&mut client).await, Reply::ToolError);
}

#[tokio::test]
async fn a_session_that_the_server_has_lost_can_be_ended() {
    let server = Server::start(&[]).await;
    let mut client = Client::new(&server.url);
    assert_eq!(client.initialize().await, Reply::Ok);
    server.lose_sessions();
    assert_eq!((client.end().await, client.session()), (Reply::Ok, None));
}

#[tokio::test]
async fn the_tally_counts_reinitializations_apart_from_failures() {
    let faults: &[(&str, &[Fault])] = &[
        ("notifications/initialized", LOST),
        ("tools/call", &[Fault::LoseSessions, Fault::Status(500), Fault::ToolError]),
    ];
    let server = Server::start(faults).await;
    let tally = spread(&server.url, 3, 1, "echo").await;
    assert_eq!((tally.sent, tally.failed, tally.tool_errors), (9, 1, 1), "{tally:?}");
    assert_eq!((tally.reinitialized, tally.moved), (2, 0), "{tally:?}");
    // The first client opened a session, lost it, opened another, lost that in its call, and opened
    // a third. The one that was lost in the handshake never served and is not counted.
    assert_eq!(tally.sessions, [("0a1b2c3d".to_owned(), 4)].into(), "{tally:?}");
    assert!(tally.summary().contains("1 failed, 2 needed a new initialize"), "{}", tally.summary());
}

#[tokio::test]
async fn background_traffic_goes_on_after_sessions_are_lost_and_reports_them() {
    let server = Server::start(&[]).await;
    let profile = LoadProfile {
        clients: 2,
        calls: vec![("echo".into(), json!({}))],
        rounds: 1000,
        pace: Duration::from_millis(1),
    };
    let traffic = Traffic::start(&server.url, &profile);
    let until = async |enough: fn(&crate::traffic::Tally) -> bool| {
        while !enough(&traffic.tally()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), async {
        until(|tally| tally.sessions.values().sum::<u64>() == 2 && tally.sent > 10).await;
        server.lose_sessions();
        until(|tally| tally.reinitialized == 2).await;
    })
    .await
    .unwrap();
    let tally = traffic.stop().await;
    assert_eq!((tally.failed, tally.reinitialized, tally.moved), (0, 2, 0), "{tally:?}");
    assert_eq!(tally.sessions.values().sum::<u64>(), 4, "{tally:?}");
}
