//! Files as the common clients have them.

use mcphub_hub_wire::config::{Command, Isolation};

use super::*;

fn environment(name: &str) -> Option<String> {
    let value = match name {
        "TOKEN" => "s3cret",
        "HOME" => "/home/ann",
        "GITHUB_TOKEN" => "gh-s3cret",
        _ => return None,
    };
    Some(value.to_owned())
}

fn load_from(folder: &str, text: &str) -> Loaded {
    load(&[SourceFile { name: "f.json", folder, project: "/home/ann/project", text }], &environment)
        .unwrap_or_else(|errors| panic!("{errors}"))
}

fn servers(text: &str) -> Vec<Server> {
    load_from("/home/ann/project", text).config.servers
}

fn errors(text: &str) -> String {
    let file = SourceFile { name: "f.json", folder: "/home/ann/project", project: "", text };
    load(&[file], &environment).unwrap_err().to_string()
}

fn command(server: &Server) -> &Command {
    server.command.as_ref().expect("a command")
}

fn header(server: &Server, name: &str) -> Option<String> {
    let header = server.headers.iter().find(|header| header.name == name)?;
    match &header.value {
        HeaderValue::Value(value) => Some(value.clone()),
        HeaderValue::File(_) => None,
    }
}

#[test]
fn claude_desktop_has_commands_with_arguments_and_variables() {
    let servers = servers(
        r#"{"mcpServers": {"files": {"command": "npx", "args": ["-y", "@x/files", "/data"],
            "env": {"KEY": "${TOKEN}", "LEVEL": 3, "MODE": "${MODE:-fast}"}}},
            "globalShortcut": "", "isUsingBuiltInNodeForMCP": true}"#,
    );
    let command = command(&servers[0]);
    assert_eq!((command.program.as_str(), command.args.len()), ("npx", 3));
    assert_eq!(command.env["KEY"].as_deref(), Some("s3cret"));
    assert_eq!(command.env["LEVEL"].as_deref(), Some("3"));
    assert_eq!(command.env["MODE"].as_deref(), Some("fast"));
    assert!(!format!("{command:?}").contains("s3cret"));
    assert_eq!(servers[0].isolation, Isolation::PerPrincipal);
}

#[test]
fn vs_code_has_comments_inputs_and_its_own_variables() {
    let text = r#"{
        // Asked once.
        "inputs": [{"id": "github-token", "type": "promptString", "password": true},
                   {"id": "level", "type": "pickString", "default": "info"},],
        "servers": {
            "gh": {"type": "http", "url": "https://gh/mcp",
                   "headers": {"Authorization": "Bearer ${input:github-token}"}},
            "local": {"type": "stdio", "command": "${workspaceFolder}/run", "cwd": "sub",
                      "args": ["${input:level}", "${env:TOKEN}", "${userHome}"],
                      "envFile": "${workspaceFolder}/.env", /* more */ "dev": {"watch": "x"}},
        },
    }"#;
    let loaded = load_from("/home/ann/project/.vscode", text);
    let [gh, local] = loaded.config.servers.as_slice() else { panic!("two servers") };
    assert_eq!(header(gh, "Authorization").as_deref(), Some("Bearer gh-s3cret"));
    let command = command(local);
    assert_eq!(command.program, "/home/ann/project/run");
    assert_eq!(command.args, ["info", "s3cret", "/home/ann"]);
    assert_eq!(command.env_file.as_deref(), Some("/home/ann/project/.env"));
    assert_eq!(command.cwd.as_deref(), Some("/home/ann/project/sub"));
    let warning = "servers.local.dev: is for the client and not for the hub; set it in the client";
    assert_eq!(loaded.warnings, [warning]);
}

#[test]
fn the_settings_of_vs_code_and_open_code_have_servers_in_mcp() {
    let servers = |text| servers(text);
    let [server] = &*servers(r#"{"mcp": {"servers": {"a": {"url": "http://a"}}, "inputs": []}}"#)
    else {
        panic!("one server")
    };
    assert_eq!(server.url, "http://a");
    let text = r#"{"mcp": {"a": {"type": "local", "command": ["bun", "x", "y"],
        "environment": {"A": "b"}, "enabled": true}, "b": {"type": "remote", "url": "http://b",
        "enabled": false}}}"#;
    let [a, b] = &*servers(text) else { panic!("two servers") };
    assert_eq!(
        (command(a).program.as_str(), &*command(a).args),
        ("bun", &["x", "y"].map(String::from)[..])
    );
    assert_eq!(command(a).env["A"].as_deref(), Some("b"));
    assert!(b.disabled && !a.disabled);
}

