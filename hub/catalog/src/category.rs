//! What a tool is for, as one of a few words that people filter by.
//!
//! Mappings of the config come first, the longest pattern before shorter ones. Then what a language model said, where
//! one is configured and has answered. Else words decide: those of the tool's own name weigh most, then its server's
//! name, then the beginning of its description.

mod keywords;
mod llm_categories;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

pub use self::llm_categories::{LlmCategories, offered};
use crate::catalog::Tool;
use crate::pattern;

/// Only the beginning of a description says what a tool is for; the rest is about arguments and limits.
const DESCRIPTION_CHARS: usize = 240;
/// A word of the tool's name, of the server's name, of the description.
const WEIGHTS: [u32; 3] = [6, 5, 2];
/// Less is no evidence: a wrong category shows tools that nobody asked for, `other` does not.
const LEAST: u32 = 6;
/// The same word in a description again says nothing new.
const MOST_WORDS: usize = 60;

/// The built-in categories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Builtin {
    /// Files and folders.
    Filesystem,
    /// Pages, browsers, HTTP.
    Web,
    /// Finding things.
    Search,
    /// Tables, documents, queries.
    Database,
    /// Repositories, commits, pull requests.
    VersionControl,
    /// Containers and clusters of them.
    Docker,
    /// What providers rent out.
    Cloud,
    /// Code, builds, tests, tickets.
    Development,
    /// Mail, chat, calls, calendars.
    Communication,
    /// Everything else.
    Other,
}

impl Builtin {
    /// All, in the order in which ties are decided: the narrower word first.
    pub const ALL: [Self; 10] = [
        Self::VersionControl,
        Self::Docker,
        Self::Database,
        Self::Communication,
        Self::Filesystem,
        Self::Cloud,
        Self::Development,
        Self::Web,
        Self::Search,
        Self::Other,
    ];

    /// The word in a config.
    pub fn name(self) -> &'static str {
        match self {
            Self::Filesystem => "filesystem",
            Self::Web => "web",
            Self::Search => "search",
            Self::Database => "database",
            Self::VersionControl => "version-control",
            Self::Docker => "docker",
            Self::Cloud => "cloud",
            Self::Development => "development",
            Self::Communication => "communication",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Builtin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The mappings of a config, and what a language model said of tools that none of them decides.
#[derive(Debug, Clone, Default)]
pub struct Mappings {
    patterns: Vec<(String, String)>,
    given: Arc<LlmCategories>,
}

impl Mappings {
    /// Pattern on exposed names to category.
    pub fn of(custom: &BTreeMap<String, String>) -> Self {
        let mut patterns: Vec<(String, String)> =
            custom.iter().map(|(a, b)| (a.clone(), b.clone())).collect();
        patterns.sort_by(|(a, _), (b, _)| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        Self { patterns, given: Arc::default() }
    }

    /// The mapping that decides for this tool: its pattern and the category.
    pub fn find(&self, exposed: &str) -> Option<(&str, &str)> {
        let (pattern, category) =
            self.patterns.iter().find(|(pattern, _)| pattern::matches(pattern, exposed))?;
        Some((pattern, category))
    }

    /// The tool's category.
    pub fn category<'a>(&'a self, tool: &Tool) -> &'a str {
        let mapped = self.find(&tool.exposed).map(|(_, category)| category);
        mapped
            .or_else(|| self.given.category(tool))
            .unwrap_or_else(|| tool.builtin_category().name())
    }

    /// Every category that a tool can have.
    pub fn known(&self) -> impl Iterator<Item = &str> {
        let own = self.patterns.iter().map(|(_, category)| category.as_str());
        Builtin::ALL.iter().map(|category| category.name()).chain(own)
    }
}

/// The built-in category of a tool.
pub fn builtin(tool: &Tool) -> Builtin {
    of_words(&tool.own, &tool.server_name, &tool.description)
}

fn of_words(name: &str, server: &str, description: &str) -> Builtin {
    let mut scores = [0_u32; Builtin::ALL.len()];
    let description: String = description.chars().take(DESCRIPTION_CHARS).collect();
    for (text, weight) in [name, server, &description].into_iter().zip(WEIGHTS) {
        let mut words = split(text);
        words.truncate(MOST_WORDS);
        words.sort_unstable();
        words.dedup();
        for word in &words {
            for &(category, strength) in keywords::meanings(word) {
                if let Some(score) = Builtin::ALL
                    .iter()
                    .position(|c| *c == category)
                    .and_then(|at| scores.get_mut(at))
                {
                    *score += weight * strength;
                }
            }
        }
    }
    let best = scores.iter().copied().max().unwrap_or_default();
    let first = scores.iter().position(|score| *score == best);
    first
        .filter(|_| best >= LEAST)
        .and_then(|at| Builtin::ALL.get(at))
        .copied()
        .unwrap_or(Builtin::Other)
}

/// The words of a text or an identifier, small, without a plural's end.
fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut before = ' ';
    for c in text.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && before.is_lowercase()) {
            words.push(std::mem::take(&mut word));
        }
        if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        }
        before = c;
    }
    words.push(word);
    words.retain(|word| word.len() > 1);
    words.into_iter().map(singular).collect()
}

