//! `tools/call`: find the tool, ask its server, pass the answer on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use futures::stream::{self, StreamExt as _};
use mcphub_hub_catalog::arguments::correction::{self, Correction};
use mcphub_hub_catalog::catalog::Tool;
use mcphub_hub_catalog::meta_tools::MetaTool;
use mcphub_hub_protocol::message::{Message, Request, parse};
use mcphub_hub_protocol::outcome::RequestEnd;
use mcphub_hub_protocol::version::ProtocolVersion;
use mcphub_hub_protocol::{json_splice, rewrite};

use crate::serve::http::mcp::{Answer, Ctx, Measured};
use crate::serve::http::stateless;
use crate::serve::methods::{grouping, meta_tools};
use crate::serve::metrics::ToolMetrics;
use crate::serve::state::caller_view::Seen;
use crate::serve::state::hub::{Hub, anonymous};
use crate::serve::state::sessions::UnderWay;
use crate::serve::state::validation::{self, Judged};
use crate::serve::upstream::{Call, Caller, Error, Event, Exchange};

/// A call on its way; what is counted of it is counted when it ends or is dropped.
struct Calling {
    server: String,
    id: String,
    version: ProtocolVersion,
    progress_token: Option<String>,
    began: Instant,
    tool: Option<ToolMetrics>,
    measured: Option<Measured>,
    under_way: Option<UnderWay>,
    teaches: Option<Teaches>,
    /// What the caller is told of.
    corrections: Vec<Correction>,
}

/// A call that shows, by its success, which tool a prompt led to.
struct Teaches {
    hub: Arc<Hub>,
    /// The selection's.
    id: String,
    tool: Arc<Tool>,
}

/// Answers a call.
pub async fn answer(
    hub: &Arc<Hub>,
    ctx: &Ctx,
    headers: &HeaderMap,
    request: &Request<'_>,
    measured: Measured,
) -> Answer {
    let Some(name) = request.params.name.and_then(json_splice::unquoted) else {
        return refused(ctx, request, measured, "Invalid params: name is missing");
    };
    let Some(seen) = Seen::of(hub, hub.live(), ctx.view.as_deref(), ctx.session.as_deref()) else {
        return unknown(ctx, request, measured, &name);
    };
    if ctx.counted {
        hub.metrics.list_cost.called(&seen.visible, &seen.tool_list, &name);
    }
    if let Some(tool) = MetaTool::from_name(&name).filter(|tool| seen.tool_list.has(*tool)) {
        return meta_tools::answer(tool, hub, ctx, headers, request, seen, measured).await;
    }
    if seen.tool_list.dispatcher(&name).is_some() {
        return grouping::answer(&name, hub, ctx, headers, request, seen, measured).await;
    }
    let Some(position) = seen.visible.find(&name) else {
        return unknown(ctx, request, measured, &name);
    };
    if let (Some(session), Some(tool)) = (&ctx.session, seen.visible.tools.get(position)) {
        let additions = hub.additions(session);
        // What is called is wanted: it comes into the list, and stays there while others go.
        if seen.tool_list.lists(position) {
            additions.used(&tool.exposed);
        } else {
            additions.add(&tool.exposed);
        }
    }
    let what = Direct { seen, position, dispatched: false, selection: None, correction: None };
    let answer = direct(hub, ctx, headers, request, what, measured).await;
    meta_tools::telling(hub, ctx, answer)
}

/// A tool that was found.
pub struct Direct<'a> {
    /// What the caller sees.
    pub seen: Seen,
    /// Position of the tool in the visible.
    pub position: usize,
    /// By a meta-tool: the caller's headers are that one's.
    pub dispatched: bool,
    /// The selection that led to it.
    pub selection: Option<&'a str>,
    /// What was corrected to find it.
    pub correction: Option<Correction>,
}

