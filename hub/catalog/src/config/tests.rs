use mcphub_hub_wire::config::{HeaderValue, Transport};
use rstest::rstest;

use super::*;

mod dialects;

fn environment(name: &str) -> Option<String> {
    match name {
        "TOKEN" => Some("s3cret".into()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn read(text: &str) -> Result<HubConfig, String> {
    parse(text, &environment).map_err(|errors| errors.to_string())
}

#[test]
fn the_mcp_servers_json_of_clients_is_read_in_its_order() {
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
fn the_format_of_vs_code_and_the_settings_of_the_hub_are_read() {
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
fn a_compiled_config_is_read_unchanged() {
    let config = crate::fixtures::config(&["a", "b"]);
    assert_eq!(parse(&serde_json::to_string(&config).unwrap(), &environment), Ok(config));
}

#[rstest]
#[case::not_json("{", "the file is not JSON: EOF while parsing an object at line 1 column 1")]
#[case::no_servers(
    "{}",
    "the file has no servers; write {\"mcpServers\": {\"name\": {\"url\": \"https://…\"}}}"
)]
#[case::unset_variable(
    r#"{"mcpServers":{"gh":{"url":"http://h","headers":{"A":"${GITHUB_TOKEN}"}}}}"#,
    "mcpServers.gh.headers.A: ${GITHUB_TOKEN} is not set; set the environment variable GITHUB_TOKEN"
)]
#[case::misspelled(
    r#"{"mcpServers":{"f":{"ulr":"http://h"}}}"#,
    "mcpServers.f.ulr: is unknown to mcp-hub; did you mean url?\n\
     mcpServers.f: has no url and no command; write \"url\": \"https://…\" or \"command\": …"
)]
#[case::misspelled_section(
    r#"{"mcpServers":{"f":{"url":"http://h"}},"filterng":{"mode":"Static"}}"#,
    "filterng: is unknown to mcp-hub; did you mean filtering?"
)]
#[case::no_url(
    r#"{"mcpServers":{"f":{}}}"#,
    "mcpServers.f: has no url and no command; write \"url\": \"https://…\" or \"command\": …"
)]
#[case::both(
    r#"{"mcpServers":{"f":{"url":"http://h","command":"npx"}}}"#,
    "mcpServers.f: has url and command; keep one of them"
)]
#[case::not_http(
    r#"{"mcpServers":{"f":{"url":"ws://h"}}}"#,
    "servers.f.url: is not an http or https URL; write https://host/path"
)]
#[case::credentials(
    r#"{"mcpServers":{"f":{"url":"http://u:p@h/"}}}"#,
    "servers.f.url: contains credentials, and URLs are logged; send them in a header"
)]
#[case::wrong_type(
    r#"{"mcpServers":{"f":{"url":"http://h","timeoutMs":"soon"}}}"#,
    "mcpServers.f.timeoutMs: invalid type: string \"soon\", expected u64"
)]
#[case::reserved(
    r#"{"mcpServers":{"hub":{"url":"http://h"}}}"#,
    "servers.hub.prefix: \"hub\" is reserved for the hub's own tools; choose another"
)]
#[case::same_prefix(
    r#"{"mcpServers":{"a b":{"url":"http://h"},"a_b":{"url":"http://h"}}}"#,
    "servers.a_b.prefix: \"a_b\" is also the prefix of \"a b\", so their tools would collide; \
     change one of them"
)]
#[case::same_name(
    r#"{"mcpServers":{"a":{"url":"http://h"},"a":{"url":"http://h","prefix":"b"}}}"#,
    "servers.a: is defined twice; rename one of the servers"
)]
fn an_error_has_the_path_and_says_what_to_write(#[case] text: &str, #[case] expected: &str) {
    assert_eq!(read(text).unwrap_err(), expected);
}

#[rstest]
#[case("${cmd:cat /etc/passwd}", "runs a shell")]
#[case("${input:api-key}", "set the environment variable API_KEY")]
#[case("${vault:x}", "is unknown")]
#[case("${}", "is not a variable")]
#[case("${TOKEN", "has no \"}\"")]
fn invalid_placeholders_are_rejected(#[case] value: &str, #[case] expected: &str) {
    let text =
        serde_json::json!({"mcpServers": {"a": {"url": "http://h", "headers": {"k": value}}}})
            .to_string();
    let message = read(&text).unwrap_err();
    assert!(
        message.starts_with("mcpServers.a.headers.k: ") && message.contains(expected),
        "{message}"
    );
}

