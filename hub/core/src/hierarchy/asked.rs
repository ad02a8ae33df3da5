//! What a call of a dispatching tool asks for.

use std::borrow::Cow;

use super::{Dispatcher, Member};
use crate::arguments::correction::{Correction, Kind};
use crate::object::{self, quoted};

/// Most actions that an error names.
const NAMED: usize = 50;

/// What a call of a dispatching tool asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked<'a> {
    /// A tool.
    Call {
        /// Its position in the sight.
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
            return Asked::Refused(r#"write {"action": NAME, "arguments": {…}}, and no member twice"#.to_owned());
        };
        let value = |key: &str| members.iter().find(|member| member.key == key).map(|member| member.value);
        let Some(action) = value("action").and_then(object::unquoted) else {
            return Asked::Refused(format!("action is missing; it is one of {}", self.actions()));
        };
        if let Some(stray) = members.iter().find(|member| !matches!(&*member.key, "action" | "arguments")) {
            return Asked::Refused(format!("{} is not known here; put it into arguments", quoted(&stray.key)));
        }
        let arguments = value("arguments").filter(|text| *text != "null").unwrap_or("{}");
        if !arguments.starts_with('{') {
            return Asked::Refused("arguments must be an object".to_owned());
        }
        if action == self.help {
            return self.explained(arguments);
        }
        match self.member(&action, correct) {
            Some((member, correction)) => {
                Asked::Call { position: member.position, name: &member.tool.exposed, arguments, correction }
            }
            None => Asked::Refused(format!("there is no action {}; there are {}", quoted(&action), self.actions())),
        }
    }

    fn member(&self, action: &str, correct: bool) -> Option<(&Member, Option<Correction>)> {
        let exact = || self.members.iter().find(|member| member.action == action);
        if let Some(member) = exact().or_else(|| self.members.iter().find(|member| member.tool.exposed == action)) {
            return Some((member, None));
        }
        let words: Vec<&str> = self.members.iter().map(|member| member.action.as_str()).chain([&*self.help]).collect();
        let meant = crate::arguments::meant(action, &words).filter(|_| correct)?;
        let member = self.members.iter().find(|member| member.action == meant)?;
        let (from, to) = (Some(action.to_owned()), Some(meant.to_owned()));
        Some((member, Some(Correction { kind: Kind::Enum, path: "action".to_owned(), from, to })))
    }

    fn explained<'a>(&self, arguments: &str) -> Asked<'a> {
        let members = object::members(arguments).unwrap_or_default();
        let action = members.iter().find(|member| member.key == "action").map(|member| member.value);
        let Some(action) = action.and_then(object::unquoted) else {
            let lines = self.members.iter().map(|member| {
                let said = super::first_sentence(&member.tool.description);
                format!("- {}: {said}", member.action)
            });
            return Asked::Help(format!(
                "Actions of {}:\n{}\nFor one of them: {{\"action\": \"{}\", \"arguments\": {{\"action\": NAME}}}}",
                self.name,
                lines.collect::<Vec<_>>().join("\n"),
                self.help
            ));
        };
        match self.member(&action, true) {
            Some((member, _)) => Asked::Help(member.tool.definition.clone()),
            None => Asked::Refused(format!("there is no action {}; there are {}", quoted(&action), self.actions())),
        }
    }

    fn actions(&self) -> String {
        let all = self.members.iter().map(|member| Cow::Borrowed(member.action.as_str()));
        let more = self.members.len().saturating_sub(NAMED);
        let more = (more > 0).then(|| Cow::Owned(format!("and {more} more (ask {})", self.help)));
        all.take(NAMED).chain(more).chain([Cow::Borrowed(self.help.as_str())]).collect::<Vec<_>>().join(", ")
    }
}