#[test]
fn windsurf_and_cursor_have_their_keys() {
    let loaded = load_from(
        "/home/ann/.codeium/windsurf",
        r#"{"mcpServers": {
            "w": {"serverUrl": "https://w/mcp", "disabledTools": ["drop", "rm(*)"],
                  "headers": {"A": "${env:TOKEN}"}, "alwaysAllow": ["read"]},
            "c": {"url": "https://c/sse", "type": "sse", "autoApprove": [], "timeout": 120},
            "d": {"url": "https://d", "alwaysAllow": ["x"]}}}"#,
    );
    let [w, c, _] = loaded.config.servers.as_slice() else { panic!("three servers") };
    assert_eq!(w.tools.deny, ["drop", "rm"]);
    assert_eq!(header(w, "A").as_deref(), Some("s3cret"));
    assert_eq!((c.transport, c.timeout_ms), (Transport::Sse, 120_000));
    // Each key once, however many servers have it.
    let of_two = "mcpServers.w.alwaysAllow, mcpServers.d.alwaysAllow: is for the client";
    assert_eq!(loaded.warnings.len(), 2, "{:?}", loaded.warnings);
    assert!(loaded.warnings.iter().any(|line| line.starts_with(of_two)), "{:?}", loaded.warnings);
}

#[test]
fn gemini_has_bare_variables_milliseconds_and_lists_of_tools() {
    let loaded = load_from(
        "/home/ann/.gemini",
        r#"{"theme": "Dark", "selectedAuthType": "x", "excludeTools": ["shell"],
            "mcp": {"excluded": ["old"]},
            "mcpServers": {
                "g": {"httpUrl": "https://g/mcp", "timeout": 3000, "trust": true,
                      "headers": {"Authorization": "Bearer $TOKEN"},
                      "includeTools": ["read", "list(dir)"], "excludeTools": ["write"]},
                "none": {"command": "x", "args": ["$5", "a$"], "includeTools": []},
                "old": {"url": "https://old"}}}"#,
    );
    let [g, none, old] = loaded.config.servers.as_slice() else { panic!("three servers") };
    assert_eq!((g.transport, g.timeout_ms), (Transport::StreamableHttp, 3000));
    assert_eq!(header(g, "Authorization").as_deref(), Some("Bearer s3cret"));
    assert_eq!(g.tools.allow, ["read", "list"]);
    assert_eq!(g.tools.deny, ["write", "shell"]);
    assert_eq!(none.tools.deny, ["*", "shell"], "an empty list of a client allows nothing");
    assert_eq!(command(none).args, ["$5", "a$"]);
    assert!(old.disabled && !g.disabled);
    assert!(loaded.warnings.iter().any(|line| line.starts_with("theme, ")));
}

#[test]
fn zed_has_context_servers() {
    let loaded = load_from(
        "/home/ann/.config/zed",
        r#"{"theme": "One", // the theme
            "context_servers": {
                "a": {"source": "custom", "command": "npx", "args": ["a"], "env": null},
                "b": {"command": {"path": "uvx", "args": ["b"], "env": {"A": "b"}}, "settings": {}},
                "c": {"source": "extension", "enabled": true, "settings": {"key": "x"}},
            },}"#,
    );
    let [a, b, c] = loaded.config.servers.as_slice() else { panic!("three servers") };
    assert_eq!(command(a).args, ["a"]);
    assert_eq!((command(b).program.as_str(), command(b).env["A"].as_deref()), ("uvx", Some("b")));
    assert!(c.disabled);
}

#[test]
fn continue_has_yaml_with_a_list() {
    let text = "name: my config\nversion: 0.0.1\nmcpServers:\n  - name: db\n    command: uvx\n    \
                args: [mcp-db, --rw]\n    env: {KEY: '${{ secrets.TOKEN }}'}\n  - name: web\n    \
                type: streamable-http\n    url: https://w/mcp\n    requestOptions:\n      \
                headers: {A: b}\n      timeout: 5\n";
    let file = SourceFile { name: "config.yaml", folder: "/home/ann/.continue", project: "", text };
    let loaded = load(&[file], &environment).unwrap();
    let [db, web] = loaded.config.servers.as_slice() else { panic!("two servers") };
    assert_eq!(command(db).env["KEY"].as_deref(), Some("s3cret"));
    assert_eq!(header(web, "A").as_deref(), Some("b"));
}

