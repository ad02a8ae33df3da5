use mcphub_wire::config::{HeaderValue, Transport};
use rstest::rstest;

use super::*;

fn environment(name: &str) -> Option<String> {
    match name {
        "TOKEN" => Some("s3cret".into()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn read(text: &str) -> Result<HubConfig, String> {
    parse(text, &environment).map_err(|problems| problems.to_string())
}

#[test]
fn the_json_that_people_have_is_read_in_its_order() {
    let config = read(
        r#"{"mcpServers": {
            "zeta": {"url": "https://z.example/mcp", "headers": {"Authorization": "Bearer ${TOKEN}"}, "autoApprove": ["x"]},
            "My Server": {"type": "http", "url": "http://localhost:3000/mcp", "disabled": true}
        }}"#,
    )
    .unwrap();
    let [zeta, mine] = config.servers.as_slice() else { panic!("two servers") };
    assert_eq!((zeta.name.as_str(), zeta.prefix.as_deref()), ("zeta", Some("zeta")));
    assert_eq!(zeta.headers[0].value, HeaderValue::Value("Bearer s3cret".into()));
    assert_eq!(
        (mine.prefix.as_deref(), mine.transport, mine.disabled),
        (Some("My_Server"), Transport::StreamableHttp, true)
    );
}

#[test]
fn vs_code_s_form_and_settings_of_the_hub_are_read_too() {
    let config = read(
        r#"{"servers": {"a": {"url": "http://a/mcp", "prefix": "", "tools": {"deny": ["rm*"]}}}, "inputs": [],
            "filtering": {"mode": "Static", "staticTools": ["get*"]}, "flags": {"autoCorrection": true}}"#,
    )
    .unwrap();
    assert_eq!(config.servers[0].prefix, None);
    assert_eq!(config.servers[0].tools.deny, ["rm*"]);
    assert_eq!(config.filtering.static_tools, ["get*"]);
    assert!(config.flags["autoCorrection"]);
}

#[test]
fn a_compiled_config_is_read_as_it_is() {
    let config = crate::sight::tests::config(&["a", "b"]);
    assert_eq!(parse(&serde_json::to_string(&config).unwrap(), &environment), Ok(config));
}

#[rstest]
#[case::not_json("{", "the file is not JSON: EOF while parsing an object at line 1 column 1")]
#[case::comment(
    "{\n// hi\n}",
    "the file is not JSON: key must be a string at line 2 column 1; comments are not allowed, take them out"
)]
#[case::no_servers("{}", "the file has no servers; write {\"mcpServers\": {\"name\": {\"url\": \"https://…\"}}}")]
#[case::unset(
    r#"{"mcpServers":{"gh":{"url":"http://h","headers":{"A":"${GITHUB_TOKEN}"}}}}"#,
    "mcpServers.gh.headers.A: ${GITHUB_TOKEN} is not set; set the environment variable GITHUB_TOKEN"
)]
#[case::command(
    r#"{"mcpServers":{"f":{"command":"npx","args":["x"]}}}"#,
    "mcpServers.f: runs a command, which serve does not do itself yet; run \"mcp-hub bridge --listen 127.0.0.1:8080 -- COMMAND ARGS\" beside it and write \"url\": \"http://127.0.0.1:8080/mcp\""
)]
#[case::unknown_key(
    r#"{"mcpServers":{"f":{"url":"http://h","ulr":1}}}"#,
    "mcpServers.f.ulr: is not known to mcp-hub; take it out"
)]
#[case::no_url(r#"{"mcpServers":{"f":{}}}"#, "mcpServers.f: has no url; write \"url\": \"https://…\"")]
#[case::not_http(
    r#"{"mcpServers":{"f":{"url":"ws://h"}}}"#,
    "servers.f.url: is not an http or https URL; write https://host/path"
)]
#[case::credentials(
    r#"{"mcpServers":{"f":{"url":"http://u:p@h/"}}}"#,
    "servers.f.url: has credentials in it, and URLs end up in logs; send them in a header"
)]
#[case::wrong_type(
    r#"{"mcpServers":{"f":{"url":"http://h","timeoutMs":"soon"}}}"#,
    "mcpServers.f: invalid type: string \"soon\", expected u64"
)]
#[case::reserved(
    r#"{"mcpServers":{"hub":{"url":"http://h"}}}"#,
    "servers.hub.prefix: \"hub\" is that of the hub's own tools; choose another"
)]
#[case::same_prefix(
    r#"{"mcpServers":{"a b":{"url":"http://h"},"a_b":{"url":"http://h"}}}"#,
    "servers.a_b.prefix: \"a_b\" is also that of \"a b\"; their tools would collide, give one another prefix"
)]
#[case::twice(
    r#"{"mcpServers":{"a":{"url":"http://h"},"a":{"url":"http://h","prefix":"b"}}}"#,
    "servers.a: is there twice; give the second another name"
)]
fn what_is_wrong_is_said_with_its_place_and_what_to_write(#[case] text: &str, #[case] expected: &str) {
    assert_eq!(read(text).unwrap_err(), expected);
}