/// Calls a tool by its own name.
pub async fn direct(
    hub: &Arc<Hub>,
    ctx: &Ctx,
    headers: &HeaderMap,
    request: &Request<'_>,
    what: Direct<'_>,
    measured: Measured,
) -> Answer {
    let Direct { seen, position, dispatched, selection, correction } = what;
    let tool = seen.visible.tools.get(position);
    let token = request.params.meta.as_ref().and_then(|meta| meta.progress_token);
    let teaches = |id: &str| {
        Some(Teaches { hub: Arc::clone(hub), id: id.to_owned(), tool: Arc::clone(tool?) })
    };
    let mut calling = Calling {
        server: String::new(),
        id: request.id.to_owned(),
        version: ctx.version,
        progress_token: token.filter(|_| ctx.streams).map(str::to_owned),
        began: Instant::now(),
        tool: seen.live.metrics_of(&seen.visible, position).filter(|_| ctx.counted).cloned(),
        measured: Some(measured),
        under_way: ctx.session.as_ref().map(|session| session.begin(request.id)),
        teaches: selection.and_then(teaches),
        corrections: correction.into_iter().collect(),
    };
    let Some(tool) = tool else { return calling.bug() };
    if ctx.version == ProtocolVersion::Stateless
        && !dispatched
        && let Err(error) = stateless::check_mirrored(headers, tool, &request.params)
    {
        calling.end(RequestEnd::Rejected);
        return Answer::error(ctx.version, request.id, &error, -32020);
    }
    match hub.judge(tool, request.params.arguments) {
        Judged::Passed => send(&seen, position, ctx, request, calling).await,
        Judged::Refused(message) => {
            calling.end(RequestEnd::Rejected);
            calling.tool_error(&message)
        }
        Judged::Corrected { arguments, corrections } => {
            let text = validation::corrected(request, &arguments);
            let Ok(Message::Request(corrected)) = parse(&text) else { return calling.bug() };
            calling.corrections.extend(corrections);
            send(&seen, position, ctx, &corrected, calling).await
        }
    }
}

/// The answer to a call of a tool that the caller may not know of, or that is not there: the same for both.
pub fn unknown(ctx: &Ctx, request: &Request<'_>, measured: Measured, name: &str) -> Answer {
    refused(ctx, request, measured, &format!("Unknown tool: {name}"))
}

async fn send(
    seen: &Seen,
    position: usize,
    ctx: &Ctx,
    request: &Request<'_>,
    mut calling: Calling,
) -> Answer {
    // The visible was made of these servers, so both are there.
    let Some(tool) = seen.visible.tools.get(position) else { return calling.bug() };
    let Some(upstream) = seen.live.servers.get(tool.server).and_then(|slot| slot.upstream()) else {
        return calling.bug();
    };
    calling.server.clone_from(&upstream.server.name);
    let caller = Caller {
        principal: anonymous(),
        session: ctx.session.as_ref().map(|session| session.unique),
    };
    let call = Call { tool, params: &request.params, progress: calling.progress_token.is_some() };
    let cancelled =
        calling.under_way.as_ref().map(|call| call.cancelled.clone()).unwrap_or_default();
    let began = Instant::now();
    let asked = tokio::select! {
        asked = upstream.call(caller, call) => asked,
        () = cancelled.cancelled() => return calling.cancelled(),
    };
    calling.waited(began);
    match asked {
        Ok(exchange) => calling.read(exchange).await,
        Err(error) => calling.failed(&error),
    }
}

fn refused(ctx: &Ctx, request: &Request<'_>, measured: Measured, message: &str) -> Answer {
    measured.end(RequestEnd::Rejected);
    Answer::error(ctx.version, request.id, &rewrite::error(-32602, message), -32602)
}

impl Calling {
    /// Reads up to the response, or up to the first progress: then the answer is a stream.
    async fn read(mut self, mut exchange: Exchange) -> Answer {
        let first = match self.next(&mut exchange).await {
            Next::Progress(first) => first,
            Next::Last(answer) => return answer,
        };
        let rest = stream::unfold(Some((self, exchange)), |state| async move {
            let (mut calling, mut exchange) = state?;
            match calling.next(&mut exchange).await {
                Next::Progress(message) => Some((message, Some((calling, exchange)))),
                Next::Last(answer) => answer.into_text().map(|text| (text, None)),
            }
        });
        Answer::Stream(stream::iter([first]).chain(rest).boxed())
    }

