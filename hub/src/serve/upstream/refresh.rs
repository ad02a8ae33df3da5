//! Keeps a server's list of tools fresh: at start, when the server says so, and now and then.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http::header::{ACCEPT, HeaderValue};
use mcphub_hub_catalog::catalog::{Page, ServerList, ToolDetails};
use mcphub_hub_protocol::message::{UpstreamMessage as Message, parse_upstream};
use mcphub_hub_protocol::rewrite;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::error::Error;
use super::link::{self, Link};
use super::pool::Key;
use super::{State, Status, Upstream};

/// A server that says nothing of changes is asked this often; also how a silent death is noticed.
const PERIOD: Duration = Duration::from_secs(30);
/// Longest wait for a list, however patient calls to the server may be.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);
/// More pages than this are a server that goes round in circles.
const MAX_PAGES: usize = 1000;
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LAST_DELAY: Duration = Duration::from_secs(30);
/// A server that is still starting is asked more often: clients wait for its tools.
const LAST_STARTING_DELAY: Duration = Duration::from_secs(1);

/// Runs until the server is closed.
pub(super) async fn run(upstream: Arc<Upstream>, base: Key, changed: Arc<Notify>) {
    let closed = upstream.closed.clone();
    tokio::select! {
        () = closed.cancelled() => {}
        () = keep(&upstream, &base, &changed) => {}
    }
}

async fn keep(upstream: &Arc<Upstream>, base: &Key, changed: &Notify) {
    let mut delay = FIRST_DELAY;
    let mut listener = Listener::default();
    loop {
        let listed = tokio::time::timeout(LIST_TIMEOUT, list(upstream, base, &mut listener)).await;
        let listed = listed.unwrap_or(Err(Error::TimedOut(LIST_TIMEOUT)));
        let wait = if listed.is_ok() { PERIOD } else { delay };
        delay = match &listed {
            Ok(_) => FIRST_DELAY,
            Err(_) if upstream.state().status.is_starting() => (delay * 2).min(LAST_STARTING_DELAY),
            Err(_) => (delay * 2).min(LAST_DELAY),
        };
        // Every failed call nudges: a dead server must not be asked as often as it is called.
        let least = if listed.is_ok() { FIRST_DELAY } else { delay.min(LAST_STARTING_DELAY) };
        note(upstream, listed, changed);
        tokio::time::sleep(least).await;
        let wait = wait.mul_f64(rand::random_range(0.8..1.2)).saturating_sub(least);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = upstream.nudge.notified() => {}
        }
    }
}

