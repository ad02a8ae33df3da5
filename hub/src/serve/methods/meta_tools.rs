//! The hub's own tools: [`analyze_prompt`] puts tools on a session's list, [`find_tools`] shows their definitions, [`dispatch`]
//! calls them.

mod analyze_prompt;
mod dispatch;
mod find_tools;

use std::sync::Arc;

use axum::http::HeaderMap;
use futures::stream::{self, StreamExt as _};
use mcphub_hub_catalog::meta_tools::MetaTool;
use mcphub_hub_protocol::json_splice::{Edits, quoted};
use mcphub_hub_protocol::message::{Params, Request};
use mcphub_hub_protocol::outcome::RequestEnd;
use mcphub_hub_protocol::rewrite;
use mcphub_hub_protocol::version::ProtocolVersion;

use crate::serve::http::mcp::{Answer, Ctx, LIST_CHANGED, Measured};
use crate::serve::state::caller_view::Seen;
use crate::serve::state::hub::Hub;

/// Answers a call of one of them, which the caller has.
pub async fn answer(
    tool: MetaTool,
    hub: &Arc<Hub>,
    ctx: &Ctx,
    headers: &HeaderMap,
    request: &Request<'_>,
    seen: Seen,
    measured: Measured,
) -> Answer {
    let text = match tool {
        MetaTool::Call(class) => {
            return dispatch::answer(class, hub, ctx, headers, request, seen, measured).await;
        }
        MetaTool::FindTools => find_tools::text(hub, ctx, request, &seen).await,
        MetaTool::AnalyzePrompt => analyze_prompt::text(hub, ctx, request, &seen).await,
    };
    match text {
        Ok(text) => {
            measured.end(RequestEnd::Result);
            telling(hub, ctx, result(ctx.version, request.id, &text))
        }
        Err(Failed { ending, message }) => {
            measured.end(ending);
            tool_error(ctx.version, request.id, &message)
        }
    }
}

/// Why a meta-tool has no answer.
struct Failed {
    ending: RequestEnd,
    /// For the model that called.
    message: String,
}

impl Failed {
    /// The caller's doing.
    fn refused(message: String) -> Self {
        Self { ending: RequestEnd::Rejected, message }
    }
}

impl From<crate::selector::Error> for Failed {
    fn from(error: crate::selector::Error) -> Self {
        let ending = match error {
            crate::selector::Error::Busy => RequestEnd::Rejected, // as requests over any other bound count
            _ => RequestEnd::Bug,
        };
        Self { ending, message: format!("The search of this hub {error}.") }
    }
}

/// The call of the tool itself: other members of the parameters (progress token and the like) stay as they are.
pub(super) fn resolved(request: &Request<'_>, tool: &str, arguments: &str) -> String {
    let Params { text, name, arguments: given, .. } = &request.params;
    let params = match (text, name, given) {
        (Some(text), Some(name), Some(given)) => {
            Edits::new(text).replace(name, quoted(tool)).replace(given, arguments).finish()
        }
        // A call that stands for another has both.
        _ => format!(r#"{{"name":{},"arguments":{arguments}}}"#, quoted(tool)),
    };
    format!(r#"{{"jsonrpc":"2.0","id":{},"method":"tools/call","params":{params}}}"#, request.id)
}

/// A text as a tool's result.
pub(super) fn result(version: ProtocolVersion, id: &str, text: &str) -> Answer {
    let result = format!(r#"{{"content":[{{"type":"text","text":{}}}]}}"#, quoted(text));
    Answer::result(id, &rewrite::result_for(version, &result, &rewrite::ResultHead::default()))
}

/// A tool error.
pub(super) fn tool_error(version: ProtocolVersion, id: &str, message: &str) -> Answer {
    let result = rewrite::tool_error(message);
    Answer::result(id, &rewrite::result_for(version, &result, &rewrite::ResultHead::default()))
}

/// The answer, with the news before it that the session's list has changed, where that is so and no stream is open that
/// would say it: clients that never open one would list no tool that a prompt has added.
pub(super) fn telling(hub: &Hub, ctx: &Ctx, answer: Answer) -> Answer {
    let tells = ctx.streams
        && ctx.session.as_ref().is_some_and(|session| !session.has_stream() && hub.tells(session));
    let news = stream::iter([LIST_CHANGED.to_owned()]);
    match answer {
        Answer::One { text, .. } if tells => {
            Answer::Stream(news.chain(stream::iter([text])).boxed())
        }
        Answer::Stream(messages) if tells => Answer::Stream(news.chain(messages).boxed()),
        answer => answer,
    }
}

/// A score as models and people read it.
fn score(score: f32) -> String {
    let score = if score.is_finite() { score.clamp(0.0, 1.0) } else { 0.0 }; // NaN is no JSON
    format!("{score:.3}")
}
