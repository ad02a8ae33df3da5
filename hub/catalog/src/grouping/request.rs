//! What a call of a dispatching tool asks for.

use std::borrow::Cow;

use super::{Dispatcher, entry};
use crate::arguments::correction::{Correction, Kind};
use crate::catalog::Tool;
use mcphub_hub_protocol::json_splice::{self, quoted};

/// Most actions that an error names.
const NAMED: usize = 50;

/// What a call of a dispatching tool asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked<'a> {
    /// A tool.
    Call {
        /// Its position in the visible.
        position: usize,
        /// Its exposed name.
        name: &'a str,
        /// Its arguments, as written.
        arguments: &'a str,
        /// The action, where it was written in another way.
        correction: Option<Correction>,
    },
    /// This text.
    Help(String),
    /// Nothing that there is, and what to write instead.
    Refused(String),
}

impl Dispatcher {
    /// Reads the arguments of a call. With `correct` an action is found also where its case or one letter is wrong.
    pub fn asked<'a>(&'a self, arguments: Option<&'a str>, correct: bool) -> Asked<'a> {
        let members = match arguments.filter(|text| *text != "null") {
            Some(text) => crate::arguments::members(text),
            None => Some(Vec::new()),
        };
        let Some(members) = members else {
            return Asked::Refused(
                r#"write {"action": NAME, "arguments": {…}}, and no member twice"#.to_owned(),
            );
        };
        let value =
            |key: &str| members.iter().find(|member| member.key == key).map(|member| member.value);
        let Some(action) = value("action").and_then(json_splice::unquoted) else {
            return Asked::Refused(format!("action is missing; it is one of {}", self.actions()));
        };
        if let Some(stray) =
            members.iter().find(|member| !matches!(&*member.key, "action" | "arguments"))
        {
            return Asked::Refused(format!(
                "{} is not known here; put it into arguments",
                quoted(&stray.key)
            ));
        }
        let arguments = value("arguments").filter(|text| *text != "null").unwrap_or("{}");
        if !arguments.starts_with('{') {
            return Asked::Refused("arguments must be an object".to_owned());
        }
        if action == self.entry.help() {
            return self.explained(arguments);
        }
        match self.member(&action, correct) {
            Some((position, tool, correction)) => {
                Asked::Call { position, name: &tool.exposed, arguments, correction }
            }
            None => Asked::Refused(format!(
                "there is no action {}; there are {}",
                quoted(&action),
                self.actions()
            )),
        }
    }

    /// The tool of an action, and its position in the visible.
    fn member(&self, action: &str, correct: bool) -> Option<(usize, &Tool, Option<Correction>)> {
        let (actions, tools) = (self.entry.actions(), &self.entry.tools);
        let exact = || actions.iter().position(|one| one == action);
        let at = |place: usize| Some((*self.positions.get(place)?, &**tools.get(place)?));
        if let Some(place) =
            exact().or_else(|| tools.iter().position(|tool| tool.exposed == action))
        {
            return at(place).map(|(position, tool)| (position, tool, None));
        }
        let words: Vec<&str> =
            actions.iter().map(String::as_str).chain([self.entry.help()]).collect();
        let meant = crate::arguments::meant(action, &words).filter(|_| correct)?;
        let (position, tool) = at(actions.iter().position(|one| one == meant)?)?;
        let (from, to) = (Some(action.to_owned()), Some(meant.to_owned()));
        Some((
            position,
            tool,
            Some(Correction { kind: Kind::Enum, path: "action".to_owned(), from, to }),
        ))
    }

    fn explained<'a>(&self, arguments: &str) -> Asked<'a> {
        let members = json_splice::members(arguments).unwrap_or_default();
        let action =
            members.iter().find(|member| member.key == "action").map(|member| member.value);
        let Some(action) = action.and_then(json_splice::unquoted) else {
            let actions = self.entry.actions().iter().zip(&self.entry.tools);
            let lines = actions.map(|(action, tool)| {
                format!("- {action}: {}", entry::first_sentence(&tool.description))
            });
            return Asked::Help(format!(
                "Actions of {}:\n{}\nFor one of them: {{\"action\": \"{}\", \"arguments\": {{\"action\": NAME}}}}",
                self.entry.name,
                lines.collect::<Vec<_>>().join("\n"),
                self.entry.help()
            ));
        };
        match self.member(&action, true) {
            Some((_, tool, _)) => Asked::Help(tool.definition.clone()),
            None => Asked::Refused(format!(
                "there is no action {}; there are {}",
                quoted(&action),
                self.actions()
            )),
        }
    }

    fn actions(&self) -> String {
        let (actions, help) = (self.entry.actions(), self.entry.help());
        let all = actions.iter().map(|action| Cow::Borrowed(action.as_str()));
        let more = actions.len().saturating_sub(NAMED);
        let more = (more > 0).then(|| Cow::Owned(format!("and {more} more (ask {help})")));
        all.take(NAMED).chain(more).chain([Cow::Borrowed(help)]).collect::<Vec<_>>().join(", ")
    }
}
