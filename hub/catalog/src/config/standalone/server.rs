//! Reads one server, in any of the dialects of the common clients.

use std::collections::BTreeMap;

use mcphub_hub_wire::config::{
    Command, Header, HeaderValue, Isolation, Server, ToolRules, Transport,
};
use serde_json::{Map, Value};

use super::document::Entry;
use super::{Reader, client_keys};
use crate::names;

/// Keys of a server that the hub reads.
const SERVER_KEYS: [&str; 35] = [
    "args",
    "caFile",
    "command",
    "cwd",
    "disabled",
    "disabledTools",
    "disabled_tools",
    "enabled",
    "enabledTools",
    "enabled_tools",
    "env",
    "envFile",
    "environment",
    "excludeTools",
    "headers",
    "httpUrl",
    "idleTimeout",
    "idleTimeoutMs",
    "includeTools",
    "insecureSkipVerify",
    "isActive",
    "isolation",
    "maxProcesses",
    "maxSessions",
    "prefix",
    "requestOptions",
    "serverUrl",
    "settings",
    "source",
    "timeout",
    "timeoutMs",
    "toolPrefix",
    "tools",
    "type",
    "url",
];
/// Keys that only Gemini CLI has. Its `$NAME` is a placeholder, and its timeouts are milliseconds.
const GEMINI_KEYS: [&str; 4] = ["httpUrl", "includeTools", "excludeTools", "trust"];
/// A timeout up to this number is in seconds, as for Cline; a larger one is in milliseconds.
const MAX_TIMEOUT_SECONDS: u64 = 3600;
const DEFAULT_TIMEOUT_MS: u64 = 60_000;
const DEFAULT_IDLE_TIMEOUT_MS: u64 = 15 * 60_000;
const DEFAULT_SESSIONS: u32 = 20;

/// The members of a server that are not read yet.
struct Fields<'f> {
    at: &'f str,
    members: Map<String, Value>,
    gemini: bool,
}

impl Fields<'_> {
    fn path(&self, key: &str) -> String {
        format!("{}.{key}", self.at)
    }

    /// Takes the first of these keys that has a value.
    fn take(&mut self, keys: &[&'static str]) -> Option<(&'static str, Value)> {
        let values = keys.iter().map(|key| (*key, self.members.remove(*key)));
        let values: Vec<_> = values.collect();
        values.into_iter().find_map(|(key, value)| Some((key, value.filter(|it| !it.is_null())?)))
    }
}

