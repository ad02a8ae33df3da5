//! Calls of a dispatching tool.

use std::borrow::Cow;

use mcphub_hub_protocol::json_splice::{self, quoted};

use super::{Dispatcher, group};
use crate::arguments::correction::{Correction, CorrectionKind};
use crate::catalog::Tool;

/// Most actions that an error names.
const MAX_ACTION_NAMES: usize = 50;

/// What a call of a dispatching tool asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum DispatchCall<'a> {
    /// A call of a tool.
    Tool {
        /// Its position among the visible tools.
        position: usize,
        /// Its exposed name.
        name: &'a str,
        /// Its arguments, byte for byte.
        arguments: &'a str,
        /// How the name of the action was corrected.
        correction: Option<Correction>,
    },
    /// The help action; this text is the result.
    Help(String),
    /// A call that is invalid; this text says what to write instead.
    Invalid(String),
}

impl Dispatcher {
    /// Reads the arguments of a call. With `correct`, an action may have another case or one wrong
    /// letter.
    pub fn parse<'a>(&'a self, arguments: Option<&'a str>, correct: bool) -> DispatchCall<'a> {
        let members = match arguments.filter(|text| *text != "null") {
            Some(text) => crate::arguments::unique_members(text),
            None => Some(Vec::new()),
        };
        let Some(members) = members else {
            return DispatchCall::Invalid(
                r#"write {"action": NAME, "arguments": {…}}, and each member only once"#.to_owned(),
            );
        };
        let value =
            |key: &str| members.iter().find(|member| member.key == key).map(|member| member.value);
        let Some(action) = value("action").and_then(json_splice::unquoted) else {
            return DispatchCall::Invalid(format!(
                "action is missing; choose one of {}",
                self.actions()
            ));
        };
        if let Some(stray) =
            members.iter().find(|member| !matches!(&*member.key, "action" | "arguments"))
        {
            return DispatchCall::Invalid(format!(
                "{} is unknown here; put it into arguments",
                quoted(&stray.key)
            ));
        }
        let arguments = value("arguments").filter(|text| *text != "null").unwrap_or("{}");
        if !arguments.starts_with('{') {
            return DispatchCall::Invalid("arguments must be an object".to_owned());
        }
        if action == self.group.help() {
            return self.answer_help(arguments);
        }
        match self.find_action(&action, correct) {
            Some((position, tool, correction)) => {
                DispatchCall::Tool { position, name: &tool.exposed, arguments, correction }
            }
            None => DispatchCall::Invalid(format!(
                "there is no action {}; the actions are {}",
                quoted(&action),
                self.actions()
            )),
        }
    }

    /// The tool of an action, and its position among the visible tools.
    fn find_action(
        &self,
        action: &str,
        correct: bool,
    ) -> Option<(usize, &Tool, Option<Correction>)> {
        let (actions, tools) = (self.group.actions(), &self.group.tools);
        let exact = || actions.iter().position(|one| one == action);
        let at = |place: usize| Some((*self.positions.get(place)?, &**tools.get(place)?));
        if let Some(place) =
            exact().or_else(|| tools.iter().position(|tool| tool.exposed == action))
        {
            return at(place).map(|(position, tool)| (position, tool, None));
        }
        let words: Vec<&str> =
            actions.iter().map(String::as_str).chain([self.group.help()]).collect();
        let intended = crate::arguments::closest_word(action, &words).filter(|_| correct)?;
        let (position, tool) = at(actions.iter().position(|one| one == intended)?)?;
        let (from, to) = (Some(action.to_owned()), Some(intended.to_owned()));
        Some((
            position,
            tool,
            Some(Correction { kind: CorrectionKind::Enum, path: "action".to_owned(), from, to }),
        ))
    }

    fn answer_help<'a>(&self, arguments: &str) -> DispatchCall<'a> {
        let members = json_splice::members(arguments).unwrap_or_default();
        let action =
            members.iter().find(|member| member.key == "action").map(|member| member.value);
        let Some(action) = action.and_then(json_splice::unquoted) else {
            let actions = self.group.actions().iter().zip(&self.group.tools);
            let lines = actions.map(|(action, tool)| {
                format!("- {action}: {}", group::first_sentence(&tool.description))
            });
            return DispatchCall::Help(format!(
                "Actions of {}:\n{}\nFor one of them: {{\"action\": \"{}\", \"arguments\": \
                 {{\"action\": NAME}}}}",
                self.group.name,
                lines.collect::<Vec<_>>().join("\n"),
                self.group.help()
            ));
        };
        match self.find_action(&action, true) {
            Some((_, tool, _)) => DispatchCall::Help(tool.definition.clone()),
            None => DispatchCall::Invalid(format!(
                "there is no action {}; the actions are {}",
                quoted(&action),
                self.actions()
            )),
        }
    }

    fn actions(&self) -> String {
        let (actions, help) = (self.group.actions(), self.group.help());
        let all = actions.iter().map(|action| Cow::Borrowed(action.as_str()));
        let more = actions.len().saturating_sub(MAX_ACTION_NAMES);
        let more = (more > 0).then(|| Cow::Owned(format!("and {more} more (ask {help})")));
        all.take(MAX_ACTION_NAMES)
            .chain(more)
            .chain([Cow::Borrowed(help)])
            .collect::<Vec<_>>()
            .join(", ")
    }
}
