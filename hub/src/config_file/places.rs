//! Where people keep the config files of MCP clients.

use std::path::{Path, PathBuf};

/// In the working directory: for the project.
const OF_PROJECT: [&str; 7] = [
    "mcp-hub.json",
    ".mcp.json",
    "mcp.json",
    ".vscode/mcp.json",
    ".cursor/mcp.json",
    ".gemini/settings.json",
    ".zed/settings.json",
];

/// In the home directory: for the user.
const OF_USER: [&str; 12] = [
    ".config/mcp-hub/config.json",
    ".claude.json",
    ".config/Claude/claude_desktop_config.json",
    "Library/Application Support/Claude/claude_desktop_config.json",
    ".cursor/mcp.json",
    ".config/Code/User/mcp.json",
    "Library/Application Support/Code/User/mcp.json",
    ".codeium/windsurf/mcp_config.json",
    ".gemini/settings.json",
    ".config/zed/settings.json",
    ".continue/config.yaml",
    ".config/opencode/opencode.json",
];

/// All places, in the order in which they are looked at.
pub(super) fn all() -> impl Iterator<Item = PathBuf> {
    let home = std::env::home_dir();
    let of_user = OF_USER.iter().filter_map(move |place| Some(home.as_ref()?.join(place)));
    OF_PROJECT.iter().map(PathBuf::from).chain(of_user)
}

/// The first file that is good, and the other good ones.
pub(super) fn find(good: impl Fn(&Path) -> bool) -> Option<(PathBuf, Vec<PathBuf>)> {
    let mut found = all().filter(|path| path.is_file() && good(path));
    let first = found.next()?;
    Some((first, found.collect()))
}
