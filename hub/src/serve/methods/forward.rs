//! Sends a call to the server of its tool, and passes on its response.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _};
use mcphub_hub_catalog::arguments::correction::{self, Correction};
use mcphub_hub_catalog::catalog::Tool;
use mcphub_hub_protocol::mcp_headers::is_ambiguous;
use mcphub_hub_protocol::message::Request;
use mcphub_hub_protocol::outcome::RequestEnd;
use mcphub_hub_protocol::rewrite;
use mcphub_hub_protocol::version::ProtocolVersion;

use super::SERVER_INFO;
use super::answer::{Answer, StreamItem};
use super::ctx::{Ctx, HEADER_MISMATCH};
use super::request_timer::RequestTimer;
use crate::serve::metrics::ToolMetrics;
use crate::serve::state::caller_view::CallerView;
use crate::serve::state::hub::Hub;
use crate::serve::state::in_flight::Permit;
use crate::serve::state::sessions::CancelHandle;
use crate::serve::state::validation::Validated;
use crate::serve::upstream::{CallTool, Error, Exchange, ExchangeEvent, SessionOwner};

/// One `tools/call`, with everything that its answer depends on.
pub(super) struct CallRequest<'a> {
    pub(super) hub: &'a Arc<Hub>,
    pub(super) ctx: &'a Ctx,
    pub(super) request: &'a Request<'a>,
    pub(super) view: CallerView,
    pub(super) timer: RequestTimer,
}

impl CallRequest<'_> {
    /// Ends the call with a text as the tool's result.
    pub(super) fn text(self, text: &str) -> Answer {
        self.timer.end(RequestEnd::Result);
        Answer::tool_text(self.ctx.version, self.request.id, text)
    }

    /// Ends the call with a tool error, for the model that called.
    pub(super) fn tool_error(self, ending: RequestEnd, message: &str) -> Answer {
        self.timer.end(ending);
        Answer::tool_error(self.ctx.version, self.request.id, message)
    }

    /// Ends the call of a tool that does not exist, or that the caller may not know of.
    pub(super) fn unknown_tool(self, name: &str) -> Answer {
        unknown_tool(self.request, self.timer, name)
    }
}

/// A progress notification with these parameters (JSON text).
fn progress(params: &str) -> String {
    let method = "notifications/progress";
    format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#)
}

/// The answer to a call of a tool that does not exist or that the caller may not know of. It is the
/// same for both.
pub(super) fn unknown_tool(request: &Request<'_>, timer: RequestTimer, name: &str) -> Answer {
    refuse(request, timer, &format!("Unknown tool: {name}"))
}

/// Refuses the parameters of a call.
pub(super) fn refuse(request: &Request<'_>, timer: RequestTimer, message: &str) -> Answer {
    timer.end(RequestEnd::Rejected);
    Answer::error(request.id, &rewrite::error(-32602, message), -32602)
}

/// The tool that a call resolved to, and how.
pub(super) struct Target<'a> {
    /// The position of the tool among the visible tools.
    pub(super) position: usize,
    /// The arguments for the tool, as JSON text.
    pub(super) arguments: Option<Cow<'a, str>>,
    /// The client called another tool that stands for this one, so its headers mirror that one's
    /// arguments.
    pub(super) dispatched: bool,
    /// The selection that led to the tool.
    pub(super) selection: Option<&'a str>,
    /// What was corrected to find the tool.
    pub(super) correction: Option<Correction>,
}

impl<'a> Target<'a> {
    /// A tool that the client called by its own name.
    pub(super) fn named(position: usize, arguments: Option<&'a str>) -> Self {
        let arguments = arguments.map(Cow::Borrowed);
        Self { position, arguments, dispatched: false, selection: None, correction: None }
    }
}