/// Puts a list, or why there is none, in force.
fn note(upstream: &Upstream, listed: Result<Listed, Error>, changed: &Notify) {
    let name = &upstream.server.name;
    let old = upstream.state();
    let new = match listed {
        Ok((list, instructions)) => {
            let same = old.list.as_ref().filter(|old| ***old == list).map(Arc::clone);
            let list = same.unwrap_or_else(|| Arc::new(list));
            if old.status != Status::Connected {
                tracing::info!(server = %name, tools = list.definitions.len(), "server is connected");
            }
            State { status: Status::Connected, list: Some(list), instructions }
        }
        Err(error) => {
            let message = error.to_string();
            // While it starts, refused connections are what one expects.
            let starting = old.status.is_starting() && Instant::now() < upstream.starting_until;
            let status = if starting && may_be_starting(&error) {
                Status::Starting(message)
            } else {
                Status::Down(message)
            };
            if old.status != status && !status.is_starting() {
                tracing::warn!(server = %name, %error, "server is not connected; the tools that it last listed stay");
            }
            State { status, list: old.list.clone(), instructions: old.instructions.clone() }
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
        Error::NotConnected(_) | Error::Cut(_) => true,
        Error::Http(status) => status.is_server_error(),
        _ => false,
    }
}

/// The server's list, and what it says of itself to models.
type Listed = (ServerList, Option<Arc<str>>);

async fn list(
    upstream: &Arc<Upstream>,
    base: &Key,
    listener: &mut Listener,
) -> Result<Listed, Error> {
    for again in [true, false] {
        let (session, link) = upstream.session(base).await?;
        match pages(upstream, &link).await {
            Ok(list) => {
                listener.listen(upstream, &link);
                return Ok((list, link.instructions));
            }
            Err(error) => {
                match error {
                    Error::SessionGone(_) => upstream.pool.forget(base, &session),
                    // The server may have changed its version: the next try opens the way anew.
                    Error::Http(_) | Error::Unparsable(_) => {
                        upstream.pool.forget(base, &session);
                        drop(upstream.delete(&[session]));
                    }
                    // Slow or unreachable: callers share this session, and it may be there again in a moment.
                    _ => {}
                }
                if !(again && matches!(error, Error::SessionGone(_))) {
                    return Err(error);
                }
            }
        }
    }
    Err(Error::Unparsable("the session is gone as soon as it is open".into()))
}

async fn pages(upstream: &Arc<Upstream>, link: &Link) -> Result<ServerList, Error> {
    let mut pages = Vec::new();
    let mut cursor: Option<String> = None;
    while pages.len() < MAX_PAGES {
        let page = page(upstream, link, cursor.as_deref()).await?;
        if page.malformed > 0 {
            tracing::warn!(server = %upstream.server.name, count = page.malformed, "entries in tools/list are no tools");
        }
        pages.push(page.list);
        match page.next {
            Some(next) if cursor.as_ref() != Some(&next) => cursor = Some(next),
            _ => return Ok(ServerList::from_pages(pages)),
        }
    }
    Err(Error::Unparsable(format!("tools/list has more than {MAX_PAGES} pages")))
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
    let mut answer = upstream.endpoint.send(Method::POST, body, &headers, LIST_TIMEOUT).await?;
    if link::says_gone(link, &mut answer, &id).await? {
        return Err(Error::SessionGone(answer.status));
    }
    let status = answer.status;
    let result = match link::response_to(&mut answer, &id).await {
        Ok(Some(Ok(result))) => result,
        Ok(Some(Err((code, error)))) => {
            return Err(Error::Refused { method: "tools/list", error, code });
        }
        _ if !status.is_success() => return Err(Error::Http(status)),
        Ok(None) => return Err(Error::Cut("it ended without a response".into())),
        Err(error) => return Err(error),
    };
    Page::parse::<ToolDetails>(&result)
        .ok_or_else(|| Error::Unparsable("the result of tools/list".into()))
}

/// Hears from a legacy server, on the stream of its session, that its tools have changed.
#[derive(Debug, Default)]
struct Listener {
    running: Option<(AbortHandle, Link)>,
}

impl Listener {
    fn listen(&mut self, upstream: &Arc<Upstream>, link: &Link) {
        if self
            .running
            .as_ref()
            .is_some_and(|(_, on)| std::sync::Arc::ptr_eq(&on.headers, &link.headers))
        {
            return;
        }
        self.stop();
        if !link.modern && link.has_session() && link.tells_changes {
            let task = tokio::spawn(hear(Arc::clone(upstream), link.clone()));
            self.running = Some((task.abort_handle(), link.clone()));
        }
    }

    fn stop(&mut self) {
        if let Some((task, _)) = self.running.take() {
            task.abort();
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn hear(upstream: Arc<Upstream>, link: Link) {
    let mut headers = http::HeaderMap::clone(&link.headers);
    headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    let mut delay = FIRST_DELAY;
    loop {
        let opened = Instant::now();
        let answer =
            upstream.endpoint.send(Method::GET, String::new(), &headers, LIST_TIMEOUT).await;
        match answer {
            // It has no such stream; asking now and then has to do.
            Ok(answer) if answer.status == http::StatusCode::METHOD_NOT_ALLOWED => return,
            Ok(mut answer) if answer.status.is_success() && answer.is_stream() => {
                while let Ok(Some(text)) = answer.next().await {
                    match parse_upstream(&text) {
                        Some(Message::Notification { method, .. })
                            if method == "notifications/tools/list_changed" =>
                        {
                            upstream.nudge.notify_one();
                        }
                        Some(Message::Request { id, method }) => {
                            upstream.answer_request(&link, id, &method)
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        // A change may have fallen into the gap, and the server may be gone: also before the stream was open.
        upstream.nudge.notify_one();
        delay =
            if opened.elapsed() > LAST_DELAY { FIRST_DELAY } else { (delay * 2).min(LAST_DELAY) };
        tokio::time::sleep(delay).await;
    }
}
