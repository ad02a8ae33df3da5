//! Reads and checks config files, for `serve` and for `check`.
//!
//! There are two formats: the config that the operator compiled ([`HubConfig`]), and the files of
//! MCP clients that people already have ([`standalone`]). Both become a [`HubConfig`] or
//! [`ConfigErrors`].

mod filtering;
mod placeholder;
mod standalone;

use std::collections::{HashMap, HashSet};
use std::fmt;

use mcphub_hub_protocol::json_splice;
use mcphub_hub_wire::config::{HubConfig, SCHEMA, Server};

use crate::names;

/// An error in a config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The path in the file, such as `mcpServers.github.headers.Authorization`; empty for the file
    /// itself.
    pub at: String,
    /// What is wrong, and what to write instead.
    pub message: String,
}

/// All errors of a file. Displayed in one line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(pub Vec<ConfigError>);

/// Looks up the environment variables of placeholders.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A config file.
#[derive(Debug, Clone, Copy)]
pub struct SourceFile<'a> {
    /// Its path, for messages. Its extension says whether it is YAML.
    pub name: &'a str,
    /// The absolute path of the folder that it is in.
    pub folder: &'a str,
    /// The absolute path of the project that is worked on. The settings of Claude Code have servers
    /// by project.
    pub project: &'a str,
    pub text: &'a str,
}

/// What files say.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    pub config: HubConfig,
    /// What the hub ignores. One line each, with the path in the file.
    pub warnings: Vec<String>,
}

/// Reads config files. There may be several that people wrote, but only one that the operator
/// compiled.
pub fn load<'a>(
    files: &[SourceFile<'a>],
    environment: Environment<'a>,
) -> Result<Loaded, ConfigErrors> {
    let loaded = match files {
        [file] if is_compiled(file.text) => {
            Loaded { config: parse_compiled(file.text)?, warnings: Vec::new() }
        }
        files => standalone::read(files, environment)?,
    };
    let errors = check(&loaded.config);
    if errors.is_empty() { Ok(loaded) } else { Err(ConfigErrors(errors)) }
}

/// Reads one config file of either format.
pub fn parse(text: &str, environment: Environment<'_>) -> Result<HubConfig, ConfigErrors> {
    let file = SourceFile { name: "", folder: "", project: "", text };
    load(&[file], environment).map(|loaded| loaded.config)
}

/// Whether a file of a client has servers. A file that cannot be read has none.
pub fn has_servers(file: &SourceFile<'_>) -> bool {
    standalone::has_servers(file)
}

/// Expands the placeholders of a text that is not in a file.
pub fn expand(text: &str, environment: Environment<'_>) -> Result<String, String> {
    placeholder::Placeholders {
        environment,
        workspace: ".",
        inputs: std::collections::BTreeMap::new(),
        bare: false,
    }
    .expand(text)
}

fn is_compiled(text: &str) -> bool {
    json_splice::members(text)
        .is_some_and(|members| members.iter().any(|member| member.key == "schema"))
}

/// Reads a config that the operator compiled, without checking it.
pub fn parse_compiled(text: &str) -> Result<HubConfig, ConfigErrors> {
    let one = |message: String| ConfigErrors(vec![ConfigError { at: String::new(), message }]);
    let config: HubConfig = serde_json::from_str(text).map_err(|error| {
        one(format!("is not a compiled config, although it has \"schema\": {error}"))
    })?;
    if config.schema == SCHEMA {
        Ok(config)
    } else {
        Err(one(format!(
            "has schema {}, but this mcp-hub supports {SCHEMA}; use the image of the operator's \
             version",
            config.schema
        )))
    }
}

/// Checks a config of either format.
fn check(config: &HubConfig) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    let mut seen_names = HashSet::new();
    let mut seen_prefixes: HashMap<&str, &str> = HashMap::new();
    for server in &config.servers {
        let mut report = |field: &str, message: String| {
            let at = if field.is_empty() {
                server.name.clone()
            } else {
                format!("{}.{field}", server.name)
            };
            errors.push(ConfigError { at: format!("servers.{at}"), message });
        };
        if !seen_names.insert(&server.name) {
            report("", "is defined twice; rename one of the servers".into());
        }
        match server.prefix.as_deref() {
            None if config.servers.len() > 1 => {
                report(
                    "prefix",
                    "is off, which is allowed only in a hub with one server; set a prefix".into(),
                );
            }
            None => {}
            Some(prefix) => {
                if let Some(message) = names::prefix_error(prefix) {
                    report("prefix", message);
                }
                if let Some(other) = seen_prefixes.insert(prefix, &server.name) {
                    report(
                        "prefix",
                        format!(
                            "\"{prefix}\" is also the prefix of \"{other}\", so their tools would \
                             collide; change one of them"
                        ),
                    );
                }
            }
        }
        check_server(server, &mut report);
    }
    if config.limits.max_concurrent == 0 || config.limits.max_request_bytes == 0 {
        errors.push(ConfigError {
            at: "limits".into(),
            message: "must not be 0, because that rejects every request; omit it for the default"
                .into(),
        });
    }
    if config.sessions.max == 0 {
        errors.push(ConfigError {
            at: "sessions.max".into(),
            message: "must not be 0, because that rejects every session; omit it for the default"
                .into(),
        });
    }
    filtering::check(config, &mut |at, message| errors.push(ConfigError { at, message }));
    errors
}

fn check_server(server: &Server, report: &mut impl FnMut(&str, String)) {
    if server.command.is_none() && !server.disabled {
        check_url(&server.url, report);
    }
    if server.max_sessions == 0 {
        report(
            "maxSessions",
            "must not be 0, because that rejects every call; omit it for the default".into(),
        );
    }
    if server.timeout_ms == 0 {
        report(
            "timeoutMs",
            "must not be 0, because that ends every call at once; omit it for the default".into(),
        );
    }
    for header in &server.headers {
        if header.name.is_empty()
            || !header
                .name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
        {
            report("headers", format!("\"{}\" is not a valid header name", header.name));
        }
    }
}

fn check_url(url: &str, report: &mut impl FnMut(&str, String)) {
    let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    if host.is_none_or(|rest| rest.is_empty() || rest.starts_with('/')) {
        // The URL is not quoted, because a placeholder may have put a secret into it.
        report("url", "is not an http or https URL; write https://host/path".into());
    } else if host
        .and_then(|rest| rest.split('/').next())
        .is_some_and(|authority| authority.contains('@'))
    {
        report("url", "contains credentials, and URLs are logged; send them in a header".into());
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.at.is_empty() {
            write!(f, "the file {}", self.message)
        } else if let Some(file) = self.at.strip_suffix(": ") {
            write!(f, "{file} {}", self.message)
        } else {
            write!(f, "{}: {}", self.at, self.message)
        }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

#[cfg(test)]
mod tests;
