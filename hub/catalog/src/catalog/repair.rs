//! Repairs definitions of tools that violate the MCP schema. Strict clients drop a whole list for
//! one such definition, also the tools of other servers.

use std::borrow::Cow;

use mcphub_hub_protocol::json_splice::{self, Member, last_member};
use serde_json::value::RawValue;

const ANY_OBJECT: &str = r#"{"type":"object"}"#;

/// A definition that was repaired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// The definition as it is listed.
    pub text: String,
    /// What was wrong.
    pub problem: String,
}

/// Collects the members of a repaired object, and what was wrong with it.
#[derive(Default)]
struct Repair<'a> {
    members: Vec<Cow<'a, str>>,
    problems: Vec<String>,
}

impl<'a> Repair<'a> {
    fn keep(&mut self, member: &Member<'a>) {
        self.members.push(member.text.into());
    }

    fn keep_if(&mut self, valid: bool, member: &Member<'a>, expected: &str) {
        if valid {
            self.keep(member);
        } else {
            self.problems.push(format!("{} is not {expected}", member.key));
        }
    }

    fn put(&mut self, key: &str, value: &str, problem: String) {
        self.members.push(format!("{}:{value}", json_splice::quoted(key)).into());
        self.problems.push(problem);
    }

    /// `None` if nothing was wrong.
    fn finish(self) -> Option<Repaired> {
        let Self { members, problems } = self;
        (!problems.is_empty()).then(|| Repaired {
            text: format!("{{{}}}", members.join(",")),
            problem: problems.join(", "),
        })
    }
}

/// The definition of a tool without what the MCP schema forbids. `None` if it is valid.
pub(super) fn tool(members: &[Member<'_>]) -> Option<Repaired> {
    let mut repair = Repair::default();
    for member in members {
        match &*member.key {
            "title" | "description" => repair.keep_if(is_text(member), member, "a string"),
            "_meta" | "execution" => repair.keep_if(is_object(member), member, "an object"),
            "icons" => repair.keep_if(member.value.starts_with('['), member, "a list"),
            "annotations" => match annotations(member) {
                None => repair.keep(member),
                Some(repaired) => repair.put(&member.key, &repaired.text, repaired.problem),
            },
            "inputSchema" => match schema(member) {
                None => repair.keep(member),
                Some(repaired) => repair.put(&member.key, &repaired.text, repaired.problem),
            },
            // Without it, clients take whatever the tool returns.
            "outputSchema" => {
                let typed = last_member(&sub_members(member), "type") == Some("\"object\"");
                let valid = typed && schema(member).is_none();
                repair.keep_if(valid, member, "a schema of type object");
            }
            _ => repair.keep(member),
        }
    }
    if last_member(members, "inputSchema").is_none() {
        repair.put("inputSchema", ANY_OBJECT, "inputSchema is missing".into());
    }
    repair.finish()
}

/// A schema of arguments, which must describe an object.
fn schema(schema: &Member<'_>) -> Option<Repaired> {
    if !is_object(schema) {
        let problem = format!("{} is not an object", schema.key);
        return Some(Repaired { text: ANY_OBJECT.into(), problem });
    }
    let members = sub_members(schema);
    let mut repair = Repair::default();
    for member in &members {
        match &*member.key {
            "type" if member.value != "\"object\"" => {
                repair.put("type", "\"object\"", "type is not \"object\"".into());
            }
            "properties" => match properties(member) {
                None => repair.keep(member),
                Some(repaired) => repair.put("properties", &repaired.text, repaired.problem),
            },
            "required" => {
                let names: Option<Vec<&RawValue>> = serde_json::from_str(member.value).ok();
                let valid =
                    names.is_some_and(|names| names.iter().all(|name| name.get().starts_with('"')));
                repair.keep_if(valid, member, "a list of names");
            }
            _ => repair.keep(member),
        }
    }
    if last_member(&members, "type").is_none() {
        repair.put("type", "\"object\"", "type is missing".into());
    }
    repair.finish().map(|repaired| Repaired {
        problem: format!("in {}, {}", schema.key, repaired.problem),
        ..repaired
    })
}

fn properties(properties: &Member<'_>) -> Option<Repaired> {
    if !is_object(properties) {
        return Some(Repaired { text: "{}".into(), problem: "properties is not an object".into() });
    }
    let mut repair = Repair::default();
    for member in &sub_members(properties) {
        if is_object(member) {
            repair.keep(member);
        } else {
            // `{}` allows everything, and the server checks what it gets anyway.
            let problem = format!("property {} is not an object", member.key);
            repair.put(&member.key, "{}", problem);
        }
    }
    repair.finish()
}

fn annotations(annotations: &Member<'_>) -> Option<Repaired> {
    if !is_object(annotations) {
        let problem = "annotations is not an object".to_owned();
        return Some(Repaired { text: "{}".into(), problem });
    }
    let mut repair = Repair::default();
    for member in &sub_members(annotations) {
        if member.key == "title" {
            repair.keep_if(is_text(member), member, "a string");
        } else if member.key.ends_with("Hint") {
            let boolean = matches!(member.value, "true" | "false");
            repair.keep_if(boolean, member, "true or false");
        } else {
            repair.keep(member);
        }
    }
    repair.finish()
}

fn is_text(member: &Member<'_>) -> bool {
    member.value.starts_with('"')
}

fn is_object(member: &Member<'_>) -> bool {
    member.value.starts_with('{')
}

fn sub_members<'a>(member: &Member<'a>) -> Vec<Member<'a>> {
    json_splice::members(member.value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::no_schema(r#"{"name":"x"}"#, r#"{"name":"x","inputSchema":{"type":"object"}}"#)]
    #[case::null(
        r#"{"name":"x","inputSchema":null,"title":null}"#,
        r#"{"name":"x","inputSchema":{"type":"object"}}"#
    )]
    #[case::parts(
        r#"{"inputSchema":{"properties":{"a":true,"b":{ }},"required":null,"z":1e9},"name":"x"}"#,
        r#"{"inputSchema":{"properties":{"a":{},"b":{ }},"z":1e9,"type":"object"},"name":"x"}"#
    )]
    #[case::others(
        r#"{"name":"x","inputSchema":{"type":"object"},"outputSchema":{"x":1},"icons":1,"annotations":{"readOnlyHint":1,"title":"t"}}"#,
        r#"{"name":"x","inputSchema":{"type":"object"},"annotations":{"title":"t"}}"#
    )]
    fn what_the_schema_of_mcp_forbids_is_repaired(#[case] given: &str, #[case] listed: &str) {
        let repaired = tool(&json_splice::members(given).unwrap()).unwrap();
        assert_eq!(repaired.text, listed);
        assert_eq!(tool(&json_splice::members(listed).unwrap()), None, "and then it is valid");
    }

    #[test]
    fn a_valid_definition_stays_as_it_is() {
        let text = r#"{ "name":"x","inputSchema":{"type":"object","required":["a"],"oneOf":[]},
            "outputSchema":{"type":"object"},"annotations":{"readOnlyHint":true},"x":null }"#;
        assert_eq!(tool(&json_splice::members(text).unwrap()), None);
    }
}
