//! The `mcpServers` JSON (or VS Code's `servers`) that people already have.

use std::collections::BTreeMap;

use mcphub_hub_wire::config::{
    ConnectionPool, Filtering, Header, HeaderValue, HubConfig, Isolation, Limits, SCHEMA, Server,
    Sessions, ToolRules, Transport,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::placeholder::expanded;
use super::{ConfigError, ConfigErrors, Environment};
use crate::names;
use mcphub_hub_protocol::json_splice::{self, Member};

/// Keys that clients keep beside a server for themselves. They mean nothing to a hub.
const CLIENTS_OWN: [&str; 8] =
    ["alwaysAllow", "autoApprove", "description", "icon", "name", "gallery", "version", "trust"];

const UNKNOWN_KEY: &str = "is not known to mcp-hub; take it out";

/// What a server entry may say.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Entry {
    url: Option<String>,
    #[serde(rename = "type", alias = "transport")]
    kind: Option<String>,
    headers: BTreeMap<String, String>,
    prefix: Option<String>,
    disabled: bool,
    timeout_ms: u64,
    isolation: Isolation,
    max_sessions: u32,
    insecure_skip_verify: bool,
    ca_file: Option<String>,
    tools: ToolRules,
}

const ENTRY_KEYS: [&str; 12] = [
    "url",
    "type",
    "transport",
    "headers",
    "prefix",
    "disabled",
    "timeoutMs",
    "isolation",
    "maxSessions",
    "insecureSkipVerify",
    "caFile",
    "tools",
];

impl Default for Entry {
    fn default() -> Self {
        Self {
            url: None,
            kind: None,
            headers: BTreeMap::new(),
            prefix: None,
            disabled: false,
            timeout_ms: 60_000,
            isolation: Isolation::default(),
            max_sessions: 20,
            insecure_skip_verify: false,
            ca_file: None,
            tools: ToolRules::default(),
        }
    }
}

struct Reader<'e> {
    environment: Environment<'e>,
    problems: Vec<ConfigError>,
}