#[test]
fn env_placeholders_and_empty_variables_are_expanded() {
    let text = r#"{"mcpServers":{"a":{"url":"http://h/${env:TOKEN}${EMPTY}/x"}}}"#;
    assert_eq!(read(text).unwrap().servers[0].url, "http://h/s3cret/x");
}

// An error that quotes an expanded value would write a secret to the log.
#[test]
fn no_error_quotes_an_expanded_value() {
    for text in [
        r#"{"mcpServers":{"a":{"url":"${TOKEN}"}}}"#,
        r#"{"mcpServers":{"a":{"url":"http://h","disabled":"${TOKEN}"}}}"#,
        r#"{"mcpServers":{"a":{"url":"http://${TOKEN}@h"}}}"#,
    ] {
        let message = read(text).unwrap_err();
        assert!(!message.contains("s3cret"), "{message}");
    }
}

// A misspelled deny would expose tools that its author wanted to hide.
#[rstest]
#[case(
    r#"{"mcpServers":{"a":{"url":"http://a","tools":{"denny":["rm*"]}}}}"#,
    "mcpServers.a.tools.denny"
)]
#[case(r#"{"mcpServers":{"a":{"url":"http://a"}},"filtering":{"mod":"Static"}}"#, "filtering.mod")]
#[case(
    r#"{"mcpServers":{"a":{"url":"http://a"}},"filtering":{"servers":{"dny":["a"]}}}"#,
    "filtering.servers.dny"
)]
#[case(
    r#"{"mcpServers":{"a":{"url":"http://a"}},"limits":{"maxRequests":1}}"#,
    "limits.maxRequests"
)]
fn a_misspelled_key_at_any_depth_is_an_error(#[case] text: &str, #[case] at: &str) {
    assert_eq!(read(text).unwrap_err(), format!("{at}: is unknown to mcp-hub; remove it"));
}

