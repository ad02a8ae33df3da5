//! Finds the servers in the files of the common MCP clients.

use mcphub_hub_protocol::json_splice::{self, Member};
use serde_json::Value;

/// The text of a file as strict JSON: without comments and trailing commas, and no YAML.
pub(super) fn to_json(name: &str, text: &str) -> Result<String, String> {
    let text = text.trim_start_matches('\u{feff}');
    let extension = name.rsplit('.').next().unwrap_or_default();
    if extension.eq_ignore_ascii_case("yaml") || extension.eq_ignore_ascii_case("yml") {
        let value: serde_yaml_ng::Value =
            serde_yaml_ng::from_str(text).map_err(|error| format!("is not YAML: {error}"))?;
        return serde_json::to_string(&value).map_err(|error| format!("is not JSON: {error}"));
    }
    let mut json = text.to_owned();
    json_strip_comments::strip(&mut json)
        .map_err(|_| "is not JSON: a comment or a string is not closed".to_owned())?;
    match serde_json::from_str::<&serde_json::value::RawValue>(&json) {
        Ok(_) => Ok(json),
        Err(error) => Err(format!("is not JSON: {error}")),
    }
}

/// One server of a file.
pub(super) struct Entry {
    /// Its path in the file.
    pub(super) at: String,
    pub(super) name: String,
    /// JSON text.
    pub(super) text: String,
}

/// The settings of a project in the file of Claude Code that are about servers.
pub(super) fn project_members<'a>(members: &[Member<'a>], project: &str) -> Vec<Member<'a>> {
    let find = |members: &[Member<'a>], key: &str| {
        members.iter().find(|member| member.key == key).map(|member| member.value)
    };
    let settings = find(members, "projects")
        .and_then(json_splice::members)
        .and_then(|projects| find(&projects, project))
        .and_then(json_splice::members);
    let mut settings = settings.unwrap_or_default();
    settings.retain(|member| {
        matches!(&*member.key, "mcpServers" | "disabledMcpServers" | "disabledMcpjsonServers")
    });
    settings
}

/// The servers of the member with this key, if it has servers. `Err` says what is wrong with it.
pub(super) fn servers(member: &Member<'_>) -> Option<Result<Vec<Entry>, String>> {
    let key = member.key.as_ref();
    match key {
        "mcpServers" | "servers" | "context_servers" => Some(list(key, member.value)),
        // VS Code's settings have `mcp.servers`. `OpenCode` has the servers in `mcp` itself, where
        // Gemini CLI has settings.
        "mcp" => {
            let members = json_splice::members(member.value)?;
            if let Some(servers) = members.iter().find(|member| member.key == "servers") {
                return Some(list("mcp.servers", servers.value));
            }
            let is_server = |member: &Member<'_>| {
                json_splice::members(member.value).is_some_and(|members| {
                    members.iter().any(|member| matches!(&*member.key, "command" | "url"))
                })
            };
            members.iter().any(is_server).then(|| list("mcp", member.value))
        }
        _ => None,
    }
}

fn list(at: &str, text: &str) -> Result<Vec<Entry>, String> {
    if let Some(members) = json_splice::members(text) {
        let entry = |member: Member<'_>| Entry {
            at: format!("{at}.{}", member.key),
            name: member.key.into_owned(),
            text: member.value.to_owned(),
        };
        return Ok(members.into_iter().map(entry).collect());
    }
    // Continue has a list, whose items have names.
    let advice = "is not an object; write {\"name\": {\"url\": \"https://…\"}}";
    let items: Vec<Value> = serde_json::from_str(text).map_err(|_| advice.to_owned())?;
    let entry = |(position, item): (usize, Value)| {
        let name = item.get("name").and_then(Value::as_str).ok_or_else(|| {
            format!("has no name in item {position}; write {{\"name\": …, \"command\": …}}")
        })?;
        Ok(Entry { at: format!("{at}[{position}]"), name: name.to_owned(), text: item.to_string() })
    };
    items.into_iter().enumerate().map(entry).collect()
}
