//! Config files: what `serve` reads and `check` checks, by the same code.
//!
//! Two forms: the config that the operator compiled ([`HubConfig`]), and the `mcpServers` JSON that people already
//! have ([`standalone`]). Both end as a [`HubConfig`] or as a list of [`ConfigError`]s.

mod filtering;
mod placeholder;
mod standalone;

use std::collections::{HashMap, HashSet};
use std::fmt;

use mcphub_hub_wire::config::{HubConfig, SCHEMA, Server, Transport};

use crate::names;
use mcphub_hub_protocol::json_splice;

/// One thing that is wrong, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Path in the file: `mcpServers.github.headers.Authorization`; empty for the file itself.
    pub at: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// All that is wrong with a file, one line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(pub Vec<ConfigError>);

/// The environment, as far as placeholders may read it.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads a config file of either form.
pub fn parse(text: &str, environment: Environment<'_>) -> Result<HubConfig, ConfigErrors> {
    let members =
        json_splice::members(text).ok_or_else(|| ConfigErrors(vec![not_an_object(text)]))?;
    let schema = members.iter().any(|member| member.key == "schema");
    let config = if schema { compiled(text)? } else { standalone::read(&members, environment)? };
    let problems = problems(&config);
    if problems.is_empty() { Ok(config) } else { Err(ConfigErrors(problems)) }
}

/// Reads what the operator compiled.
pub fn compiled(text: &str) -> Result<HubConfig, ConfigErrors> {
    let one = |message: String| ConfigErrors(vec![ConfigError { at: String::new(), message }]);
    let config: HubConfig = serde_json::from_str(text)
        .map_err(|error| one(format!("is no compiled config (it has \"schema\"): {error}")))?;
    if config.schema == SCHEMA {
        Ok(config)
    } else {
        Err(one(format!(
            "has schema {}, this mcp-hub knows {SCHEMA}; use the image of the operator's version",
            config.schema
        )))
    }
}

/// What is wrong in a config whatever it was written as.
fn problems(config: &HubConfig) -> Vec<ConfigError> {
    let mut found = Vec::new();
    let mut seen_names = HashSet::new();
    let mut seen_prefixes: HashMap<&str, &str> = HashMap::new();
    for server in &config.servers {
        let mut wrong = |what: &str, message: String| {
            let at = if what.is_empty() {
                server.name.clone()
            } else {
                format!("{}.{what}", server.name)
            };
            found.push(ConfigError { at: format!("servers.{at}"), message });
        };
        if !seen_names.insert(&server.name) {
            wrong("", "is there twice; give the second another name".into());
        }
        match server.prefix.as_deref() {
            None if config.servers.len() > 1 => {
                wrong(
                    "prefix",
                    "is off, which only a hub with one server may; give it a prefix".into(),
                );
            }
            None => {}
            Some(prefix) => {
                if let Some(message) = prefix_problem(prefix) {
                    wrong("prefix", message);
                }
                if let Some(other) = seen_prefixes.insert(prefix, &server.name) {
                    wrong(
                        "prefix",
                        format!(
                            "\"{prefix}\" is also that of \"{other}\"; their tools would collide, give one another prefix"
                        ),
                    );
                }
            }
        }
        server_problems(server, &mut wrong);
    }
    if config.limits.max_concurrent == 0 || config.limits.max_request_bytes == 0 {
        found.push(ConfigError {
            at: "limits".into(),
            message: "0 would refuse every request; leave it out for the default".into(),
        });
    }
    if config.sessions.max == 0 {
        found.push(ConfigError {
            at: "sessions.max".into(),
            message: "0 would refuse every session; leave it out for the default".into(),
        });
    }
    filtering::problems(config, &mut |at, message| found.push(ConfigError { at, message }));
    found
}

fn prefix_problem(prefix: &str) -> Option<String> {
    if prefix == names::RESERVED_PREFIX {
        Some(format!("\"{prefix}\" is that of the hub's own tools; choose another"))
    } else if prefix != names::sanitized(prefix) || prefix.len() > 24 {
        Some(format!("\"{prefix}\" is not 1 to 24 of A-Z a-z 0-9 _ -"))
    } else {
        None
    }
}

fn server_problems(server: &Server, wrong: &mut impl FnMut(&str, String)) {
    let url = &server.url;
    let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    if host.is_none_or(|rest| rest.is_empty() || rest.starts_with('/')) {
        // Not quoted: a placeholder may have put a secret into it.
        wrong("url", "is not an http or https URL; write https://host/path".into());
    } else if host
        .and_then(|rest| rest.split('/').next())
        .is_some_and(|authority| authority.contains('@'))
    {
        wrong(
            "url",
            "has credentials in it, and URLs end up in logs; send them in a header".into(),
        );
    }
    if server.transport == Transport::Sse {
        wrong("transport", "Sse (HTTP+SSE of 2024-11-05) is not supported yet; most such servers also speak Streamable HTTP, usually at /mcp".into());
    }
    if server.max_sessions == 0 {
        wrong("maxSessions", "0 would refuse every call; leave it out for the default".into());
    }
    if server.timeout_ms == 0 {
        wrong("timeoutMs", "0 would end every call at once; leave it out for the default".into());
    }
    for header in &server.headers {
        if header.name.is_empty()
            || !header
                .name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
        {
            wrong("headers", format!("\"{}\" is no header name", header.name));
        }
    }
}

fn not_an_object(text: &str) -> ConfigError {
    let message = match serde_json::from_str::<serde_json::Value>(text) {
        Ok(_) => {
            "is JSON, but no object; write {\"mcpServers\": {\"name\": {\"url\": \"https://…\"}}}"
                .to_owned()
        }
        Err(error) if text.lines().any(|line| line.trim_start().starts_with("//")) => {
            format!("is not JSON: {error}; comments are not allowed, take them out")
        }
        Err(error) => format!("is not JSON: {error}"),
    };
    ConfigError { at: String::new(), message }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.at.is_empty() {
            write!(f, "the file {}", self.message)
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