// The file has the words of the resource, and those of the compiled config.
#[test]
fn filters_are_spelled_as_in_the_resource() {
    let server = r#""mcpServers":{"a":{"url":"http://a"}}"#;
    let config = |filtering: &str| read(&format!(r#"{{{server},"filtering":{filtering}}}"#));
    let written = config(
        r#"{"mode":"Hybrid","static":{"tools":["a__*"]},"hybrid":{"match":"All"},
            "categories":{"expose":["web"]},"selector":{"backend":"Embedded"},
            "promptBased":{"minScore":"0.2"},"llm":{"provider":"OpenAI","model":"m",
            "apiKey":{"value":"k"},"timeout":"2s","cache":{"ttl":"1h"}}}"#,
    )
    .unwrap();
    let compiled = config(
        r#"{"mode":"Hybrid","staticTools":["a__*"],"hybrid":"All",
            "categories":{"expose":["web"]},"selector":"Embedded",
            "promptBased":{"minScore":0.2},"llm":{"provider":"OpenAI","model":"m",
            "apiKey":{"value":"k"},"timeoutMs":2000,"cache":{"ttlMs":3600000}}}"#,
    )
    .unwrap();
    assert_eq!(written, compiled);
    let message = config(r#"{"static":{"tools":["a__*"],"tool":[]}}"#).unwrap_err();
    assert!(message.contains("is unknown to mcp-hub"), "{message}");
}

#[test]
fn renamed_and_described_tools_may_have_any_name() {
    let tools = r#"{"allow":["*"],"rename":{"x":"y"},"describe":{"x":"z"},"timeoutMs":{"x":5}}"#;
    let config =
        read(&format!(r#"{{"mcpServers":{{"a":{{"url":"http://a","tools":{tools}}}}}}}"#)).unwrap();
    assert_eq!(
        (config.servers[0].tools.rename["x"].as_str(), config.servers[0].tools.timeout_ms["x"]),
        ("y", 5)
    );
}

/// The errors of a config with the servers a and b and these other members.
fn errors_with(members: &str) -> String {
    let text = format!(
        r#"{{"mcpServers":{{"a":{{"url":"http://a"}},"b":{{"url":"http://b"}}}},{members}}}"#
    );
    read(&text).err().unwrap_or_default()
}

#[rstest]
#[case::unknown_server(
    r#""filtering":{"servers":{"allow":["a","c"]}}"#,
    "filtering.servers.allow: \"c\" is not a server of this hub; the servers are a, b"
)]
#[case::unknown_category(
    r#""filtering":{"mode":"Category","categories":{"expose":["mine","files"],"custom":{"a__*":"mine"}}}"#,
    "filtering.categories.expose: \"files\" is not a category; the categories are version-control, \
     docker, database, communication, filesystem, cloud, development, web, search, other, mine; \
     add others in filtering.categories.custom"
)]
#[case::category_mode_without_categories(
    r#""filtering":{"mode":"Category"}"#,
    "filtering.categories.expose: is empty, so mode Category shows nothing; write categories such \
     as filesystem"
)]
#[case::static_mode_without_patterns(
    r#""filtering":{"mode":"Static"}"#,
    "filtering.static.tools: is empty, so mode Static shows nothing; write patterns such as \
     files__*"
)]
#[case::hybrid_mode_without_names(
    r#""filtering":{"mode":"Hybrid"}"#,
    "filtering.categories.expose: is empty, so mode Hybrid shows nothing; write categories such as \
     filesystem, or servers in filtering.servers.allow"
)]
#[case::view_name(
    r#""filtering":{"views":[{"name":"My View"}]}"#,
    "filtering.views[0].name: \"My View\" cannot be part of a path; write 1 to 63 of a-z 0-9 -"
)]
#[case::view_twice(
    r#""filtering":{"views":[{"name":"v"},{"name":"v","servers":["a"]}]}"#,
    "filtering.views[1].name: \"v\" is used twice; rename one of the views"
)]
#[case::view_with_an_unknown_server(
    r#""filtering":{"views":[{"name":"v","servers":["c"]}]}"#,
    "filtering.views[0].servers: \"c\" is not a server of this hub; the servers are a, b"
)]
#[case::misspelled_in_a_list(
    r#""filtering":{"views":[{"name":"v","server":["a"]}]}"#,
    "filtering.views[0].server: is unknown to mcp-hub; remove it"
)]
#[case::bad_expression(
    r#""access":[{"when":"caller.sub == 'x'"},{"when":"user == 'x'"}]"#,
    "access[1].when: uses \"user\", which does not exist; use caller, tool, view"
)]
#[case::small_tool_budget(
    r#""filtering":{"toolBudget":{"maxTools":3,"maxTokens":8000}}"#,
    "filtering.toolBudget.maxTools: is 3, but the hub's own tools, which find the rest, are 4; use \
     at least 5"
)]
#[case::no_llm(
    r#""filtering":{"selector":"Llm"}"#,
    "filtering.selector: is Llm, but filtering.llm is missing; add provider, model and apiKey, or \
     write Embedded"
)]
#[case::no_base_url(
    r#""filtering":{"llm":{"provider":"OpenAICompatible","model":"m","apiKey":{"value":"k"}}}"#,
    "filtering.llm.baseUrl: is missing; OpenAICompatible has no default"
)]
#[case::score(
    r#""filtering":{"promptBased":{"minScore":1.5}}"#,
    "filtering.promptBased.minScore: must be from 0 to 1; omit it for the calibrated floor"
)]
#[case::golden_question(
    r#""filtering":{"goldenQuestions":[{"query":" ","tools":["a__x"]}]}"#,
    "filtering.goldenQuestions[0].query: is empty; write a question of a user"
)]
fn an_error_in_filtering_or_access_has_its_path(#[case] members: &str, #[case] expected: &str) {
    assert_eq!(errors_with(members), expected);
}

#[test]
fn a_token_budget_below_the_meta_tools_is_an_error() {
    let message = errors_with(r#""filtering":{"toolBudget":{"maxTools":50,"maxTokens":100}}"#);
    assert!(
        message.starts_with("filtering.toolBudget.maxTokens: is 100, but the hub's own tools"),
        "{message}"
    );
}

#[test]
fn a_standalone_config_may_have_every_field_of_filtering_and_access() {
    let members = r#""filtering":{"mode":"PromptBased","staticTools":["a__*"],"servers":{"deny":["b"]},
        "categories":{"expose":["web"],"custom":{"a__x":"mine"}},"hybrid":"All",
        "promptBased":{"defaultExposure":"Minimal","metaTools":true,"sessionIsolation":false,"maxTools":5,"minScore":0.2,"memory":false},
        "views":[{"name":"v","servers":["a"],"categories":["mine"],"tools":["*"]}],
        "toolBudget":{"maxTools":20,"maxTokens":9000},"selector":"Llm","goldenQuestions":[{"query":"q","tools":["a__x"]}],
        "llm":{"provider":"OpenAI","model":"m","apiKey":{"value":"${TOKEN}"},"timeoutMs":100,"retry":{"maxRetries":1},
            "circuitBreaker":{"failureThreshold":2},"cache":{"prewarm":false},"maxConcurrent":2}},
        "access":[{"when":"'x' in caller.groups","servers":["a"],"tools":["a__*"]}]"#;
    assert_eq!(errors_with(members), "");
}
