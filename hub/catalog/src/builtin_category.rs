//! The built-in categories, and which of them the words of a tool suggest. The words of the tool's
//! own name weigh most, then those of its server's name, then those at the start of its
//! description.

mod keywords;

use std::fmt;

/// Only the start of a description says what a tool is for. The rest is about arguments and limits.
const DESCRIPTION_CHARS: usize = 240;
/// Weights of a word in the tool's name, in the server's name and in the description.
const WEIGHTS: [u32; 3] = [6, 5, 2];
/// Below this score a tool is in `other`. A wrong category exposes tools that nobody asked for;
/// `other` does not.
const MIN_SCORE: u32 = 6;
/// Words of one text that count. Long lists of words say little about a tool.
const MAX_WORDS: usize = 60;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BuiltinCategory {
    Filesystem,
    Web,
    Search,
    Database,
    VersionControl,
    Docker,
    Cloud,
    Development,
    Communication,
    Other,
}

impl BuiltinCategory {
    /// All of them. In a tie the first one wins, so narrow categories come before broad ones.
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

    /// The name in a config.
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

impl fmt::Display for BuiltinCategory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The category that the words in a tool's name, its server's name and its description suggest.
pub(crate) fn from_words(name: &str, server: &str, description: &str) -> BuiltinCategory {
    let mut scores = [0_u32; BuiltinCategory::ALL.len()];
    let description: String = description.chars().take(DESCRIPTION_CHARS).collect();
    for (text, weight) in [name, server, &description].into_iter().zip(WEIGHTS) {
        let mut words = split(text);
        words.truncate(MAX_WORDS);
        words.sort_unstable();
        words.dedup();
        for word in &words {
            for &(category, strength) in keywords::meanings(word) {
                if let Some(score) = BuiltinCategory::ALL
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
        .filter(|_| best >= MIN_SCORE)
        .and_then(|at| BuiltinCategory::ALL.get(at))
        .copied()
        .unwrap_or(BuiltinCategory::Other)
}

/// The words of a text or an identifier, in lower case and singular.
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
    #[case(
        "read_file",
        "filesystem",
        "Read the complete contents of a file",
        BuiltinCategory::Filesystem
    )]
    #[case(
        "list_directory",
        "fs",
        "Get a detailed listing of all files",
        BuiltinCategory::Filesystem
    )]
    #[case(
        "create_pull_request",
        "github",
        "Create a new pull request",
        BuiltinCategory::VersionControl
    )]
    #[case(
        "search_repositories",
        "github",
        "Search for GitHub repositories",
        BuiltinCategory::VersionControl
    )]
    #[case(
        "git_commit",
        "git",
        "Records changes to the repository",
        BuiltinCategory::VersionControl
    )]
    #[case("query", "postgres", "Run a read-only SQL query", BuiltinCategory::Database)]
    #[case("find", "mongodb", "Run a find query against a collection", BuiltinCategory::Database)]
    #[case("fetch", "fetch", "Fetches a URL from the internet as markdown", BuiltinCategory::Web)]
    #[case("browser_click", "playwright", "Perform click on a web page", BuiltinCategory::Web)]
    #[case(
        "brave_web_search",
        "brave",
        "Performs a web search using the Brave API",
        BuiltinCategory::Search
    )]
    #[case("run_container", "docker", "Run a new container", BuiltinCategory::Docker)]
    #[case("kubectl_get", "kubernetes", "Get pods", BuiltinCategory::Docker)]
    #[case("list_buckets", "aws", "List S3 buckets", BuiltinCategory::Cloud)]
    #[case("run_tests", "pytest", "Runs unit tests of the code", BuiltinCategory::Development)]
    #[case("jira_create_issue", "jira", "Create a new Jira issue", BuiltinCategory::Development)]
    #[case("send_message", "slack", "Post a message to a channel", BuiltinCategory::Communication)]
    #[case("sendEmail", "gmail", "", BuiltinCategory::Communication)]
    #[case("get_forecast", "weather", "Get the weather for a place", BuiltinCategory::Other)]
    #[case("", "", "", BuiltinCategory::Other)]
    #[case("читать", "файлы", "", BuiltinCategory::Other)]
    fn the_words_of_name_server_and_description_decide_the_category(
        #[case] name: &str,
        #[case] server: &str,
        #[case] description: &str,
        #[case] expected: BuiltinCategory,
    ) {
        assert_eq!(from_words(name, server, description), expected);
    }

    #[test]
    fn words_are_split_at_case_changes_and_punctuation_and_made_singular() {
        assert_eq!(
            split("listFiles_in-HTTPRepos queries status"),
            ["list", "file", "in", "httprepo", "query", "status"]
        );
    }
}
