//! What the bridge says for a server that sleeps: a hub asks for lists all the time, and neither keeps it awake nor
//! wakes it by that.

use std::collections::HashMap;

use bytes::Bytes;
use mcphub_hub_protocol::message::Request;

/// Of the lists of one session. Beyond it, a list wakes the server.
const MAX_BYTES: usize = 4 << 20;

/// What a request is to a server that may sleep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Only the server knows the answer.
    Use,
    /// Whether somebody is there.
    Ping,
    /// What it has, which the bridge remembers.
    List(Page),
}

/// One page of one list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Page {
    method: &'static str,
    /// As written.
    cursor: Option<String>,
}

impl Purpose {
    /// Of this request.
    pub(super) fn of(request: &Request<'_>) -> Self {
        const LISTS: [&str; 4] =
            ["tools/list", "prompts/list", "resources/list", "resources/templates/list"];
        if request.method == "ping" {
            return Self::Ping;
        }
        let list = LISTS.into_iter().find(|list| request.method == *list);
        list.map_or(Self::Use, |method| {
            Self::List(Page { method, cursor: request.params.cursor.map(str::to_owned) })
        })
    }
}

/// The lists of one session as its server last gave them.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// Results as written.
    pages: HashMap<Page, String>,
    bytes: usize,
}

impl Lists {
    /// The server has answered with this result.
    pub(super) fn remember(&mut self, page: Page, result: &str) {
        self.forget(|other| *other == page);
        if self.bytes + result.len() <= MAX_BYTES {
            self.bytes += result.len();
            self.pages.insert(page, result.to_owned());
        }
    }

    /// The server has sent this notification: what it says has changed is asked of it again.
    pub(super) fn notified(&mut self, method: &str) {
        let kind = method
            .strip_prefix("notifications/")
            .and_then(|rest| rest.strip_suffix("/list_changed"));
        if let Some(kind) = kind {
            self.forget(|page| page.method.split('/').next() == Some(kind));
        }
    }

    /// The answer to a request with this id, if the server need not be woken for it.
    pub(super) fn answer(&self, purpose: &Purpose, id: &str) -> Option<Bytes> {
        let result = match purpose {
            Purpose::Use => return None,
            Purpose::Ping => "{}",
            Purpose::List(page) => self.pages.get(page)?,
        };
        Some(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#).into())
    }

    fn forget(&mut self, which: impl Fn(&Page) -> bool) {
        self.pages.retain(|page, _| !which(page));
        self.bytes = self.pages.values().map(String::len).sum();
    }
}