/// Calls the tool, unless its headers or arguments are refused.
pub(super) async fn forward(call: CallRequest<'_>, target: Target<'_>) -> Answer {
    let CallRequest { hub, ctx, request, view, timer } = call;
    let Target { position, arguments, dispatched, selection, correction } = target;
    let mut in_flight = CallInFlight::start(ctx, request, timer);
    let Some(tool) = view.visible.tools.get(position) else { return in_flight.bug() };
    in_flight.tool = view.metrics_of(position).filter(|_| ctx.counted).cloned();
    in_flight.corrections.extend(correction);
    in_flight.feedback =
        selection.map(|selection| SelectionFeedback::new(hub, ctx, selection, tool));
    if let Some(doubled) =
        tool.param_headers().iter().find(|it| is_ambiguous(it, arguments.as_deref()))
    {
        in_flight.end(RequestEnd::Rejected);
        let path = doubled.path.join(".");
        let error = rewrite::error(-32602, &format!("Invalid params: {path} is there twice"));
        return Answer::error(request.id, &error, -32602);
    }
    if ctx.version.is_stateless()
        && !dispatched
        && let Err(error) = ctx.mirrored.check(tool, arguments.as_deref())
    {
        in_flight.end(RequestEnd::Rejected);
        return Answer::error(request.id, &error, HEADER_MISMATCH);
    }
    let arguments = match hub.validate(tool, arguments.as_deref()) {
        Validated::Unchanged => arguments,
        Validated::Refused(message) => {
            in_flight.end(RequestEnd::Rejected);
            return in_flight.tool_error(&message);
        }
        Validated::Corrected { arguments, corrections } => {
            in_flight.corrections.extend(corrections);
            Some(Cow::Owned(arguments))
        }
    };
    let call = CallTool {
        tool,
        arguments: arguments.as_deref(),
        rest: &request.params,
        progress: in_flight.progress_token.is_some(),
    };
    in_flight.send(ctx, &view, call).await
}

/// A call that has not ended. Its metrics are counted when it ends or is dropped.
struct CallInFlight {
    server: String,
    id: String,
    version: ProtocolVersion,
    /// The client's progress token as JSON; `None` if the client wants no progress or accepts no
    /// stream.
    progress_token: Option<String>,
    start: Instant,
    tool: Option<ToolMetrics>,
    timer: Option<RequestTimer>,
    cancel: Option<CancelHandle>,
    feedback: Option<SelectionFeedback>,
    /// The corrections that the caller is told about in the result.
    corrections: Vec<Correction>,
    /// The place of the call among those of its server.
    place: Option<Permit>,
}

/// A success of the call teaches the selector which tool a prompt led to.
struct SelectionFeedback {
    hub: Arc<Hub>,
    selection: String,
    /// Hash of the principal that called.
    principal: [u8; 32],
    tool: Arc<Tool>,
}

impl SelectionFeedback {
    fn new(hub: &Arc<Hub>, ctx: &Ctx, selection: &str, tool: &Arc<Tool>) -> Self {
        Self {
            hub: Arc::clone(hub),
            selection: selection.to_owned(),
            principal: ctx.principal.hash(),
            tool: Arc::clone(tool),
        }
    }

    fn give(self) {
        self.hub.selector.learn(&self.selection, self.principal, self.tool);
    }
}

/// What the next event of an exchange means for the client.
enum Next {
    Progress(StreamItem),
    End(Answer),
}

impl CallInFlight {
    fn start(ctx: &Ctx, request: &Request<'_>, timer: RequestTimer) -> Self {
        let token = request.params.meta.as_ref().and_then(|meta| meta.progress_token);
        Self {
            server: String::new(),
            id: request.id.to_owned(),
            version: ctx.version,
            progress_token: token.filter(|_| ctx.accepts_stream).map(str::to_owned),
            start: Instant::now(),
            tool: None,
            timer: Some(timer),
            cancel: ctx.session.as_ref().map(|session| session.start_call(request.id)),
            feedback: None,
            corrections: Vec::new(),
            place: None,
        }
    }

    async fn send(mut self, ctx: &Ctx, view: &CallerView, call: CallTool<'_>) -> Answer {
        // The visible tools were computed from the servers of this snapshot, so the server exists.
        let slot = view.snapshot.servers.get(call.tool.server);
        let Some(upstream) = slot.and_then(|slot| slot.upstream()) else { return self.bug() };
        self.server.clone_from(&upstream.server.name);
        // A server that hangs must leave room for the calls of the others, and for lists.
        let most = (view.snapshot.config.limits.max_concurrent / 2).max(1);
        self.place = upstream.calls.try_acquire(most);
        if self.place.is_none() {
            return self.failed(&Error::Busy(most));
        }
        let owner = SessionOwner {
            principal: ctx.principal.hash(),
            session: ctx.session.as_ref().map(|session| session.unique),
        };
        let cancelled = self.cancel.as_ref().map(CancelHandle::token).unwrap_or_default();
        let start = Instant::now();
        let sent = tokio::select! {
            sent = upstream.call(owner, call) => sent,
            () = cancelled.cancelled() => return self.cancelled(),
        };
        self.add_upstream_time(start);
        match sent {
            Ok(exchange) => self.read(exchange).await,
            Err(error) => self.failed(&error),
        }
    }

