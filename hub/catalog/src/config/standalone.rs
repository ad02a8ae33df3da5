//! Reads the JSON files of MCP clients, and what people add to them for the hub.
//!
//! [`document`] finds the servers in a file, [`server`] reads one of them, and [`client_keys`] says
//! what to do about keys that are not for a hub.

mod client_keys;
mod document;
mod resource_words;
mod server;
mod typed;

use std::collections::BTreeMap;

use mcphub_hub_protocol::json_splice::{self, Member};
use mcphub_hub_wire::config::{
    ConnectionPool, Filtering, HubConfig, Limits, SCHEMA, Server, Sessions,
};
use serde_json::Value;

use self::client_keys::Treatment;
use self::document::Entry;
use super::placeholder::Placeholders;
use super::{ConfigError, ConfigErrors, Environment, Loaded, SourceFile};

/// Keys at the top of a file that the hub reads.
const FILE_KEYS: [&str; 21] = [
    "mcpServers",
    "servers",
    "context_servers",
    "mcp",
    "inputs",
    "filtering",
    "access",
    "flags",
    "sessions",
    "limits",
    "connectionPool",
    "allowedOrigins",
    "allowedHosts",
    "startupTimeoutMs",
    "startupTimeout",
    "drainTimeoutMs",
    "drainTimeout",
    "excludeMCPServers",
    "allowMCPServers",
    "excludeTools",
    "permissions",
];

/// Folders in which clients keep the files of a project.
const PROJECT_FOLDERS: [&str; 6] =
    [".vscode", ".cursor", ".zed", ".gemini", ".claude", ".continue"];

const NO_SERVERS: &str =
    "has no servers; write {\"mcpServers\": {\"name\": {\"url\": \"https://…\"}}}";

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
        allowed_hosts: Vec::new(),
        startup_timeout_ms: 10_000,
        drain_timeout_ms: 300_000,
    }
}

/// What the settings of clients forbid, beside the servers themselves.
#[derive(Default)]
struct Restrictions {
    /// If there is a list, no other server is enabled.
    allowed_servers: Option<Vec<String>>,
    excluded_servers: Vec<String>,
    /// Tools by server; `None` is every server.
    denied_tools: Vec<(Option<String>, String)>,
}

struct Reader<'e> {
    config: HubConfig,
    restrictions: Restrictions,
    /// The file of each section and of each server.
    origins: BTreeMap<String, &'e str>,
    placeholders: Placeholders<'e>,
    /// Names the file in paths, if there are several.
    prefix: String,
    errors: Vec<ConfigError>,
    /// By message and key, the places where the key is.
    warnings: BTreeMap<(String, String), Vec<String>>,
}

/// Reads and merges files. A server in a later file replaces one of the same name.
pub(super) fn read<'e>(
    files: &[SourceFile<'e>],
    environment: Environment<'e>,
) -> Result<Loaded, ConfigErrors> {
    let mut reader = Reader {
        config: empty_config(),
        restrictions: Restrictions::default(),
        origins: BTreeMap::new(),
        placeholders: Placeholders {
            environment,
            workspace: "",
            inputs: BTreeMap::new(),
            bare: false,
        },
        prefix: String::new(),
        errors: Vec::new(),
        warnings: BTreeMap::new(),
    };
    let mut lists = 0;
    for file in files {
        lists += reader.file(file, files.len() > 1);
    }
    if lists == 0 && reader.errors.is_empty() {
        reader.errors.push(ConfigError { at: String::new(), message: NO_SERVERS.into() });
    }
    reader.apply_restrictions();
    if reader.errors.is_empty() {
        Ok(Loaded { warnings: reader.warnings(), config: reader.config })
    } else {
        Err(ConfigErrors(reader.errors))
    }
}

/// Whether a file has at least one server.
pub(super) fn has_servers(file: &SourceFile<'_>) -> bool {
    let Ok(json) = document::to_json(file.name, file.text) else { return false };
    let members = json_splice::members(&json).unwrap_or_default();
    let project = document::project_members(&members, file.project);
    members
        .iter()
        .chain(&project)
        .filter_map(document::servers)
        .any(|entries| entries.is_ok_and(|entries| !entries.is_empty()))
}

