//! What a client's model is told of this hub before it does anything: without it no model knows what is behind a
//! handful of meta-tools.

use std::fmt::Write as _;

use crate::meta_tools::MetaTool;
use crate::tokens;
use crate::tool_list::ToolList;
use crate::visibility::VisibleTools;

/// Most that the text may cost.
pub const MAX_TOKENS: u32 = 600;
/// Kept for the line that says how many servers are not named.
const LAST_LINE: u32 = 24;

/// The `instructions` of `initialize` and `server/discover`: how to search, a line for each server that the caller
/// may know of, then what the servers say of themselves (name of the server, its instructions; those of servers that
/// are not in visible are left out) while the budget lasts. The same for the same input.
pub fn instructions(
    visible: &VisibleTools,
    tool_list: &ToolList,
    upstream: &[(&str, &str)],
) -> String {
    let mut text = Text::default();
    let servers = visible.servers();
    text.push(&how(tool_list, servers.is_empty()));
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
    for (name, said) in upstream {
        let said = said.trim();
        if !said.is_empty() && servers.iter().any(|(server, _)| server == name) {
            text.push(&format!("\n{name} says: {said}"));
        }
    }
    text.text
}

fn how(tool_list: &ToolList, none: bool) -> String {
    let mut how = String::from(
        "This hub joins several MCP servers; a tool's name begins with its server's prefix.",
    );
    if tool_list.has(MetaTool::AnalyzePrompt) {
        how.push_str(
            " Your tool list is short on purpose. Begin with hub__analyze_prompt {prompt}: it adds the tools that fit.",
        );
    }
    if tool_list.search {
        how.push_str(" hub__find_tools {query} finds tools that are not in your list; call one by its name, or by hub__call_read, hub__call_write or hub__call_destructive {name, arguments}.");
    }
    if !tool_list.dispatchers.is_empty() {
        how.push_str(" Some tools stand for several: choose an action, and give its arguments.");
    }
    how.push_str(if none { " No tool of any server is there for you now." } else { " Servers:" });
    how
}

#[derive(Default)]
struct Text {
    text: String,
    tokens: u32,
}

impl Text {
    /// Adds a line if it fits.
    fn push(&mut self, line: &str) -> bool {
        let tokens = tokens::count(line) + 2; // its line feed
        let fits = self.tokens + tokens + LAST_LINE <= MAX_TOKENS;
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

    fn said(visible: &VisibleTools, upstream: &[(&str, &str)]) -> String {
        instructions(
            visible,
            &ToolList::new(visible, ListScope::Stateless, &GroupCache::default()),
            upstream,
        )
    }

    #[test]
    fn every_server_has_a_line_and_then_says_what_it_has_to_say() {
        let visible = visible_tools(&["files", "web"], &["get", "put"]);
        let text = said(&visible, &[("web", " Be polite. "), ("hidden", "secret"), ("files", "")]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1..], ["- files: 2 tools", "- web: 2 tools", "", "web says: Be polite."]);
    }

    #[test]
    fn a_hub_with_nothing_connected_says_so_in_place_of_an_empty_list() {
        let text = said(&visible_tools(&[], &["get"]), &[]);
        assert!(text.ends_with(" No tool of any server is there for you now."), "{text}");
    }

    // Instructions are in every prompt of every session: an unbounded one costs more than the tools it saves.
    #[test]
    fn many_servers_and_long_upstream_texts_stay_within_the_budget() {
        let names: Vec<String> = (0..400).map(|n| format!("server{n}")).collect();
        let visible =
            visible_tools(&names.iter().map(String::as_str).collect::<Vec<_>>(), &["get"]);
        let text = said(&visible, &[("server1", &"word ".repeat(2000))]);
        assert!(tokens::count(&text) <= MAX_TOKENS, "{}", tokens::count(&text));
        assert!(text.lines().last().unwrap().ends_with("more servers"));
        let few = super::tests::visible_tools(&["a"], &["get"]);
        let text = said(&few, &[("a", &"word ".repeat(2000)), ("a", "short")]);
        assert!(text.ends_with("a says: short"), "one that does not fit keeps no other out");
    }
}