    /// Reads up to the response. If progress comes first, the answer is a stream.
    async fn read(mut self, mut exchange: Exchange) -> Answer {
        let first = match self.next(&mut exchange).await {
            Next::Progress(first) => first,
            Next::End(answer) => return answer,
        };
        let rest = stream::unfold(Some((self, exchange)), |state| async move {
            let (mut call, mut exchange) = state?;
            match call.next(&mut exchange).await {
                Next::Progress(item) => Some((item, Some((call, exchange)))),
                Next::End(answer) => {
                    answer.into_message().map(|message| (StreamItem::Message(message), None))
                }
            }
        });
        Answer::Stream(stream::iter([first]).chain(rest).boxed())
    }

    async fn next(&mut self, exchange: &mut Exchange) -> Next {
        let cancelled = self.cancel.as_ref().map(CancelHandle::token).unwrap_or_default();
        loop {
            let start = Instant::now();
            let event = tokio::select! {
                event = exchange.next() => event,
                () = cancelled.cancelled() => return Next::End(self.cancelled()),
            };
            self.add_upstream_time(start);
            match event {
                Ok(ExchangeEvent::Progress(params)) => {
                    let ours = exchange.id();
                    let token = self.progress_token.as_deref();
                    if let Some(params) =
                        token.and_then(|token| rewrite::progress_params(&params, ours, token))
                    {
                        return Next::Progress(StreamItem::Message(progress(&params)));
                    }
                }
                Ok(ExchangeEvent::Result(result)) => return Next::End(self.result(&result)),
                Ok(ExchangeEvent::Error(error, code)) => {
                    self.end(RequestEnd::UpstreamError { code });
                    return Next::End(Answer::error(&self.id, &error, code));
                }
                Err(error) => return Next::End(self.failed(&error)),
            }
        }
    }

    fn result(&mut self, result: &str) -> Answer {
        let Some(head) = rewrite::result_head(result) else {
            return self.failed(&Error::InvalidResponse("the result of tools/call".into()));
        };
        if head.result_type.as_deref().is_some_and(|kind| kind != "complete") {
            return self.failed(&Error::InputRequired);
        }
        self.end(if head.is_error { RequestEnd::ToolError } else { RequestEnd::Result });
        if let Some(feedback) = self.feedback.take().filter(|_| !head.is_error) {
            feedback.give();
        }
        let with_corrections = (!self.corrections.is_empty())
            .then(|| correction::add_to_result(result, &self.corrections));
        let result = with_corrections.as_deref().unwrap_or(result);
        Answer::result(&self.id, &rewrite::result_for(self.version, result, &head, SERVER_INFO))
    }

    /// Ends with a tool error that tells the model what happened.
    fn failed(&mut self, error: &Error) -> Answer {
        tracing::debug!(server = %self.server, %error, "call failed");
        self.end(error.ending());
        self.tool_error(&format!("Server \"{}\" {error}.", self.server))
    }

    fn bug(&mut self) -> Answer {
        tracing::error!("bug: a visible tool has no server");
        self.end(RequestEnd::Bug);
        Answer::error(&self.id, &rewrite::error(-32603, "Internal error"), -32603)
    }

    fn cancelled(&mut self) -> Answer {
        self.end(RequestEnd::Cancelled);
        self.tool_error("The call was cancelled.")
    }

    fn tool_error(&self, message: &str) -> Answer {
        Answer::tool_error(self.version, &self.id, message)
    }

    fn add_upstream_time(&mut self, start: Instant) {
        if let Some(timer) = &mut self.timer {
            timer.upstream += start.elapsed();
        }
    }

    fn end(&mut self, ending: RequestEnd) {
        if let Some(timer) = self.timer.take() {
            timer.end(ending);
        }
        if let Some(tool) = self.tool.take() {
            tool.count_call(ending.outcome(), self.start.elapsed().max(Duration::ZERO));
        }
    }
}

impl Drop for CallInFlight {
    fn drop(&mut self) {
        // Dropped before its end: the client went away.
        self.end(RequestEnd::Cancelled);
    }
}