impl Reader<'_> {
    pub(super) fn server(&mut self, entry: &Entry, alone: bool) -> Option<Server> {
        let at = entry.at.as_str();
        let Ok(Value::Object(members)) = serde_json::from_str(&entry.text) else {
            self.report(at, "is not an object; write {\"url\": \"https://…\"}");
            return None;
        };
        let gemini =
            self.placeholders.bare || GEMINI_KEYS.iter().any(|key| members.contains_key(*key));
        let mut fields = Fields { at, members, gemini };
        let disabled = self.is_disabled(&mut fields);
        if !disabled {
            let bare = std::mem::replace(&mut self.placeholders.bare, gemini);
            let mut values = Value::Object(std::mem::take(&mut fields.members));
            // What people wrote about tools must stay as they wrote it.
            let tools = values.as_object_mut().and_then(|members| members.remove("tools"));
            let good = self.expand(at, &mut values);
            self.placeholders.bare = bare;
            let Value::Object(members) = values else { return None };
            fields.members = members;
            fields.members.extend(tools.map(|tools| ("tools".to_owned(), tools)));
            if !good {
                return None;
            }
        }
        self.build(&entry.name, fields, disabled, alone)
    }

    fn build(
        &mut self,
        name: &str,
        mut fields: Fields<'_>,
        mut disabled: bool,
        alone: bool,
    ) -> Option<Server> {
        let errors = self.errors.len();
        let fields = &mut fields;
        let (transport, url) = self.transport(fields);
        let command = self.command(fields);
        let mut server = Server {
            name: name.to_owned(),
            prefix: self.prefix_of(fields, name, alone),
            url: url.unwrap_or_default(),
            command,
            transport,
            headers: self.headers(fields, "headers"),
            ca_file: self.text(fields, &["caFile"]),
            insecure_skip_verify: self.flag(fields, &["insecureSkipVerify"]).unwrap_or_default(),
            timeout_ms: self.timeout(fields),
            isolation: self.isolation(fields),
            max_sessions: self
                .number(fields, &["maxSessions", "maxProcesses"])
                .map_or(DEFAULT_SESSIONS, |most| u32::try_from(most).unwrap_or(u32::MAX)),
            disabled: false,
            tools: self.tools(fields)?,
        };
        self.request_options(fields, &mut server);
        self.zed(fields, &mut disabled);
        for (key, value) in std::mem::take(&mut fields.members) {
            let treatment = client_keys::of_server(&key, &value, &SERVER_KEYS);
            self.treat(&fields.path(&key), treatment);
        }
        if server.command.as_ref().is_some_and(is_this_hub) {
            self.warn(fields.at, "is mcp-hub itself, so it is left out");
            disabled = true;
        }
        server.disabled = disabled;
        match (&server.command, server.url.is_empty()) {
            (None, true) if !disabled => self.report(
                fields.at,
                "has no url and no command; write \"url\": \"https://…\" or \"command\": …",
            ),
            (Some(_), false) => self.report(fields.at, "has url and command; keep one of them"),
            _ => {}
        }
        (self.errors.len() == errors).then_some(server)
    }

    fn is_disabled(&mut self, fields: &mut Fields<'_>) -> bool {
        let disabled = self.flag(fields, &["disabled"]).unwrap_or_default();
        let enabled = self.flag(fields, &["enabled"]).unwrap_or(true);
        let active = self.flag(fields, &["isActive"]).unwrap_or(true);
        disabled || !enabled || !active
    }

    fn transport(&mut self, fields: &mut Fields<'_>) -> (Transport, Option<String>) {
        let kind = self.text(fields, &["type", "transport"]);
        let streamable = fields.members.contains_key("httpUrl");
        let url = self.text(fields, &["httpUrl", "serverUrl", "url"]);
        let transport = match kind.as_deref() {
            None if streamable => Transport::StreamableHttp,
            None | Some("stdio" | "local" | "remote" | "auto" | "Auto") => Transport::Auto,
            Some(
                "http" | "streamable-http" | "streamableHttp" | "streamable_http"
                | "StreamableHttp",
            ) => Transport::StreamableHttp,
            Some("sse" | "Sse") => Transport::Sse,
            Some(other) => {
                let message =
                    format!("\"{other}\" is unknown; omit it, or write stdio, http or sse");
                self.report(&fields.path("type"), message);
                Transport::Auto
            }
        };
        if matches!(kind.as_deref(), Some("stdio" | "local"))
            && !fields.members.contains_key("command")
        {
            self.report(fields.at, "has type stdio and no command; write \"command\": …");
        }
        (transport, url)
    }

    /// The command: a program with `args`, a list (`OpenCode`), or an object (Zed).
    fn command(&mut self, fields: &mut Fields<'_>) -> Option<Command> {
        let mut args = self.list(fields, &["args"]).unwrap_or_default();
        let mut env = self.variables(fields, &["env", "environment"]);
        let cwd = self.text(fields, &["cwd"]).map(|cwd| self.in_workspace(cwd));
        let env_file = self.text(fields, &["envFile"]).map(|file| self.in_workspace(file));
        let idle_timeout_ms = match fields.take(&["idleTimeoutMs", "idleTimeout"]) {
            Some((key, value)) => self.milliseconds(&fields.path(key), &value),
            None => DEFAULT_IDLE_TIMEOUT_MS,
        };
        let (key, value) = fields.take(&["command"])?;
        let program = match value {
            Value::String(program) => program,
            Value::Array(words) => {
                let mut words = words.into_iter().filter_map(|word| match word {
                    Value::String(word) => Some(word),
                    _ => None,
                });
                let program = words.next().unwrap_or_default();
                args.splice(0..0, words);
                program
            }
            Value::Object(members) => {
                let mut inner = Fields { at: fields.at, members, gemini: false };
                args.extend(self.list(&mut inner, &["args"]).unwrap_or_default());
                env.extend(self.variables(&mut inner, &["env"]));
                self.text(&mut inner, &["path"]).unwrap_or_default()
            }
            _ => String::new(),
        };
        if program.is_empty() {
            self.report(&fields.path(key), "is not a program; write \"command\": \"npx\"");
        }
        let program = self.in_home(program);
        Some(Command { program, args, env, env_file, cwd, idle_timeout_ms })
    }

    /// The tools that exist. Every client has its own word for it.
    fn tools(&mut self, fields: &mut Fields<'_>) -> Option<ToolRules> {
        let mut rules = ToolRules::default();
        let mut allowed: Option<Vec<String>> = None;
        match fields.members.remove("tools") {
            Some(Value::Array(names)) => {
                let names = names.iter().filter_map(Value::as_str).map(str::to_owned);
                allowed = Some(names.collect());
            }
            Some(Value::Null) | None => {}
            Some(value) => {
                let at = fields.path("tools");
                rules = self.tool_rules(&at, value)?;
            }
        }
        let included = ["includeTools", "enabledTools", "enabled_tools"];
        if let Some(names) = self.list(fields, &included) {
            if allowed.is_some() || !rules.allow.is_empty() {
                self.report(fields.at, "has two lists of allowed tools; keep one of them");
            }
            allowed = Some(names);
        }
        if let Some(names) = allowed {
            // An empty list of allowed patterns allows all tools, and that of a client none.
            if names.is_empty() {
                rules.deny.push("*".into());
            }
            rules.allow.extend(names.iter().map(|name| without_arguments(name)));
        }
        for key in ["excludeTools", "disabledTools", "disabled_tools"] {
            let denied = self.list(fields, &[key]).unwrap_or_default();
            rules.deny.extend(denied.iter().map(|name| without_arguments(name)));
        }
        Some(rules)
    }

    /// `requestOptions` of Continue.
    fn request_options(&mut self, fields: &mut Fields<'_>, server: &mut Server) {
        let Some((_, Value::Object(members))) = fields.take(&["requestOptions"]) else { return };
        let at = fields.path("requestOptions");
        let mut options = Fields { at: &at, members, gemini: false };
        server.headers.extend(self.headers(&mut options, "headers"));
        if let Some(verify) = self.flag(&mut options, &["verifySsl"]) {
            server.insecure_skip_verify = !verify;
        }
        server.ca_file = self.text(&mut options, &["caBundlePath"]).or(server.ca_file.take());
        for key in options.members.keys() {
            self.warn(&format!("{at}.{key}"), "has no effect on mcp-hub");
        }
    }

    /// `source` and `settings` of Zed, which starts some servers by an extension.
    fn zed(&mut self, fields: &mut Fields<'_>, disabled: &mut bool) {
        if self.text(fields, &["source"]).as_deref() == Some("extension") {
            self.warn(fields.at, "is started by an extension of Zed, so it is left out");
            *disabled = true;
        }
        if let Some((key, value)) = fields.take(&["settings"])
            && !client_keys::is_off(&value)
        {
            self.warn(&fields.path(key), "is for an extension of Zed and has no effect");
        }
    }

    fn prefix_of(&mut self, fields: &mut Fields<'_>, name: &str, alone: bool) -> Option<String> {
        match self.text(fields, &["prefix", "toolPrefix"]) {
            Some(off) if off.is_empty() && alone => None,
            Some(prefix) => Some(prefix),
            None => Some(names::default_prefix(name)),
        }
    }

    fn timeout(&mut self, fields: &mut Fields<'_>) -> u64 {
        match fields.take(&["timeoutMs", "timeout"]) {
            None => DEFAULT_TIMEOUT_MS,
            Some(("timeout", Value::Number(number))) => match number.as_u64() {
                Some(seconds) if seconds <= MAX_TIMEOUT_SECONDS && !fields.gemini => seconds * 1000,
                millis => millis.unwrap_or(DEFAULT_TIMEOUT_MS),
            },
            Some((key, value)) => self.milliseconds(&fields.path(key), &value),
        }
    }

    fn isolation(&mut self, fields: &mut Fields<'_>) -> Isolation {
        let Some((key, value)) = fields.take(&["isolation"]) else { return Isolation::default() };
        self.typed(&fields.path(key), &value).unwrap_or_default()
    }

    fn headers(&mut self, fields: &mut Fields<'_>, key: &'static str) -> Vec<Header> {
        let headers = self.variables(fields, &[key]);
        let header = |(name, value): (String, Option<String>)| {
            Some(Header { name, value: HeaderValue::Value(value?) })
        };
        headers.into_iter().filter_map(header).collect()
    }

    fn text(&mut self, fields: &mut Fields<'_>, keys: &[&'static str]) -> Option<String> {
        match fields.take(keys)? {
            (_, Value::String(text)) => Some(text),
            (key, _) => self.wrong_type(&fields.path(key), "a string"),
        }
    }

    fn flag(&mut self, fields: &mut Fields<'_>, keys: &[&'static str]) -> Option<bool> {
        match fields.take(keys)? {
            (_, Value::Bool(flag)) => Some(flag),
            (key, _) => self.wrong_type(&fields.path(key), "true or false"),
        }
    }

    fn number(&mut self, fields: &mut Fields<'_>, keys: &[&'static str]) -> Option<u64> {
        let (key, value) = fields.take(keys)?;
        value.as_u64().or_else(|| self.wrong_type(&fields.path(key), "a number"))
    }

    fn list(&mut self, fields: &mut Fields<'_>, keys: &[&'static str]) -> Option<Vec<String>> {
        let (key, value) = fields.take(keys)?;
        let words = value.as_array().and_then(|words| words.iter().map(scalar).collect());
        words.or_else(|| self.wrong_type(&fields.path(key), "a list of strings"))
    }

    /// Names with values. `null` removes a variable.
    fn variables(
        &mut self,
        fields: &mut Fields<'_>,
        keys: &[&'static str],
    ) -> BTreeMap<String, Option<String>> {
        let Some((key, value)) = fields.take(keys) else { return BTreeMap::new() };
        let Value::Object(members) = value else {
            self.wrong_type::<()>(&fields.path(key), "an object of strings");
            return BTreeMap::new();
        };
        let mut variables = BTreeMap::new();
        for (name, value) in members {
            let text = scalar(&value);
            if text.is_none() && !value.is_null() {
                self.wrong_type::<()>(&format!("{}.{name}", fields.path(key)), "a string");
            }
            variables.insert(name, text);
        }
        variables
    }

    /// The value is not quoted, because it may be a secret.
    fn wrong_type<T>(&mut self, at: &str, expected: &str) -> Option<T> {
        self.report(at, format!("must be {expected}"));
        None
    }

    fn in_workspace(&self, path: String) -> String {
        let path = self.in_home(path);
        if path.starts_with('/') || self.placeholders.workspace.is_empty() {
            return path;
        }
        format!("{}/{path}", self.placeholders.workspace)
    }

    fn in_home(&self, path: String) -> String {
        let home = || (self.placeholders.environment)("HOME");
        match path.strip_prefix("~/").and_then(|rest| Some((home()?, rest))) {
            Some((home, rest)) => format!("{home}/{rest}"),
            None => path,
        }
    }
}

/// A string, or a number or a flag as a string.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

/// Gemini CLI allows `tool(arguments)` in a list of tools.
fn without_arguments(name: &str) -> String {
    name.split('(').next().unwrap_or(name).to_owned()
}

/// A client that starts the hub has it in its own file. The hub must not start itself.
fn is_this_hub(command: &Command) -> bool {
    let program = command.program.rsplit('/').next().unwrap_or_default();
    program == "mcp-hub" && command.args.first().is_some_and(|arg| arg == "serve")
}
