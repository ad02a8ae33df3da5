//! Reads a server's list of tools: at start, when the server says that it has changed, and
//! periodically.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use mcphub_hub_catalog::catalog::{Page, ServerList, ToolDetails};
use mcphub_hub_protocol::rewrite;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::error::Error;
use super::link::{self, Link};
use super::pool::SessionKey;
use super::{Status, Upstream, UpstreamState};

/// How often the list is read if the server does not notify of changes. This also notices a server
/// that died silently.
const PERIOD: Duration = Duration::from_secs(30);
/// How long to wait for a list, however long the timeout for calls is.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);
/// A server with more pages than this repeats itself.
const MAX_PAGES: usize = 1000;
/// The longest list that is taken over. Beyond it the last good list stays in use.
const MAX_LIST_BYTES: usize = 16 << 20;
const MAX_TOOLS: usize = 5000;
/// Delays after a failure start with this and double.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LAST_DELAY: Duration = Duration::from_secs(30);
/// The longest delay while a server is starting, because clients wait for its tools.
const LAST_STARTING_DELAY: Duration = Duration::from_secs(1);

/// Runs until the server is closed.
pub(super) async fn run(upstream: Arc<Upstream>, key: SessionKey, changed: Arc<Notify>) {
    let closed = upstream.closed.clone();
    tokio::select! {
        () = closed.cancelled() => {}
        () = refresh(&upstream, &key, &changed) => {}
    }
}

async fn refresh(upstream: &Arc<Upstream>, key: &SessionKey, changed: &Notify) {
    let mut delay = FIRST_DELAY;
    loop {
        let listed = list(upstream, key).await;
        let wait = if listed.is_ok() { PERIOD } else { delay };
        delay = match &listed {
            Ok(_) => FIRST_DELAY,
            Err(_) if upstream.state().status.is_starting() => (delay * 2).min(LAST_STARTING_DELAY),
            Err(_) => (delay * 2).min(LAST_DELAY),
        };
        // Every failed call nudges. A dead server must not be asked for its list as often as it is
        // called.
        let least = if listed.is_ok() { FIRST_DELAY } else { delay.min(LAST_STARTING_DELAY) };
        update_state(upstream, listed, changed);
        tokio::time::sleep(least).await;
        let wait = wait.mul_f64(rand::random_range(0.8..1.2)).saturating_sub(least);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = upstream.nudge.notified() => {}
        }
    }
}

/// Stores the list, or why there is none, and notifies of a change.
fn update_state(upstream: &Upstream, listed: Result<Listed, Error>, changed: &Notify) {
    let name = &upstream.server.name;
    let old = upstream.state();
    let new = match listed {
        Ok((list, instructions)) => {
            let same = old.list.as_ref().filter(|old| ***old == list).map(Arc::clone);
            if let Some(problems) = list.problem_summary().filter(|_| same.is_none()) {
                tracing::warn!(server = %name, %problems, "definitions violate the MCP schema");
            }
            let list = same.unwrap_or_else(|| Arc::new(list));
            if old.status != Status::Connected {
                upstream.breaker.allow_probe();
                tracing::info!(server = %name, tools = list.definitions.len(), "server connected");
            }
            UpstreamState { status: Status::Connected, list: Some(list), instructions }
        }
        Err(error) => {
            let message = format!("{error}{}", upstream.endpoint.advice(&error));
            // While a server starts, refused connections are expected.
            let starting = old.status.is_starting() && Instant::now() < upstream.starting_until;
            let status = if starting && may_be_starting(&error) {
                Status::Starting(message)
            } else {
                Status::Down(message)
            };
            if old.status != status && !status.is_starting() {
                tracing::warn!(server = %name, %error, "server disconnected, its last list stays");
            }
            UpstreamState { status, list: old.list.clone(), instructions: old.instructions.clone() }
        }
    };
    let same_list = match (&old.list, &new.list) {
        (Some(old), Some(new)) => Arc::ptr_eq(old, new),
        (None, None) => true,
        _ => false,
    };
    if !same_list || old.status != new.status {
        upstream.state.store(Arc::new(new));
        changed.notify_one();
    }
}

