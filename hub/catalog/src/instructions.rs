//! The `instructions` of the hub, which a client's model reads first. Without them, no model knows
//! what is behind a few meta-tools.

use std::fmt::Write as _;

use crate::meta_tools::MetaTool;
use crate::tokens;
use crate::tool_list::ToolList;
use crate::visibility::VisibleTools;

/// Most tokens of the text.
const MAX_TOKENS: u32 = 600;
/// Tokens that are reserved for the line that says how many servers are not named.
const LAST_LINE_TOKENS: u32 = 24;

/// The `instructions` in the results of `initialize` and `server/discover`. They explain how to
/// search, name every visible server in a line, and then quote the servers' own instructions while
/// the budget lasts.
///
/// `upstream` has server names and their instructions. Those of servers that are not visible are
/// left out.
pub fn instructions(
    visible: &VisibleTools,
    tool_list: &ToolList,
    upstream: &[(&str, &str)],
) -> String {
    let mut text = Text::default();
    let servers = visible.servers();
    text.push(&introduction(tool_list, servers.is_empty()));
    let mut named = 0;
    for (name, count) in &servers {
        let tools = if *count == 1 { "tool" } else { "tools" };
        if !text.push(&format!("- {name}: {count} {tools}")) {
            break;
        }
        named += 1;
    }
    if named < servers.len() {
        let _ = write!(text.text, "\n- and {} more servers", servers.len() - named);
        return text.text;
    }
    for (name, instructions) in upstream {
        let instructions = instructions.trim();
        if !instructions.is_empty() && servers.iter().any(|(server, _)| server == name) {
            text.push(&format!("\n{name} says: {instructions}"));
        }
    }
    text.text
}

fn introduction(tool_list: &ToolList, no_servers: bool) -> String {
    let mut text = String::from(
        "This hub joins several MCP servers; a tool's name begins with its server's prefix.",
    );
    if tool_list.has(MetaTool::AnalyzePrompt) {
        text.push_str(
            " Your tool list is short on purpose. Start with hub__analyze_prompt {prompt}: it adds \
             the tools that fit.",
        );
    }
    if tool_list.search {
        text.push_str(
            " hub__find_tools {query} finds tools that are not in your list; call one by \
                       its name, or with hub__call_read, hub__call_write or hub__call_destructive \
                       {name, arguments}.",
        );
    }
    if !tool_list.dispatchers.is_empty() {
        text.push_str(" Some tools stand for several: choose an action and give its arguments.");
    }
    text.push_str(if no_servers {
        " No server has a tool for you at the moment."
    } else {
        " Servers:"
    });
    text
}

#[derive(Default)]
struct Text {
    text: String,
    tokens: u32,
}

impl Text {
    /// Adds a line if it fits. Returns whether it did.
    fn push(&mut self, line: &str) -> bool {
        let tokens = tokens::count(line) + 2; // the line feed
        let fits = self.tokens + tokens + LAST_LINE_TOKENS <= MAX_TOKENS;
        if fits {
            if !self.text.is_empty() {
                self.text.push('\n');
            }
            self.text.push_str(line);
            self.tokens += tokens;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::visible_tools;
    use crate::grouping::GroupCache;
    use crate::tool_list::ListScope;

    fn text_for(visible: &VisibleTools, upstream: &[(&str, &str)]) -> String {
        instructions(
            visible,
            &ToolList::new(visible, ListScope::Stateless, &GroupCache::default()),
            upstream,
        )
    }

    #[test]
    fn every_visible_server_has_a_line_and_then_its_instructions_follow() {
        let visible = visible_tools(&["files", "web"], &["get", "put"]);
        let text =
            text_for(&visible, &[("web", " Be polite. "), ("hidden", "secret"), ("files", "")]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1..], ["- files: 2 tools", "- web: 2 tools", "", "web says: Be polite."]);
    }

    #[test]
    fn a_hub_without_connected_servers_says_so() {
        let text = text_for(&visible_tools(&[], &["get"]), &[]);
        assert!(text.ends_with(" No server has a tool for you at the moment."), "{text}");
    }

    // Instructions are in every prompt of every session. Without a limit they would cost more than
    // the tools that they save.
    #[test]
    fn many_servers_and_long_upstream_instructions_stay_within_the_budget() {
        let names: Vec<String> = (0..400).map(|n| format!("server{n}")).collect();
        let visible =
            visible_tools(&names.iter().map(String::as_str).collect::<Vec<_>>(), &["get"]);
        let text = text_for(&visible, &[("server1", &"word ".repeat(2000))]);
        assert!(tokens::count(&text) <= MAX_TOKENS, "{}", tokens::count(&text));
        assert!(text.lines().last().unwrap().ends_with("more servers"));
        let few = visible_tools(&["a"], &["get"]);
        let text = text_for(&few, &[("a", &"word ".repeat(2000)), ("a", "short")]);
        assert!(text.ends_with("a says: short"), "instructions that do not fit keep no others out");
    }
}