/// Reads the members of such a file.
pub(super) fn read(
    members: &[Member<'_>],
    environment: Environment<'_>,
) -> Result<HubConfig, ConfigErrors> {
    let mut reader = Reader { environment, problems: Vec::new() };
    let config = reader.config(members);
    if reader.problems.is_empty() { Ok(config) } else { Err(ConfigErrors(reader.problems)) }
}

impl Reader<'_> {
    fn wrong(&mut self, at: &str, message: impl Into<String>) {
        self.problems.push(ConfigError { at: at.to_owned(), message: message.into() });
    }

    fn config(&mut self, members: &[Member<'_>]) -> HubConfig {
        let mut config = HubConfig {
            schema: SCHEMA,
            servers: Vec::new(),
            filtering: Filtering::default(),
            access: Vec::new(),
            flags: BTreeMap::new(),
            sessions: Sessions::default(),
            limits: Limits::default(),
            connection_pool: ConnectionPool::default(),
            allowed_origins: Vec::new(),
            startup_timeout_ms: 10_000,
            drain_timeout_ms: 300_000,
        };
        let mut lists = 0;
        for member in members {
            let key = member.key.as_ref();
            match key {
                "mcpServers" | "servers" => {
                    lists += 1;
                    config.servers = self.servers(key, member.value);
                }
                "filtering" => {
                    config.filtering = self.strictly_typed(key, member.value).unwrap_or_default()
                }
                "access" => {
                    config.access = self.strictly_typed(key, member.value).unwrap_or_default()
                }
                "flags" => {
                    config.flags = self.strictly_typed(key, member.value).unwrap_or_default()
                }
                "sessions" => {
                    config.sessions = self.strictly_typed(key, member.value).unwrap_or_default()
                }
                "limits" => {
                    config.limits = self.strictly_typed(key, member.value).unwrap_or_default()
                }
                "connectionPool" => {
                    config.connection_pool =
                        self.strictly_typed(key, member.value).unwrap_or_default()
                }
                "allowedOrigins" => {
                    config.allowed_origins = self.typed(key, member.value).unwrap_or_default()
                }
                "startupTimeoutMs" => {
                    config.startup_timeout_ms = self.typed(key, member.value).unwrap_or_default()
                }
                "drainTimeoutMs" => {
                    config.drain_timeout_ms = self.typed(key, member.value).unwrap_or_default()
                }
                "inputs" | "$schema" => {} // VS Code asks people for inputs; a use of one is refused where it is used
                _ => self.wrong(key, UNKNOWN_KEY),
            }
        }
        match lists {
            0 => self.wrong(
                "",
                "has no servers; write {\"mcpServers\": {\"name\": {\"url\": \"https://…\"}}}",
            ),
            1 => {}
            _ => self.wrong("", "has servers twice; keep one of mcpServers and servers"),
        }
        config
    }

    fn servers(&mut self, list: &str, text: &str) -> Vec<Server> {
        let Some(entries) = json_splice::members(text) else {
            self.wrong(list, "is no object; write {\"name\": {\"url\": \"https://…\"}}");
            return Vec::new();
        };
        let alone = entries.len() == 1;
        entries
            .iter()
            .filter_map(|entry| self.server(&format!("{list}.{}", entry.key), entry, alone))
            .collect()
    }

    fn server(&mut self, at: &str, entry: &Member<'_>, alone: bool) -> Option<Server> {
        let Some(members) = json_splice::members(entry.value) else {
            self.wrong(at, "is no object; write {\"url\": \"https://…\"}");
            return None;
        };
        for member in &members {
            let key = member.key.as_ref();
            let message = match key {
                "command" | "args" | "env" | "cwd" | "envFile" => continue,
                "dev" => "is not supported yet; the file itself is read again when it changes",
                _ if ENTRY_KEYS.contains(&key) || CLIENTS_OWN.contains(&key) => continue,
                _ => UNKNOWN_KEY,
            };
            self.wrong(&format!("{at}.{key}"), message);
        }
        if members.iter().any(|member| member.key == "command") {
            self.wrong(at, "runs a command, which serve does not do itself yet; run \"mcp-hub bridge --listen 127.0.0.1:8080 -- COMMAND ARGS\" beside it and write \"url\": \"http://127.0.0.1:8080/mcp\"");
            return None;
        }
        let entry_read: Entry = self.typed(at, entry.value)?;
        if let Some(tools) = members.iter().find(|member| member.key == "tools") {
            self.strictly_typed::<ToolRules>(&format!("{at}.tools"), tools.value)?;
        }
        self.built(at, &entry.key, entry_read, alone)
    }

    fn built(&mut self, at: &str, name: &str, entry: Entry, alone: bool) -> Option<Server> {
        let Some(url) = entry.url else {
            self.wrong(at, "has no url; write \"url\": \"https://…\"");
            return None;
        };
        let transport = match entry.kind.as_deref() {
            None => Transport::Auto,
            Some("http" | "streamable-http" | "streamableHttp" | "streamable_http") => {
                Transport::StreamableHttp
            }
            Some("sse") => Transport::Sse,
            Some(other) => {
                self.wrong(
                    &format!("{at}.type"),
                    format!("\"{other}\" is not known; leave it out or write http"),
                );
                return None;
            }
        };
        let prefix = match entry.prefix {
            Some(off) if off.is_empty() && alone => None,
            Some(prefix) => Some(prefix),
            None => Some(names::sanitized(name).chars().take(24).collect()),
        };
        let header = |(name, value)| Header { name, value: HeaderValue::Value(value) };
        Some(Server {
            name: name.to_owned(),
            prefix,
            url,
            transport,
            headers: entry.headers.into_iter().map(header).collect(),
            ca_file: entry.ca_file,
            insecure_skip_verify: entry.insecure_skip_verify,
            timeout_ms: entry.timeout_ms,
            isolation: entry.isolation,
            max_sessions: entry.max_sessions,
            disabled: entry.disabled,
            tools: entry.tools,
        })
    }

    /// The value with its placeholders replaced, as the type that belongs there.
    fn typed<T: DeserializeOwned>(&mut self, at: &str, text: &str) -> Option<T> {
        let mut value: Value = match serde_json::from_str(text) {
            Ok(value) => value,
            Err(error) => {
                self.wrong(at, error.to_string());
                return None;
            }
        };
        let before = self.problems.len();
        self.expand(at, &mut value);
        if self.problems.len() > before {
            return None;
        }
        if let Ok(typed) = serde_json::from_value(value) {
            return Some(typed);
        }
        // Serde's messages may quote values, and an expanded value may be a secret: this one is of the text as written.
        let unexpanded = serde_json::from_str::<T>(text).err().map(|error| error.to_string());
        let message = unexpanded.unwrap_or_else(|| "a value has a wrong type".into());
        // The position is one in this value, not in the file.
        self.wrong(at, message.split(" at line ").next().unwrap_or_default());
        None
    }

    /// The same, for types that ignore keys that they do not know: a misspelt `deny` would show tools that its author
    /// thinks hidden.
    fn strictly_typed<T: DeserializeOwned + Serialize>(
        &mut self,
        at: &str,
        text: &str,
    ) -> Option<T> {
        let typed: T = self.typed(at, text)?;
        let written = serde_json::from_str(text).unwrap_or_default();
        let known = serde_json::to_value(&typed).unwrap_or_default();
        self.refuse_unknown(at, &written, &known);
        Some(typed)
    }

    fn refuse_unknown(&mut self, at: &str, written: &Value, known: &Value) {
        if let (Value::Array(written), Value::Array(known)) = (written, known) {
            for (position, (written, known)) in written.iter().zip(known).enumerate() {
                self.refuse_unknown(&format!("{at}[{position}]"), written, known);
            }
            return;
        }
        let (Value::Object(written), Value::Object(known)) = (written, known) else { return };
        for (key, value) in written {
            let at = format!("{at}.{key}");
            match known.get(key) {
                Some(known) => self.refuse_unknown(&at, value, known),
                None => self.wrong(&at, UNKNOWN_KEY),
            }
        }
    }

    fn expand(&mut self, at: &str, value: &mut Value) {
        match value {
            Value::String(text) => match expanded(text, self.environment) {
                Ok(new) => *text = new,
                Err(message) => self.wrong(at, message),
            },
            Value::Array(items) => {
                for (position, item) in items.iter_mut().enumerate() {
                    self.expand(&format!("{at}[{position}]"), item);
                }
            }
            Value::Object(members) => {
                for (key, member) in members {
                    self.expand(&format!("{at}.{key}"), member);
                }
            }
            _ => {}
        }
    }
}