    async fn next(&mut self, exchange: &mut Exchange) -> Next {
        let cancelled =
            self.under_way.as_ref().map(|call| call.cancelled.clone()).unwrap_or_default();
        loop {
            let began = Instant::now();
            let event = tokio::select! {
                event = exchange.next() => event,
                () = cancelled.cancelled() => return Next::Last(self.cancelled()),
            };
            self.waited(began);
            match event {
                Ok(Event::Progress(params)) => {
                    let ours = exchange.id();
                    let token = self.progress_token.as_deref();
                    if let Some(params) =
                        token.and_then(|token| rewrite::progress_params(&params, ours, token))
                    {
                        return Next::Progress(format!(
                            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{params}}}"#
                        ));
                    }
                }
                Ok(Event::Result(result)) => return Next::Last(self.result(&result)),
                Ok(Event::Error(error, code)) => {
                    self.end(RequestEnd::UpstreamError { code });
                    return Next::Last(Answer::error(self.version, &self.id, &error, code));
                }
                Err(error) => return Next::Last(self.failed(&error)),
            }
        }
    }

    fn result(&mut self, result: &str) -> Answer {
        let Some(head) = rewrite::result_head(result) else {
            return self.failed(&Error::Unparsable("the result of tools/call".into()));
        };
        if head.result_type.as_deref().is_some_and(|kind| kind != "complete") {
            return self.failed(&Error::Unparsable(
                "it wants input from the caller, which mcp-hub does not pass on yet".into(),
            ));
        }
        self.end(if head.is_error { RequestEnd::ToolError } else { RequestEnd::Result });
        if let Some(Teaches { hub, id, tool }) = self.teaches.take().filter(|_| !head.is_error) {
            hub.selector.learn(&id, anonymous(), tool);
        }
        let told = (!self.corrections.is_empty())
            .then(|| correction::add_to_result(result, &self.corrections));
        Answer::result(
            &self.id,
            &rewrite::result_for(self.version, told.as_deref().unwrap_or(result), &head),
        )
    }

    /// A tool error that tells the model what happened.
    fn failed(&mut self, error: &Error) -> Answer {
        tracing::debug!(server = %self.server, %error, "call failed");
        self.end(error.ending());
        self.tool_error(&format!("Server \"{}\" {error}.", self.server))
    }

    fn bug(&mut self) -> Answer {
        tracing::error!("a visible tool has no server");
        self.end(RequestEnd::Bug);
        Answer::error(self.version, &self.id, &rewrite::error(-32603, "Internal error"), -32603)
    }

    fn cancelled(&mut self) -> Answer {
        self.end(RequestEnd::Cancelled);
        self.tool_error("The call was cancelled.")
    }

    fn tool_error(&self, message: &str) -> Answer {
        let result = rewrite::tool_error(message);
        let head = rewrite::ResultHead::default();
        Answer::result(&self.id, &rewrite::result_for(self.version, &result, &head))
    }

    fn waited(&mut self, since: Instant) {
        if let Some(measured) = &mut self.measured {
            measured.upstream += since.elapsed();
        }
    }

    fn end(&mut self, ending: RequestEnd) {
        if let Some(measured) = self.measured.take() {
            measured.end(ending);
        }
        if let Some(tool) = self.tool.take() {
            tool.called(ending.outcome(), self.began.elapsed().max(Duration::ZERO));
        }
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        // Dropped before its end: the client went away.
        self.end(RequestEnd::Cancelled);
    }
}

enum Next {
    Progress(String),
    Last(Answer),
}

impl Answer {
    fn into_text(self) -> Option<String> {
        match self {
            Self::One { text, .. } => Some(text),
            Self::Accepted | Self::Stream(_) => None,
        }
    }
}
