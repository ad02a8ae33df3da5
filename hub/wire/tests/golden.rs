//! The bytes that operator and hub exchange. Pods of any age read them, and the hash of a revision
//! covers the config: a changed byte restarts every hub at the next operator upgrade.

#![allow(clippy::unwrap_used, reason = "tests")]

use mcphub_hub_wire::admin::{Check, Generation, SelfCheck, ServerState};
use mcphub_hub_wire::config::HubConfig;
use mcphub_hub_wire::dataplane::Dataplane;
use mcphub_hub_wire::keys::{KEY_BYTES, MasterKey};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Asserts that the type reads this text and writes it back byte for byte.
fn assert_round_trip<T: Serialize + DeserializeOwned>(golden: &str) {
    let value: T = serde_json::from_str(golden).unwrap();
    assert_eq!(serde_json::to_string(&value).unwrap(), golden);
}

#[test]
fn dataplane_json_is_pinned() {
    assert_round_trip::<Dataplane>(concat!(
        r#"{"schema":1,"generation":7,"revisions":{"#,
        r#""0a1b2c3d":{"role":"stable","weight":90,"flags":{"autoCorrection":true}},"#,
        r#""1a1b2c3d":{"role":"canary","weight":10,"flags":{}},"#,
        r#""2a1b2c3d":{"role":"previous","weight":0,"flags":{}},"#,
        r#""3a1b2c3d":{"role":"failed","weight":0,"flags":{}}}}"#
    ));
}

#[test]
fn a_config_with_every_field_is_pinned() {
    assert_round_trip::<HubConfig>(CONFIG);
}

#[test]
fn the_defaults_that_a_config_may_leave_out_are_pinned() {
    let shortest = r#"{"schema":1,"servers":[{"name":"a","prefix":null,"url":"http://a/mcp"}]}"#;
    let config: HubConfig = serde_json::from_str(shortest).unwrap();
    assert_eq!(serde_json::to_string(&config).unwrap(), DEFAULTS);
}

#[test]
fn the_answers_of_the_admin_endpoints_are_pinned() {
    let check = SelfCheck {
        passed: false,
        checks: vec![Check { name: "listening".into(), passed: true, message: "ok".into() }],
        servers: vec![ServerState {
            name: "a".into(),
            connected: false,
            tools: 2,
            message: "refused".into(),
        }],
        visible_tools: Some(1),
        warnings: vec!["w".into()],
    };
    assert_eq!(
        serde_json::to_string(&check).unwrap(),
        concat!(
            r#"{"passed":false,"checks":[{"name":"listening","passed":true,"message":"ok"}],"#,
            r#""servers":[{"name":"a","connected":false,"tools":2,"message":"refused"}],"#,
            r#""visibleTools":1,"warnings":["w"]}"#
        )
    );
    assert_eq!(
        serde_json::to_string(&Generation { generation: 7 }).unwrap(),
        r#"{"generation":7}"#
    );
}

#[test]
fn a_key_ring_is_pinned() {
    let ring = MasterKey::new([7; KEY_BYTES]).ring("uid", 2);
    assert_eq!(serde_json::to_string(&ring).unwrap(), KEYS);
}

const CONFIG: &str = concat!(
    r#"{"schema":1,"servers":[{"name":"a","prefix":"a","url":"https://a/mcp","#,
    r#""transport":"StreamableHttp","headers":[{"name":"X-A","value":"v"},{"name":"X-B","#,
    r#""file":"/etc/mcp-hub/secrets/s/k"}],"caFile":"/ca.pem","insecureSkipVerify":true,"#,
    r#""timeoutMs":5000,"isolation":"Shared","maxSessions":3,"disabled":true,"#,
    r#""tools":{"allow":["a*"],"deny":["b*"],"rename":{"x":"y"},"describe":{"x":"z"},"#,
    r#""timeoutMs":{"x":5}}}],"filtering":{"mode":"PromptBased","servers":{"allow":["a"],"#,
    r#""deny":["b"]},"staticTools":["a__*"],"categories":{"expose":["web"],"#,
    r#""custom":{"a__x":"mine"}},"hybrid":"All","promptBased":{"defaultExposure":"Minimal","#,
    r#""metaTools":false,"sessionIsolation":false,"maxTools":5,"minScore":0.5,"#,
    r#""memory":false},"views":[{"name":"v","servers":["a"],"categories":["mine"],"#,
    r#""tools":["*"]}],"toolBudget":{"maxTools":20,"maxTokens":9000},"selector":"Llm","#,
    r#""goldenQuestions":[{"query":"q","tools":["a__x"]}],"llm":{"provider":"OpenAI","#,
    r#""model":"m","baseUrl":"https://llm","apiKey":{"file":"/k"},"timeoutMs":100,"#,
    r#""retry":{"maxRetries":1,"initialDelayMs":2,"maxDelayMs":3,"backoffMultiplier":4},"#,
    r#""circuitBreaker":{"failureThreshold":2,"resetTimeoutMs":3},"cache":{"ttlMs":4,"#,
    r#""prewarm":false},"maxConcurrent":2}},"access":[{"when":"'x' in caller.groups","#,
    r#""servers":["a"],"tools":["a__*"]}],"flags":{"autoCorrection":true},"#,
    r#""sessions":{"requireId":true,"ttlMs":1,"max":2},"limits":{"maxRequestBytes":3,"#,
    r#""maxConcurrent":4},"connectionPool":{"keepAliveMs":5,"maxConnections":6},"#,
    r#""allowedOrigins":["https://o"],"startupTimeoutMs":7,"drainTimeoutMs":8}"#,
);
const DEFAULTS: &str = concat!(
    r#"{"schema":1,"servers":[{"name":"a","prefix":null,"url":"http://a/mcp","#,
    r#""transport":"Auto","headers":[],"caFile":null,"insecureSkipVerify":false,"#,
    r#""timeoutMs":60000,"isolation":"PerPrincipal","maxSessions":20,"disabled":false,"#,
    r#""tools":{"allow":[],"deny":[],"rename":{},"describe":{},"timeoutMs":{}}}],"#,
    r#""filtering":{"mode":"None","servers":{"allow":[],"deny":[]},"staticTools":[],"#,
    r#""categories":{"expose":[],"custom":{}},"hybrid":"Any","#,
    r#""promptBased":{"defaultExposure":"MetaOnly","metaTools":true,"sessionIsolation":true,"#,
    r#""maxTools":10,"minScore":null,"memory":true},"views":[],"toolBudget":null,"#,
    r#""selector":"Embedded","goldenQuestions":[],"llm":null},"access":[],"flags":{},"#,
    r#""sessions":{"requireId":false,"ttlMs":1800000,"max":10000},"#,
    r#""limits":{"maxRequestBytes":1048576,"maxConcurrent":1024},"#,
    r#""connectionPool":{"keepAliveMs":60000,"maxConnections":50},"allowedOrigins":[],"#,
    r#""startupTimeoutMs":10000,"drainTimeoutMs":300000}"#,
);
const KEYS: &str = concat!(
    r#"[{"serial":2,"key":"UxleMiOZLV+y8pEdIu+4IIz5q+/7lVo1sCXXAGbvef0="},{"serial":1,"#,
    r#""key":"tt0zxDejcHfZrmfwXCsJAFosLe7LbAqInTWZ875kYmo="}]"#,
);
