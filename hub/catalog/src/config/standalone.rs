//! Reads the `mcpServers` JSON of MCP clients (`servers` in VS Code).

use std::collections::BTreeMap;

use mcphub_hub_protocol::json_splice::{self, Member};
use mcphub_hub_wire::config::{
    ConnectionPool, Filtering, Header, HeaderValue, HubConfig, Isolation, Limits, SCHEMA, Server,
    Sessions, ToolRules, Transport,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::placeholder::expand;
use super::{ConfigError, ConfigErrors, Environment};
use crate::names;

/// Keys of a server that only clients use. A hub ignores them.
const CLIENT_KEYS: [&str; 8] =
    ["alwaysAllow", "autoApprove", "description", "icon", "name", "gallery", "version", "trust"];

const UNKNOWN_KEY: &str = "is unknown to mcp-hub; remove it";

/// One server in the file.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ServerEntry {
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

const SERVER_KEYS: [&str; 12] = [
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

impl Default for ServerEntry {
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

fn empty_config() -> HubConfig {
    HubConfig {
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
    }
}

struct Reader<'e> {
    environment: Environment<'e>,
    errors: Vec<ConfigError>,
}

/// Reads the members of a config file.
pub(super) fn read(
    members: &[Member<'_>],
    environment: Environment<'_>,
) -> Result<HubConfig, ConfigErrors> {
    let mut reader = Reader { environment, errors: Vec::new() };
    let config = reader.config(members);
    if reader.errors.is_empty() { Ok(config) } else { Err(ConfigErrors(reader.errors)) }
}

impl Reader<'_> {
    fn report(&mut self, at: &str, message: impl Into<String>) {
        self.errors.push(ConfigError { at: at.to_owned(), message: message.into() });
    }

    fn config(&mut self, members: &[Member<'_>]) -> HubConfig {
        let mut config = empty_config();
        let mut lists = 0;
        for member in members {
            let key = member.key.as_ref();
            match key {
                "mcpServers" | "servers" => {
                    lists += 1;
                    config.servers = self.servers(key, member.value);
                }
                "filtering" => {
                    config.filtering = self.typed_strictly(key, member.value).unwrap_or_default();
                }
                "access" => {
                    config.access = self.typed_strictly(key, member.value).unwrap_or_default();
                }
                "flags" => {
                    config.flags = self.typed_strictly(key, member.value).unwrap_or_default();
                }
                "sessions" => {
                    config.sessions = self.typed_strictly(key, member.value).unwrap_or_default();
                }
                "limits" => {
                    config.limits = self.typed_strictly(key, member.value).unwrap_or_default();
                }
                "connectionPool" => {
                    config.connection_pool =
                        self.typed_strictly(key, member.value).unwrap_or_default();
                }
                "allowedOrigins" => {
                    config.allowed_origins = self.typed(key, member.value).unwrap_or_default();
                }
                "startupTimeoutMs" => {
                    config.startup_timeout_ms = self.typed(key, member.value).unwrap_or_default();
                }
                "drainTimeoutMs" => {
                    config.drain_timeout_ms = self.typed(key, member.value).unwrap_or_default();
                }
                // VS Code asks the user for inputs. A placeholder that uses one is rejected.
                "inputs" | "$schema" => {}
                _ => self.report(key, UNKNOWN_KEY),
            }
        }
        match lists {
            0 => self.report(
                "",
                "has no servers; write {\"mcpServers\": {\"name\": {\"url\": \"https://…\"}}}",
            ),
            1 => {}
            _ => self.report("", "has both mcpServers and servers; keep one of them"),
        }
        config
    }

    fn servers(&mut self, list: &str, text: &str) -> Vec<Server> {
        let Some(entries) = json_splice::members(text) else {
            self.report(list, "is not an object; write {\"name\": {\"url\": \"https://…\"}}");
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
            self.report(at, "is not an object; write {\"url\": \"https://…\"}");
            return None;
        };
        for member in &members {
            let key = member.key.as_ref();
            let message = match key {
                "command" | "args" | "env" | "cwd" | "envFile" => continue,
                "dev" => "is not supported yet; the config file itself is reloaded when it changes",
                _ if SERVER_KEYS.contains(&key) || CLIENT_KEYS.contains(&key) => continue,
                _ => UNKNOWN_KEY,
            };
            self.report(&format!("{at}.{key}"), message);
        }
        if members.iter().any(|member| member.key == "command") {
            self.report(
                at,
                "runs a command, which serve does not support yet; run \"mcp-hub bridge --listen \
                 127.0.0.1:8080 -- COMMAND ARGS\" and write \"url\": \
                 \"http://127.0.0.1:8080/mcp\"",
            );
            return None;
        }
        let server: ServerEntry = self.typed(at, entry.value)?;
        if let Some(tools) = members.iter().find(|member| member.key == "tools") {
            self.typed_strictly::<ToolRules>(&format!("{at}.tools"), tools.value)?;
        }
        self.build(at, &entry.key, server, alone)
    }

    fn build(&mut self, at: &str, name: &str, entry: ServerEntry, alone: bool) -> Option<Server> {
        let Some(url) = entry.url else {
            self.report(at, "has no url; write \"url\": \"https://…\"");
            return None;
        };
        let transport = match entry.kind.as_deref() {
            None => Transport::Auto,
            Some("http" | "streamable-http" | "streamableHttp" | "streamable_http") => {
                Transport::StreamableHttp
            }
            Some("sse") => Transport::Sse,
            Some(other) => {
                self.report(
                    &format!("{at}.type"),
                    format!("\"{other}\" is unknown; omit it or write http"),
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

    /// Expands the placeholders of a value and converts it.
    fn typed<T: DeserializeOwned>(&mut self, at: &str, text: &str) -> Option<T> {
        let mut value: Value = match serde_json::from_str(text) {
            Ok(value) => value,
            Err(error) => {
                self.report(at, error.to_string());
                return None;
            }
        };
        let before = self.errors.len();
        self.expand(at, &mut value);
        if self.errors.len() > before {
            return None;
        }
        if let Ok(typed) = serde_json::from_value(value) {
            return Some(typed);
        }
        // The message of serde may quote a value, and an expanded value may be a secret. So the
        // message is about the text before expansion.
        let unexpanded = serde_json::from_str::<T>(text).err().map(|error| error.to_string());
        let message = unexpanded.unwrap_or_else(|| "a value has a wrong type".into());
        // The position is relative to this value, not to the file.
        self.report(at, message.split(" at line ").next().unwrap_or_default());
        None
    }

    /// The same for types that ignore unknown keys. A misspelled `deny` would expose tools that its
    /// author wanted to hide.
    fn typed_strictly<T: DeserializeOwned + Serialize>(
        &mut self,
        at: &str,
        text: &str,
    ) -> Option<T> {
        let typed: T = self.typed(at, text)?;
        let original = serde_json::from_str(text).unwrap_or_default();
        let known = serde_json::to_value(&typed).unwrap_or_default();
        self.reject_unknown(at, &original, &known);
        Some(typed)
    }

    fn reject_unknown(&mut self, at: &str, written: &Value, known: &Value) {
        if let (Value::Array(written), Value::Array(known)) = (written, known) {
            for (position, (written, known)) in written.iter().zip(known).enumerate() {
                self.reject_unknown(&format!("{at}[{position}]"), written, known);
            }
            return;
        }
        let (Value::Object(written), Value::Object(known)) = (written, known) else { return };
        for (key, value) in written {
            let at = format!("{at}.{key}");
            match known.get(key) {
                Some(known) => self.reject_unknown(&at, value, known),
                None => self.report(&at, UNKNOWN_KEY),
            }
        }
    }

    fn expand(&mut self, at: &str, value: &mut Value) {
        match value {
            Value::String(text) => match expand(text, self.environment) {
                Ok(new) => *text = new,
                Err(message) => self.report(at, message),
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