fn singular(word: String) -> String {
    if let Some(stem) = word.strip_suffix("ies").filter(|stem| stem.len() > 2) {
        return format!("{stem}y");
    }
    match word.strip_suffix('s') {
        Some(stem) if stem.len() > 2 && !stem.ends_with(['s', 'u', 'i']) => stem.to_owned(),
        _ => word,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("read_file", "filesystem", "Read the complete contents of a file", Builtin::Filesystem)]
    #[case("list_directory", "fs", "Get a detailed listing of all files", Builtin::Filesystem)]
    #[case("create_pull_request", "github", "Create a new pull request", Builtin::VersionControl)]
    #[case(
        "search_repositories",
        "github",
        "Search for GitHub repositories",
        Builtin::VersionControl
    )]
    #[case("git_commit", "git", "Records changes to the repository", Builtin::VersionControl)]
    #[case("query", "postgres", "Run a read-only SQL query", Builtin::Database)]
    #[case("find", "mongodb", "Run a find query against a collection", Builtin::Database)]
    #[case("fetch", "fetch", "Fetches a URL from the internet as markdown", Builtin::Web)]
    #[case("browser_click", "playwright", "Perform click on a web page", Builtin::Web)]
    #[case(
        "brave_web_search",
        "brave",
        "Performs a web search using the Brave API",
        Builtin::Search
    )]
    #[case("run_container", "docker", "Run a new container", Builtin::Docker)]
    #[case("kubectl_get", "kubernetes", "Get pods", Builtin::Docker)]
    #[case("list_buckets", "aws", "List S3 buckets", Builtin::Cloud)]
    #[case("run_tests", "pytest", "Runs unit tests of the code", Builtin::Development)]
    #[case("jira_create_issue", "jira", "Create a new Jira issue", Builtin::Development)]
    #[case("send_message", "slack", "Post a message to a channel", Builtin::Communication)]
    #[case("sendEmail", "gmail", "", Builtin::Communication)]
    #[case("get_forecast", "weather", "Get the weather for a place", Builtin::Other)]
    #[case("", "", "", Builtin::Other)]
    #[case("читать", "файлы", "", Builtin::Other)]
    fn words_of_name_server_and_description_decide(
        #[case] name: &str,
        #[case] server: &str,
        #[case] description: &str,
        #[case] expected: Builtin,
    ) {
        assert_eq!(of_words(name, server, description), expected);
    }

    #[test]
    fn the_longest_mapping_wins_before_all_built_in_ones() {
        let custom = [("*", "misc"), ("git__*", "vcs"), ("git__*_x", "odd")];
        let mappings = Mappings::of(&custom.map(|(a, b)| (a.to_owned(), b.to_owned())).into());
        assert_eq!(mappings.find("git__get_x"), Some(("git__*_x", "odd")));
        assert_eq!(mappings.find("git__get"), Some(("git__*", "vcs")));
        assert_eq!(mappings.find("files__get"), Some(("*", "misc")));
        assert_eq!(Mappings::default().find("files__get"), None);
    }

    #[test]
    fn words_are_split_at_case_and_signs_and_lose_their_plural() {
        assert_eq!(
            split("listFiles_in-HTTPRepos queries status"),
            ["list", "file", "in", "httprepo", "query", "status"]
        );
    }
}
