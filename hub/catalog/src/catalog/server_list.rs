//! What one server lists, as its answer to `tools/list` has it.

use std::fmt;

use mcphub_hub_protocol::json_splice::{self, Member};
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer as _};
use serde_json::value::RawValue;

use super::entry::{Definition, Details};
use super::repair::Repaired;

/// What one server lists of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerList {
    /// Sorted by name: the server's own order may differ between sessions, and prompt caches need a
    /// stable one.
    pub definitions: Vec<Definition>,
    /// How long the list stays valid; only stateless servers say that.
    pub ttl_ms: Option<u64>,
    /// Whether the server says that the list is for this caller only.
    pub private: bool,
    /// Definitions that violate the MCP schema, and what was wrong with each of them.
    pub problems: Vec<String>,
}

/// How many problems a summary names.
const NAMED_PROBLEMS: usize = 10;

/// One page of a server's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub list: ServerList,
    /// The cursor of the next page; `None` on the last page.
    pub next: Option<String>,
    /// How many entries the page has, with those that were left out.
    pub entries: usize,
}

impl ServerList {
    /// Joins pages into one list. If two entries have one name, the first stays.
    pub fn from_pages(pages: Vec<ServerList>) -> Self {
        let mut whole = pages.into_iter().fold(Self::default(), |mut whole, page| {
            whole.ttl_ms = shorter(whole.ttl_ms, page.ttl_ms);
            whole.private |= page.private;
            whole.definitions.extend(page.definitions);
            whole.problems.extend(page.problems);
            whole
        });
        whole.definitions.sort_by(|a, b| a.name.cmp(&b.name));
        whole.definitions.dedup_by(|later, first| later.name == first.name);
        whole
    }

    /// The first problems in one line. `None` if there are none.
    pub fn problem_summary(&self) -> Option<String> {
        let named = self.problems.iter().take(NAMED_PROBLEMS).map(String::as_str);
        let named = named.collect::<Vec<_>>().join("; ");
        match self.problems.len() {
            0 => None,
            count if count > NAMED_PROBLEMS => {
                Some(format!("{named}; and {} more", count - NAMED_PROBLEMS))
            }
            _ => Some(named),
        }
    }
}

impl Page {
    /// Reads a list result of the kind `D`; `None` if it is not one. Entries after the first `most`
    /// are counted and not read, so that a hostile page costs no more memory than its text.
    pub fn parse<D: Details>(result: &str, most: usize) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct ListHead {
            #[serde(default)]
            next_cursor: Option<String>,
            #[serde(default)]
            ttl_ms: Option<serde_json::Number>,
            #[serde(default)]
            cache_scope: Option<String>,
        }
        let head: ListHead = serde_json::from_str(result).ok()?;
        let entries = json_splice::only_member(result, D::LIST_MEMBER)?;
        let mut read = serde_json::Deserializer::from_str(entries);
        let (entries, count) = read.deserialize_seq(FirstEntries { most }).ok()?;
        let (mut definitions, mut problems) = (Vec::new(), Vec::new());
        for (position, text) in entries.into_iter().enumerate() {
            match Definition::parse::<D>(text.get()) {
                None => problems.push(format!("entry {} has no name, left out", position + 1)),
                Some((definition, problem)) => {
                    definitions.push(definition);
                    problems.extend(problem);
                }
            }
        }
        Some(Self {
            next: head.next_cursor.filter(|cursor| !cursor.is_empty()),
            entries: count,
            list: ServerList {
                definitions,
                ttl_ms: head.ttl_ms.map(|ttl| ttl.as_u64().unwrap_or(0)),
                private: head.cache_scope.as_deref() == Some("private"),
                problems,
            },
        })
    }
}

/// Reads the first entries of an array, and counts all of them.
struct FirstEntries {
    most: usize,
}

impl<'de> Visitor<'de> for FirstEntries {
    type Value = (Vec<&'de RawValue>, usize);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut read = Vec::new();
        while read.len() < self.most
            && let Some(entry) = entries.next_element()?
        {
            read.push(entry);
        }
        let mut count = read.len();
        while entries.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok((read, count))
    }
}

impl Definition {
    /// Reads an entry, and repairs it if it has to be. `None` if it has no name.
    fn parse<D: Details>(text: &str) -> Option<(Self, Option<String>)> {
        let members = json_splice::members(text)?;
        let name = json_splice::unquoted(only_member(&members, D::NAME_MEMBER)?)?.into_owned();
        Some(match D::repair(&members) {
            None => (Self { name, text: text.to_owned() }, None),
            Some(Repaired { text, problem }) => {
                let problem = format!("{name}: {problem}, repaired");
                (Self { name, text }, Some(problem))
            }
        })
    }
}

/// The value of the member with this key; `None` also if there are two, because parsers disagree on
/// which one counts.
fn only_member<'a>(members: &[Member<'a>], key: &str) -> Option<&'a str> {
    let mut found = members.iter().filter(|member| member.key == key);
    let only = found.next()?;
    found.next().is_none().then_some(only.value)
}

pub(super) fn shorter(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::ToolDetails;

    #[test]
    fn a_page_keeps_definitions_byte_for_byte_and_names_the_malformed_ones() {
        let page = Page::parse::<ToolDetails>(
            r#"{"tools":[{"x":1e999,"name":"b","inputSchema":{"type":"object"}}, 7, {"name":3}, {"name":"a"}],"nextCursor":"c","ttlMs":5,"cacheScope":"private"}"#,
            4,
        )
        .unwrap();
        assert_eq!(
            page.list.problem_summary().unwrap(),
            "entry 2 has no name, left out; entry 3 has no name, left out; \
             a: inputSchema is missing, repaired"
        );
        assert_eq!(
            (page.next.as_deref(), page.list.ttl_ms, page.list.private),
            (Some("c"), Some(5), true)
        );
        let whole = ServerList::from_pages(vec![page.list]);
        let texts: Vec<&str> = whole.definitions.iter().map(|tool| tool.text.as_str()).collect();
        assert_eq!(
            texts,
            [
                r#"{"name":"a","inputSchema":{"type":"object"}}"#,
                r#"{"x":1e999,"name":"b","inputSchema":{"type":"object"}}"#
            ]
        );
    }

    #[test]
    fn entries_over_the_limit_are_counted_and_not_read() {
        let page = r#"{"x":[1],"tools":[7,{"name":"a","inputSchema":{"type":"object"}},{},7]}"#;
        let page = Page::parse::<ToolDetails>(page, 2).unwrap();
        assert_eq!((page.entries, page.list.definitions.len()), (4, 1));
        assert_eq!(page.list.problems, ["entry 1 has no name, left out"]);
    }

    #[test]
    fn a_result_without_one_list_is_not_a_page() {
        for result in ["{}", "7", r#"{"tools":7}"#, r#"{"tools":[],"tools":[]}"#, "[[]]"] {
            assert_eq!(Page::parse::<ToolDetails>(result, 9), None, "{result}");
        }
    }
}
