//! Odd but legal JSON, through hub and bridge to a server and back. Only what the hub owns may
//! change: the tool's name and the id.

use std::io::{BufRead as _, Write as _};
use std::net::SocketAddr;

use mcphub_hub::args;
use mcphub_hub::serve::{self, HubServer};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::support::{Bridge, PATIENCE};

/// How many messages are made up. Their seed is fixed.
const CASES: usize = 200;
const DEFINITION: &str = "{ \"name\" : \"raw\",\"x-big\":123456789012345678901234567890, \
                          \"inputSchema\":{\"type\":\"object\",\"x\":[1e400,-0,1E+2]},\
                          \"_meta\":{\"\\ud800\":\"\\/\"} }";

/// Answers a call with its parameters, as the bytes that came in: as a result, or as an error if
/// they ask for one. Started like `stdio_server`.
#[allow(clippy::print_stdout, reason = "a stdio server writes to stdout")]
pub fn serve_raw() {
    #[derive(Deserialize)]
    struct Message {
        id: Option<Box<RawValue>>,
        method: Option<String>,
        params: Option<Box<RawValue>>,
    }
    for line in std::io::stdin().lock().lines() {
        let message: Message = serde_json::from_str(&line.unwrap()).unwrap();
        let (Some(id), Some(method)) = (message.id, message.method) else { continue };
        let params = message.params.as_ref().map_or("{}", |params| params.get());
        let answer = match method.as_str() {
            "initialize" => r#""result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"raw","version":"1"}}"#.to_owned(),
            "tools/list" => format!(r#""result":{{"tools":[{DEFINITION}]}}"#),
            "tools/call" if params.contains("\"fail\"") => {
                format!(r#""error":{{"code":-32050,"message":"failed","data":{params}}}"#)
            }
            "tools/call" => format!(r#""result":{{"content":[],"echo":{params}}}"#),
            _ => r#""error":{"code":-32601,"message":"no"}"#.to_owned(),
        };
        println!(r#"{{"jsonrpc":"2.0","id":{id},{answer}}}"#);
        std::io::stdout().flush().unwrap();
    }
}

/// A JSON value as text. Without line ends, which the bridge replaces with spaces.
fn json_text() -> impl Strategy<Value = String> {
    let odd = [
        "1e400",
        "-1E+400",
        "1e-999",
        "-0",
        "-0.0",
        "1.0",
        "1.50",
        "1E2",
        "0.1000",
        "123456789012345678901234567890",
        "-9223372036854775809",
        "18446744073709551616",
        "true",
        "null",
        r#""\ud800""#,
        r#""\udc00\ud800""#,
        r#""\u0000""#,
        r#""\/\u002f""#,
        r#""\u00e9\ud83d\ude00""#,
        r#""\u2028\u2029""#,
        "\"\u{2028}\u{7f}\"",
        r#""data: x""#,
        "[ ]",
        "{ }",
        "[\t1 ,2 ]",
    ];
    let text = any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap());
    let leaf = prop_oneof![proptest::sample::select(odd.to_vec()).prop_map(str::to_owned), text];
    leaf.prop_recursive(4, 24, 6, |inner| {
        let key = prop_oneof![
            any::<String>().prop_map(|key| serde_json::to_string(&key).unwrap()),
            Just(r#""a""#.to_owned()), // often twice
            Just(r#""\ud800""#.to_owned()),
            Just(r#""n\u0061me""#.to_owned()),
        ];
        let member = (key, inner.clone()).prop_map(|(key, value)| format!("{key} :{value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..6).prop_map(|all| format!("[{}]", all.join(", "))),
            prop::collection::vec(member, 0..6).prop_map(|all| format!("{{{}}}", all.join(",\t"))),
        ]
    })
}

struct Chain {
    _bridge: Bridge,
    hub: HubServer,
    http: reqwest::Client,
    _folder: tempfile::TempDir,
}

impl Chain {
    async fn start() -> Self {
        let bridge = Bridge::start_server("raw_server");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hub.json");
        let servers = json!({"s": {"url": format!("{}/mcp", bridge.url)}});
        let config = json!({"mcpServers": servers, "limits": {"maxRequestBytes": 4 << 20}});
        std::fs::write(&file, config.to_string()).unwrap();
        rustls::crypto::ring::default_provider().install_default().ok();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let hub = serve::start(args::Serve {
            config: vec![file],
            stdio: false,
            runtime: None,
            keys: None,
            hub: None,
            namespace: None,
            revision: None,
            pod: None,
            listen: Some(any),
            admin_listen: Some(any),
            skip_llm_check: true,
        })
        .await
        .unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { _bridge: bridge, hub, http, _folder: folder }
    }

    async fn post(&self, body: String) -> String {
        let post = self.http.post(format!("http://{}/mcp", self.hub.address)).body(body);
        let post = post.header("content-type", "application/json");
        post.header("accept", "application/json").send().await.unwrap().text().await.unwrap()
    }

    /// Sends a call with these parameters but for the name, and compares what comes back.
    async fn check(&self, id: &str, before: &str, after: &str) {
        let params = |name: &str| format!("{{ {before}\"name\" : \"{name}\"{after} }}");
        let call = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\": {id},\"method\":\"tools/call\",\"params\":{}}}",
            params("s__raw")
        );
        let echo = params("raw");
        let end = if echo.contains("\"fail\"") {
            format!(r#""error":{{"code":-32050,"message":"failed","data":{echo}}}"#)
        } else {
            format!(r#""result":{{"content":[],"echo":{echo}}}"#)
        };
        let answer = self.post(call.clone()).await;
        let expected = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},{end}}}");
        let shown = |text: &str| text.chars().take(500).collect::<String>();
        let (call, wanted, got) = (shown(&call), shown(&expected), shown(&answer));
        assert!(answer == expected, "sent\n{call}\nexpected\n{wanted}\ngot\n{got}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_json_passes_hub_and_bridge_both_ways_and_only_name_and_id_change() {
    let chain = Chain::start().await;
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#.to_owned();
    let definition = DEFINITION.replace("\"raw\"", "\"s__raw\"");
    let listed = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":[{definition}]}}}}"#);
    let until = tokio::time::Instant::now() + PATIENCE;
    while chain.post(list.clone()).await != listed {
        assert!(tokio::time::Instant::now() < until, "the list is {}", chain.post(list).await);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let long = format!("\"{}\"", "x\\u00e9\u{e9}".repeat(1 << 17));
    for (id, before, after) in [
        ("1", "", ",\"arguments\":{}".to_owned()),
        ("-1.50e3", "\"unknown\":1e400, ", ",\"arguments\":{\"a\":1,\"a\":2}".to_owned()),
        ("\"\\ud800\"", "", ",\"_meta\":{\"com.x/k\" : 1.0}".to_owned()),
        ("123456789012345678901234567890", "", format!(",\"arguments\":{{\"long\":{long}}}")),
        ("\"i\"", "", ",\"arguments\":{\"fail\":[1E400,\"\\udc00\"]}".to_owned()),
    ] {
        chain.check(id, before, &after).await;
    }
    let mut runner = TestRunner::deterministic();
    for case in 0..CASES {
        let mut make = || json_text().new_tree(&mut runner).unwrap().current();
        let (unknown, a, meta) = (make(), make(), make());
        let before = format!("\"unknown\": {unknown},\t");
        let after = format!(",\"arguments\":{{\"x\" :{a}}},\"_meta\":{{\"com.x/k\":{meta}}}");
        chain.check(&case.to_string(), &before, &after).await;
    }
}
