//! The hub's own tools: [`analyze_prompt`] adds tools to a session's list, [`find_tools`] returns
//! their definitions, [`dispatch`] calls them.

mod analyze_prompt;
mod dispatch;
mod find_tools;

use mcphub_hub_catalog::meta_tools::MetaTool;
use mcphub_hub_protocol::outcome::RequestEnd;

use super::answer::Answer;
use super::forward::CallRequest;
use super::list_changes;

/// Answers a call of a meta-tool that the caller has in its list.
pub(super) async fn answer(tool: MetaTool, call: CallRequest<'_>) -> Answer {
    let text = match tool {
        MetaTool::Call(class) => return dispatch::answer(class, call).await,
        MetaTool::FindTools => find_tools::answer_text(&call).await,
        MetaTool::AnalyzePrompt => analyze_prompt::answer_text(&call).await,
    };
    match text {
        Ok(text) => {
            let (hub, ctx) = (call.hub, call.ctx);
            list_changes::prepend(hub, ctx, call.text(&text))
        }
        Err(Error { ending, message }) => call.tool_error(ending, &message),
    }
}

/// Why a meta-tool has no answer.
struct Error {
    ending: RequestEnd,
    /// For the model that called the tool.
    message: String,
}

impl Error {
    /// The caller's mistake.
    fn refused(message: String) -> Self {
        Self { ending: RequestEnd::Rejected, message }
    }
}

impl From<crate::selector::Error> for Error {
    fn from(error: crate::selector::Error) -> Self {
        let ending = match error {
            crate::selector::Error::Busy => RequestEnd::Rejected, // like every request over a bound
            _ => RequestEnd::Bug,
        };
        Self { ending, message: format!("The search of this hub {error}.") }
    }
}

/// A score with three digits. NaN is not JSON, so it becomes 0.
fn score(score: f32) -> String {
    let score = if score.is_finite() { score.clamp(0.0, 1.0) } else { 0.0 };
    format!("{score:.3}")
}