#[test]
fn a_later_file_replaces_servers_of_an_earlier_one_and_sections_are_in_one_file() {
    let file = |name, text| SourceFile { name, folder: "/", project: "", text };
    let user = file(
        "user.json",
        r#"{"mcpServers": {"a": {"url": "http://old"}, "b": {"url": "http://b"}}}"#,
    );
    let project = file("project.json", r#"{"servers": {"a": {"url": "http://new"}}}"#);
    let hub = |name| file(name, r#"{"filtering": {"servers": {"deny": ["b"]}}}"#);
    let loaded = load(&[user, project, hub("hub.json")], &environment).unwrap();
    let urls: Vec<_> = loaded.config.servers.iter().map(|server| server.url.as_str()).collect();
    assert_eq!(urls, ["http://new", "http://b"]);
    assert_eq!(loaded.config.filtering.servers.deny, ["b"]);
    let replaced = "project.json: servers.a: replaces the server of that name in user.json";
    assert_eq!(loaded.warnings, [replaced]);
    let errors = load(&[user, hub("hub.json"), hub("other.json")], &environment).unwrap_err();
    assert_eq!(errors.to_string(), "other.json: filtering: is in hub.json too; keep one of them");
}

// The server would do what its owner thinks is forbidden.
#[rstest]
#[case(r#"{"mcpServers":{"a":{"url":"http://a","blockedTools":["rm"]}}}"#, "blockedTools")]
#[case(r#"{"mcpServers":{"a":{"command":"a","sandboxEnabled":true}}}"#, "sandboxEnabled")]
#[case(r#"{"mcpServers":{"a":{"command":"a","sandbox":{"network":"off"}}}}"#, "sandbox")]
#[case(r#"{"mcpServers":{"a":{"command":"a","requireApproval":"always"}}}"#, "requireApproval")]
#[case(r#"{"mcpServers":{"a":{"url":"http://a","readOnly":true}}}"#, "readOnly")]
#[case(r#"{"mcpServers":{"a":{"url":"http://a"}},"tools":{"sandbox":"docker"}}"#, "tools.sandbox")]
#[case(r#"{"mcpServers":{"a":{"url":"http://a"}},"deniedMcpTools":["x"]}"#, "deniedMcpTools")]
fn a_restriction_that_the_hub_cannot_apply_is_an_error(#[case] text: &str, #[case] key: &str) {
    let errors = errors(text);
    assert!(errors.contains(&format!("{key}: looks like a restriction")), "{errors}");
}

#[rstest]
#[case(r#"{"mcpServers":{"a":{"command":"a","sandboxEnabled":false}}}"#)]
#[case(r#"{"mcpServers":{"a":{"url":"http://a","oauth":{"clientId":"x"},"somethingNew":1}}}"#)]
#[case(r#"{"mcpServers":{"a":{"url":"http://a","description":"x"}},"numStartups":9}"#)]
#[case(r#"{"mcpServers":{"a":{"url":"${MISSING}","disabled":true},"b":{"url":"http://b"}}}"#)]
#[case(r#"{"mcpServers":{"me":{"command":"/bin/mcp-hub","args":["serve","--stdio"]}}}"#)]
fn other_keys_of_clients_do_not_stop_the_hub(#[case] text: &str) {
    load_from("/", text);
}

#[test]
fn claude_code_has_servers_of_the_user_and_of_each_project() {
    let loaded = load_from(
        "/home/ann",
        r#"{"numStartups": 9, "userID": "x", "mcpServers": {"mine": {"url": "http://mine"},
            "off": {"url": "http://off"}},
            "projects": {
                "/home/ann/project": {"mcpServers": {"here": {"type": "stdio", "command": "here",
                    "args": [], "env": {}}}, "disabledMcpServers": ["off"], "history": []},
                "/home/ann/other": {"mcpServers": {"there": {"command": "there"}}}}}"#,
    );
    let servers: Vec<_> =
        loaded.config.servers.iter().map(|it| (it.name.as_str(), it.disabled)).collect();
    assert_eq!(servers, [("mine", false), ("off", true), ("here", false)]);
    // One line, however many settings the client has.
    assert_eq!(loaded.warnings, ["numStartups, userID: has no effect on mcp-hub"]);
}

#[test]
fn the_permissions_of_claude_code_are_applied() {
    let [a, b] = &*servers(
        r#"{"mcpServers": {"a": {"url": "http://a"}, "b": {"url": "http://b"}},
            "permissions": {"deny": ["mcp__a__drop", "mcp__b", "Bash(rm)"], "allow": ["x"]}}"#,
    ) else {
        panic!("two servers")
    };
    assert_eq!((&*a.tools.deny, &*b.tools.deny), (&["drop".to_owned()][..], &["*".to_owned()][..]));
}

#[test]
fn a_list_of_tools_as_copilot_has_it_is_an_allow_list() {
    let servers = servers(
        r#"{"mcpServers": {"a": {"url": "http://a", "tools": ["read"]},
            "b": {"url": "http://b", "tools": []}, "c": {"url": "http://c", "tools": ["*"]}}}"#,
    );
    assert_eq!(servers[0].tools.allow, ["read"]);
    assert_eq!(servers[1].tools.deny, ["*"]);
    assert_eq!(servers[2].tools.allow, ["*"]);
}

#[test]
fn durations_are_numbers_of_milliseconds_or_written_as_in_the_resource() {
    let servers = servers(
        r#"{"mcpServers": {"a": {"command": "a", "timeout": "1m30s", "idleTimeout": "5m",
            "tools": {"timeout": {"slow": "10m"}}}, "b": {"url": "http://b", "timeout": 30000}}}"#,
    );
    assert_eq!((servers[0].timeout_ms, command(&servers[0]).idle_timeout_ms), (90_000, 300_000));
    assert_eq!(servers[0].tools.timeout_ms["slow"], 600_000);
    assert_eq!(servers[1].timeout_ms, 30_000);
}