impl<'e> Reader<'e> {
    fn report(&mut self, at: &str, message: impl Into<String>) {
        self.errors
            .push(ConfigError { at: format!("{}{at}", self.prefix), message: message.into() });
    }

    fn warn(&mut self, at: &str, message: impl Into<String>) {
        // The settings of a client are one line, however many there are.
        let key = at.rsplit_once('.').map(|(_, key)| key.to_owned()).unwrap_or_default();
        let places = self.warnings.entry((message.into(), key)).or_default();
        places.push(format!("{}{at}", self.prefix));
    }

    /// One line for each key, however many servers have it.
    fn warnings(&self) -> Vec<String> {
        let line = |((message, _), places): (&(String, String), &Vec<String>)| {
            format!("{}: {message}", places.join(", "))
        };
        self.warnings.iter().map(line).collect()
    }

    /// Reads a file. Returns how many lists of servers it has.
    fn file(&mut self, file: &SourceFile<'e>, one_of_many: bool) -> usize {
        self.prefix = if one_of_many { format!("{}: ", file.name) } else { String::new() };
        let json = match document::to_json(file.name, file.text) {
            Ok(json) => json,
            Err(message) => {
                self.report("", message);
                return 0;
            }
        };
        let Some(members) = json_splice::members(&json) else {
            self.report(
                "",
                "is JSON, but not an object; write {\"mcpServers\": {\"name\": {\"url\": \
                 \"https://…\"}}}",
            );
            return 0;
        };
        self.placeholders.workspace = workspace(file.folder);
        self.placeholders.bare = file.folder.ends_with("/.gemini");
        self.placeholders.inputs = members
            .iter()
            .find(|member| member.key == "inputs")
            .map(|inputs| input_defaults(inputs.value))
            .unwrap_or_default();
        let project = document::project_members(&members, file.project);
        let mut lists = 0;
        for member in members.iter().chain(&project).filter(|member| member.key != "projects") {
            match document::servers(member) {
                Some(Ok(entries)) => {
                    lists += 1;
                    self.servers(file, &entries);
                }
                Some(Err(message)) => self.report(&member.key, message),
                None => self.section(file, member),
            }
        }
        lists
    }

    fn servers(&mut self, file: &SourceFile<'e>, entries: &[Entry]) {
        let alone = entries.len() == 1;
        for entry in entries {
            let Some(server) = self.server(entry, alone) else { continue };
            let earlier = self.origins.insert(format!("server {}", server.name), file.name);
            let place = self.config.servers.iter_mut().find(|it| it.name == server.name);
            match (earlier, place) {
                (Some(earlier), Some(place)) if earlier != file.name => {
                    *place = server;
                    self.warn(&entry.at, format!("replaces the server of that name in {earlier}"));
                }
                _ => self.config.servers.push(server),
            }
        }
    }

    /// Reads a member of a file that is no list of servers.
    fn section(&mut self, file: &SourceFile<'e>, member: &Member<'_>) {
        let key = member.key.as_ref();
        let value: Value = serde_json::from_str(member.value).unwrap_or_default();
        if self.restriction(key, &value) {
            return;
        }
        if FILE_KEYS.contains(&key)
            && key != "inputs"
            && let Some(earlier) = self.origins.insert(format!("section {key}"), file.name)
            && earlier != file.name
        {
            self.report(key, format!("is in {earlier} too; keep one of them"));
            return;
        }
        match key {
            "inputs" => {}
            "filtering" => {
                let mut value = value;
                resource_words::filtering(&mut value);
                self.config.filtering = self.typed_strictly(key, &value).unwrap_or_default();
            }
            "access" => self.config.access = self.typed_strictly(key, &value).unwrap_or_default(),
            "flags" => self.config.flags = self.typed_strictly(key, &value).unwrap_or_default(),
            "sessions" => {
                self.config.sessions = self.typed_section(key, value).unwrap_or_default();
            }
            "limits" => self.config.limits = self.typed_section(key, value).unwrap_or_default(),
            "connectionPool" => {
                self.config.connection_pool = self.typed_section(key, value).unwrap_or_default();
            }
            "allowedOrigins" => {
                self.config.allowed_origins = self.typed(key, &value).unwrap_or_default();
            }
            "allowedHosts" => {
                self.config.allowed_hosts = self.typed(key, &value).unwrap_or_default();
            }
            "startupTimeoutMs" | "startupTimeout" => {
                self.config.startup_timeout_ms = self.milliseconds(key, &value);
            }
            "drainTimeoutMs" | "drainTimeout" => {
                self.config.drain_timeout_ms = self.milliseconds(key, &value);
            }
            _ => self.treat(key, client_keys::of_file(key, &value, &FILE_KEYS)),
        }
    }