fn may_be_starting(error: &Error) -> bool {
    match error {
        Error::NotConnected(_) | Error::ConnectionLost(_) => true,
        Error::Http(status) => status.is_server_error(),
        _ => false,
    }
}

/// The server's list, and its instructions for models.
type Listed = (ServerList, Option<Arc<str>>);

async fn list(upstream: &Arc<Upstream>, key: &SessionKey) -> Result<Listed, Error> {
    for may_retry in [true, false] {
        let (pooled, session) = upstream.session(key).await?;
        let link = &session.connection.link;
        let listed = tokio::time::timeout(LIST_TIMEOUT, pages(upstream, link)).await;
        let error = match listed.unwrap_or(Err(Error::TimedOut(LIST_TIMEOUT))) {
            Ok(list) => return Ok((list, link.instructions.clone())),
            Err(error) => error,
        };
        let lost = match error {
            Error::SessionGone(_) => true,
            Error::Refused { code, .. } => link::may_be_lost(code),
            _ => false,
        };
        // The server may have changed its protocol version: the next attempt starts with a
        // handshake. Callers share the session of a server that is slow or unreachable, and it may
        // work again in a moment.
        if lost || matches!(error, Error::Http(_) | Error::InvalidResponse(_)) {
            upstream.pool.remove(key, &pooled);
        }
        if !(may_retry && lost) {
            return Err(error);
        }
    }
    Err(Error::InvalidResponse("a new session is unknown at once".into()))
}

async fn pages(upstream: &Arc<Upstream>, link: &Link) -> Result<ServerList, Error> {
    let mut pages = Vec::new();
    let (mut bytes, mut tools) = (0, 0);
    let mut cursor: Option<String> = None;
    while pages.len() < MAX_PAGES {
        let page = page(upstream, link, cursor.as_deref()).await?;
        let listed = page.list.definitions.iter();
        bytes += listed.map(|tool| tool.name.len() + tool.text.len()).sum::<usize>();
        tools += page.entries;
        if bytes > MAX_LIST_BYTES || tools > MAX_TOOLS {
            return Err(Error::ListTooLong { bytes: MAX_LIST_BYTES, tools: MAX_TOOLS });
        }
        pages.push(page.list);
        match page.next {
            Some(next) if cursor.as_ref() != Some(&next) => cursor = Some(next),
            _ => return Ok(ServerList::from_pages(pages)),
        }
    }
    Err(Error::InvalidResponse(format!("tools/list has more than {MAX_PAGES} pages")))
}

async fn page(upstream: &Arc<Upstream>, link: &Link, cursor: Option<&str>) -> Result<Page, Error> {
    let id = upstream.next_id.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string();
    let members: Vec<(&str, String)> = cursor
        .map(|cursor| ("cursor", mcphub_hub_protocol::json_splice::quoted(cursor)))
        .into_iter()
        .collect();
    let params = rewrite::hub_params(&members, link.hop(None));
    let headers = link.request_headers("tools/list", None);
    let body = link::request(&id, "tools/list", &params);
    let mut response = upstream.endpoint.send(Method::POST, body, &headers, LIST_TIMEOUT).await?;
    let status = response.status;
    if status == StatusCode::NOT_FOUND && link.has_session() {
        return Err(Error::SessionGone(status));
    }
    let result = match link::response_to(&mut response, &id).await {
        Ok(Some(Ok(result))) => result,
        Ok(Some(Err((code, error)))) => {
            return Err(Error::Refused { method: "tools/list", error, code });
        }
        _ if !status.is_success() => return Err(Error::Http(status)),
        Ok(None) => {
            return Err(Error::ConnectionLost("the stream ended without a response".into()));
        }
        Err(error) => return Err(error),
    };
    Page::parse::<ToolDetails>(&result, MAX_TOOLS)
        .ok_or_else(|| Error::InvalidResponse("the result of tools/list".into()))
}
