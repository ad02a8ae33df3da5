//! What one server lists, as its answer to `tools/list` has it.

use mcphub_hub_protocol::json_splice::{self, Member};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::entry::{Definition, Details};

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
}

/// One page of a server's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub list: ServerList,
    /// The cursor of the next page; `None` on the last page.
    pub next: Option<String>,
    /// How many entries are not definitions. They are left out of `list`.
    pub malformed: usize,
}

impl ServerList {
    /// Joins pages into one list. If two entries have one name, the first stays.
    pub fn from_pages(pages: Vec<ServerList>) -> Self {
        let mut whole = pages.into_iter().fold(Self::default(), |mut whole, page| {
            whole.ttl_ms = shorter(whole.ttl_ms, page.ttl_ms);
            whole.private |= page.private;
            whole.definitions.extend(page.definitions);
            whole
        });
        whole.definitions.sort_by(|a, b| a.name.cmp(&b.name));
        whole.definitions.dedup_by(|later, first| later.name == first.name);
        whole
    }
}

impl Page {
    /// Reads a list result of the kind `D`; `None` if it is not one.
    pub fn parse<D: Details>(result: &str) -> Option<Self> {
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
        let entries = json_splice::members(result)?;
        let entries: Vec<&RawValue> =
            serde_json::from_str(only_member(&entries, D::LIST_MEMBER)?).ok()?;
        let listed = entries.len();
        let definitions: Vec<Definition> =
            entries.into_iter().filter_map(|text| Definition::parse::<D>(text.get())).collect();
        Some(Self {
            malformed: listed - definitions.len(),
            next: head.next_cursor.filter(|cursor| !cursor.is_empty()),
            list: ServerList {
                definitions,
                ttl_ms: head.ttl_ms.map(|ttl| ttl.as_u64().unwrap_or(0)),
                private: head.cache_scope.as_deref() == Some("private"),
            },
        })
    }
}

impl Definition {
    fn parse<D: Details>(text: &str) -> Option<Self> {
        let members = json_splice::members(text)?;
        let name = json_splice::unquoted(only_member(&members, D::NAME_MEMBER)?)?.into_owned();
        Some(Self { name, text: text.to_owned() })
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
    fn a_page_keeps_definitions_byte_for_byte_and_counts_the_malformed_ones() {
        let page = Page::parse::<ToolDetails>(
            r#"{"tools":[{"x":1e999,"name":"b"}, 7, {"name":3}, {"name":"a"}],"nextCursor":"c","ttlMs":5,"cacheScope":"private"}"#,
        )
        .unwrap();
        assert_eq!(page.malformed, 2);
        assert_eq!(
            (page.next.as_deref(), page.list.ttl_ms, page.list.private),
            (Some("c"), Some(5), true)
        );
        let whole = ServerList::from_pages(vec![page.list]);
        let texts: Vec<&str> = whole.definitions.iter().map(|tool| tool.text.as_str()).collect();
        assert_eq!(texts, [r#"{"name":"a"}"#, r#"{"x":1e999,"name":"b"}"#]);
    }

    #[test]
    fn a_result_without_one_list_is_not_a_page() {
        for result in ["{}", "7", r#"{"tools":7}"#, r#"{"tools":[],"tools":[]}"#, "[[]]"] {
            assert_eq!(Page::parse::<ToolDetails>(result), None, "{result}");
        }
    }
}