    /// Takes what clients' settings say about which servers and tools may be used. False if the
    /// member says nothing about it.
    fn restriction(&mut self, key: &str, value: &Value) -> bool {
        let names = |value: Option<&Value>| -> Vec<String> {
            let items = value.and_then(Value::as_array).into_iter().flatten();
            items.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let restrictions = &mut self.restrictions;
        match key {
            "allowMCPServers" => restrictions.allowed_servers = Some(names(Some(value))),
            "excludeMCPServers" | "disabledMcpServers" | "disabledMcpjsonServers" => {
                restrictions.excluded_servers.extend(names(Some(value)));
            }
            "mcp" => {
                if value.get("allowed").is_some() {
                    restrictions.allowed_servers = Some(names(value.get("allowed")));
                }
                restrictions.excluded_servers.extend(names(value.get("excluded")));
            }
            "excludeTools" => {
                let denied = names(Some(value)).into_iter().map(|tool| (None, tool));
                restrictions.denied_tools.extend(denied);
            }
            "tools" => {
                let denied = names(value.get("exclude")).into_iter().map(|tool| (None, tool));
                restrictions.denied_tools.extend(denied);
                if let Some(sandbox) = value.get("sandbox") {
                    self.treat("tools.sandbox", client_keys::of_file("sandbox", sandbox, &[]));
                }
            }
            "permissions" => {
                for rule in names(value.get("deny")) {
                    let Some(rest) = rule.strip_prefix("mcp__") else { continue };
                    let (server, tool) = rest.split_once("__").unwrap_or((rest, "*"));
                    restrictions.denied_tools.push((Some(server.to_owned()), tool.to_owned()));
                }
            }
            _ => return false,
        }
        true
    }

    fn treat(&mut self, at: &str, treatment: Treatment) {
        match treatment {
            Treatment::Ignore => {}
            Treatment::Warn(message) => self.warn(at, message),
            Treatment::Reject(message) => self.report(at, message),
        }
    }

    fn apply_restrictions(&mut self) {
        let Restrictions { allowed_servers, excluded_servers, denied_tools } = &self.restrictions;
        for server in &mut self.config.servers {
            let Server { name, disabled, tools, .. } = server;
            let allowed = allowed_servers.as_ref().is_none_or(|names| names.contains(name));
            *disabled |= !allowed || excluded_servers.contains(name);
            let denied =
                denied_tools.iter().filter(|(of, _)| of.as_ref().is_none_or(|of| of == name));
            tools.deny.extend(denied.map(|(_, tool)| tool.clone()));
        }
    }
}

/// The folder of the project that files in this folder belong to.
fn workspace(folder: &str) -> &str {
    let (parent, name) = folder.rsplit_once('/').unwrap_or((".", folder));
    if PROJECT_FOLDERS.contains(&name) { parent } else { folder }
}

/// The defaults of the `inputs` of VS Code, by id.
fn input_defaults(text: &str) -> BTreeMap<String, Option<String>> {
    let inputs: Vec<Value> = serde_json::from_str(text).unwrap_or_default();
    let text = |input: &Value, key: &str| input.get(key).and_then(Value::as_str).map(str::to_owned);
    inputs.iter().filter_map(|input| Some((text(input, "id")?, text(input, "default")))).collect()
}