#[rstest]
#[case("${cmd:cat /etc/passwd}", "would run a shell")]
#[case("${input:token}", "asked for by an editor")]
#[case("${vault:x}", "is not known")]
#[case("${}", "is no variable")]
#[case("${TOKEN", "has no \"}\"")]
fn placeholders_that_are_none_are_refused(#[case] value: &str, #[case] expected: &str) {
    let text = serde_json::json!({"mcpServers": {"a": {"url": "http://h", "headers": {"k": value}}}}).to_string();
    let message = read(&text).unwrap_err();
    assert!(message.starts_with("mcpServers.a.headers.k: ") && message.contains(expected), "{message}");
}

#[test]
fn env_placeholders_and_empty_variables_are_values() {
    let text = r#"{"mcpServers":{"a":{"url":"http://h/${env:TOKEN}${EMPTY}/x"}}}"#;
    assert_eq!(read(text).unwrap().servers[0].url, "http://h/s3cret/x");
}

// An error that quotes an expanded value would put a secret into the log.
#[test]
fn no_problem_ever_quotes_a_secret() {
    for text in [
        r#"{"mcpServers":{"a":{"url":"${TOKEN}"}}}"#,
        r#"{"mcpServers":{"a":{"url":"http://h","disabled":"${TOKEN}"}}}"#,
        r#"{"mcpServers":{"a":{"url":"http://${TOKEN}@h"}}}"#,
    ] {
        let message = read(text).unwrap_err();
        assert!(!message.contains("s3cret"), "{message}");
    }
}

// A misspelt deny shows tools that its author thinks hidden.
#[rstest]
#[case(r#"{"mcpServers":{"a":{"url":"http://a","tools":{"denny":["rm*"]}}}}"#, "mcpServers.a.tools.denny")]
#[case(r#"{"mcpServers":{"a":{"url":"http://a"}},"filtering":{"mod":"Static"}}"#, "filtering.mod")]
#[case(r#"{"mcpServers":{"a":{"url":"http://a"}},"filtering":{"servers":{"dny":["a"]}}}"#, "filtering.servers.dny")]
#[case(r#"{"mcpServers":{"a":{"url":"http://a"}},"limits":{"maxRequests":1}}"#, "limits.maxRequests")]
fn a_misspelt_key_at_any_depth_is_named(#[case] text: &str, #[case] at: &str) {
    assert_eq!(read(text).unwrap_err(), format!("{at}: is not known to mcp-hub; take it out"));
}

#[test]
fn renamed_and_described_tools_have_any_name() {
    let tools = r#"{"allow":["*"],"rename":{"x":"y"},"describe":{"x":"z"},"timeoutMs":{"x":5}}"#;
    let config = read(&format!(r#"{{"mcpServers":{{"a":{{"url":"http://a","tools":{tools}}}}}}}"#)).unwrap();
    assert_eq!((config.servers[0].tools.rename["x"].as_str(), config.servers[0].tools.timeout_ms["x"]), ("y", 5));
}
