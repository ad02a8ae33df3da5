//! Responses that the bridge gives for a server that it has stopped for idling. A hub polls lists
//! and pings all the time. Those polls neither keep a server running nor start it.

use std::collections::HashMap;

use bytes::Bytes;
use mcphub_hub_protocol::message::Request;

/// Bound on the stored lists of one session. A list that does not fit is not stored, so a request
/// for it starts the server.
const MAX_BYTES: usize = 4 << 20;

/// What kind of request this is for a server that may be stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RequestKind {
    /// Only the server can answer. Counts as use of the server.
    Call,
    Ping,
    /// A page of a list, which the bridge stores.
    List(ListPage),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ListPage {
    method: &'static str,
    /// Raw JSON.
    cursor: Option<String>,
}

impl RequestKind {
    pub(super) fn from_request(request: &Request<'_>) -> Self {
        const LISTS: [&str; 4] =
            ["tools/list", "prompts/list", "resources/list", "resources/templates/list"];
        if request.method == "ping" {
            return Self::Ping;
        }
        let list = LISTS.into_iter().find(|list| request.method == *list);
        list.map_or(Self::Call, |method| {
            Self::List(ListPage { method, cursor: request.params.cursor.map(str::to_owned) })
        })
    }
}

/// The lists of one session, as its server last sent them.
#[derive(Debug, Default)]
pub(super) struct IdleResponses {
    /// Results, as raw JSON.
    pages: HashMap<ListPage, String>,
    bytes: usize,
}

impl IdleResponses {
    pub(super) fn store(&mut self, page: ListPage, result: &str) {
        self.remove(|other| *other == page);
        if self.bytes + result.len() <= MAX_BYTES {
            self.bytes += result.len();
            self.pages.insert(page, result.to_owned());
        }
    }

    /// Drops the pages that a `list_changed` notification of the server makes stale. The next
    /// request for such a list goes to the server.
    pub(super) fn invalidate(&mut self, notification: &str) {
        let kind = notification
            .strip_prefix("notifications/")
            .and_then(|rest| rest.strip_suffix("/list_changed"));
        if let Some(kind) = kind {
            self.remove(|page| page.method.split('/').next() == Some(kind));
        }
    }

    /// The response to the request with this id. `None` if the server must be started for it.
    pub(super) fn response(&self, kind: &RequestKind, id: &str) -> Option<Bytes> {
        let result = match kind {
            RequestKind::Call => return None,
            RequestKind::Ping => "{}",
            RequestKind::List(page) => self.pages.get(page)?,
        };
        Some(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#).into())
    }

    fn remove(&mut self, matches: impl Fn(&ListPage) -> bool) {
        self.pages.retain(|page, _| !matches(page));
        self.bytes = self.pages.values().map(String::len).sum();
    }
}
