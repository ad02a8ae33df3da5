//! What the hub does about keys that it does not know.

use serde_json::Value;

/// Keys that only describe a server to its user.
const DESCRIPTIONS: [&str; 13] = [
    "$comment",
    "//",
    "_comment",
    "author",
    "comment",
    "description",
    "displayName",
    "gallery",
    "icon",
    "name",
    "registryUrl",
    "tags",
    "version",
];

/// Keys for what a client asks its user, or shows. The client in front of the hub decides that.
const STEER_THE_CLIENT: [&str; 10] = [
    "alwaysAllow",
    "alwaysLoad",
    "autoApprove",
    "autoStart",
    "chatMenu",
    "dev",
    "initTimeout",
    "startupTimeout",
    "trust",
    "watchPaths",
];

/// Keys for ways to log in that a hub does not have.
const LOGIN: [&str; 6] =
    ["auth", "authProviderType", "authProvider", "headersHelper", "oauth", "targetAudience"];

/// Parts of the names of keys that restrict what a server or its caller may do.
const RESTRICTIONS: [&str; 12] = [
    "deny",
    "denied",
    "disallow",
    "disable",
    "exclude",
    "block",
    "forbid",
    "sandbox",
    "restrict",
    "permission",
    "readonly",
    "allowed",
];

/// What to do about a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    Ignore,
    /// Ignore it, and say so.
    Warn(&'static str),
    /// Do not start, for this reason.
    Reject(String),
}

/// The treatment of a key of a server. `known` are the keys that the hub reads.
pub(super) fn of_server(key: &str, value: &Value, known: &[&str]) -> Treatment {
    if DESCRIPTIONS.contains(&key) {
        return Treatment::Ignore;
    }
    if STEER_THE_CLIENT.contains(&key) {
        return Treatment::Warn("is for the client and not for the hub; set it in the client");
    }
    if LOGIN.contains(&key) {
        return Treatment::Warn(
            "is not supported, so the server may refuse the hub; send credentials in headers",
        );
    }
    if is_restriction(key, value) {
        return Treatment::Reject(format!(
            "looks like a restriction, and mcp-hub cannot apply it; restrict tools with \
             \"tools\": {{\"deny\": […]}}, or remove {key}"
        ));
    }
    match similar(key, known) {
        Some(meant) => Treatment::Reject(format!("is unknown to mcp-hub; did you mean {meant}?")),
        None => Treatment::Warn("is unknown to mcp-hub and has no effect"),
    }
}

/// The treatment of a key at the top of a file, where clients keep all their settings.
pub(super) fn of_file(key: &str, value: &Value, known: &[&str]) -> Treatment {
    if key == "$schema" || DESCRIPTIONS.contains(&key) {
        return Treatment::Ignore;
    }
    let lower = key.to_lowercase();
    let about_servers = ["mcp", "tool", "server", "sandbox"].iter().any(|it| lower.contains(it));
    if about_servers && is_restriction(key, value) {
        return Treatment::Reject(
            "looks like a restriction, and mcp-hub cannot apply it; remove it, or write what it \
             means in filtering and access"
                .into(),
        );
    }
    match similar(key, known) {
        Some(meant) => Treatment::Reject(format!("is unknown to mcp-hub; did you mean {meant}?")),
        None => Treatment::Warn("has no effect on mcp-hub"),
    }
}

/// Whether the value asks for nothing.
pub(super) fn is_off(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => {
            members.is_empty() || members.get("enabled") == Some(&Value::Bool(false))
        }
        Value::String(text) => matches!(text.as_str(), "" | "false" | "never" | "none"),
        Value::Number(_) => false,
    }
}

fn is_restriction(key: &str, value: &Value) -> bool {
    let lower = key.to_lowercase().replace(['_', '-'], "");
    let asks_first = lower.contains("approv") && (lower.contains("requir"));
    !is_off(value) && (asks_first || RESTRICTIONS.iter().any(|word| lower.contains(word)))
}

/// The known key that somebody probably meant. A misspelled `deny` would expose tools that its
/// author wanted to hide.
fn similar<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let distance = |known: &&str| strsim::osa_distance(&key.to_lowercase(), &known.to_lowercase());
    let most = if key.len() > 5 { 2 } else { 1 };
    known.iter().copied().filter(|known| distance(known) <= most).min_by_key(distance)
}
