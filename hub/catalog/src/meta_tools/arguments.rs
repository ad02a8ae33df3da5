//! The arguments of the meta-tools. Errors say what to write instead, because a model reads them
//! and tries again.

use std::borrow::Cow;

use mcphub_hub_protocol::json_splice::{self, Member, unquoted};

/// Longest prompt or query. A longer one is rejected; ranking reads far less of it.
pub const MAX_TEXT_BYTES: usize = 64 << 10;
/// Most tools that one call of `hub__find_tools` returns.
pub const MAX_LIMIT: usize = 50;
const DEFAULT_LIMIT: usize = 10;

/// Arguments of `hub__analyze_prompt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnalyzePrompt<'a> {
    /// Not blank.
    pub prompt: Cow<'a, str>,
    pub context: Option<Cow<'a, str>>,
}

/// Arguments of `hub__find_tools`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FindTools<'a> {
    /// Not blank.
    pub query: Cow<'a, str>,
    /// 1 to [`MAX_LIMIT`].
    pub limit: usize,
    /// Restricts the result to tools of this server.
    pub server: Option<Cow<'a, str>>,
}

/// Arguments of `hub__call_read`, `hub__call_write` and `hub__call_destructive`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispatch<'a> {
    pub name: Cow<'a, str>,
    /// An object, byte for byte.
    pub arguments: Cow<'a, str>,
    /// The id of the selection that named the tool.
    pub selection_id: Option<Cow<'a, str>>,
}

impl<'a> AnalyzePrompt<'a> {
    /// Reads `params.arguments`; the error is for the model.
    pub fn parse(arguments: Option<&'a str>) -> Result<Self, String> {
        let members = Arguments::parse(
            arguments,
            r#"{"prompt": "what the user wants"}"#,
            &["prompt", "context"],
        )?;
        let context = members.text("context")?;
        if let Some(context) = &context {
            check_length("context", context)?;
        }
        Ok(Self { prompt: members.required_text("prompt", "say what the user wants")?, context })
    }
}

impl<'a> FindTools<'a> {
    /// Reads `params.arguments`; the error is for the model.
    pub fn parse(arguments: Option<&'a str>) -> Result<Self, String> {
        let members = Arguments::parse(
            arguments,
            r#"{"query": "what the tool should do"}"#,
            &["query", "limit", "server"],
        )?;
        Ok(Self {
            query: members.required_text("query", "say what the tool should do")?,
            limit: members.limit()?,
            server: members.text("server")?.filter(|server| !server.is_empty()),
        })
    }
}

impl<'a> Dispatch<'a> {
    /// Reads `params.arguments`; the error is for the model.
    pub fn parse(arguments: Option<&'a str>) -> Result<Self, String> {
        let shape = r#"{"name": "server__tool", "arguments": {…}}"#;
        let members = Arguments::parse(arguments, shape, &["name", "arguments", "selectionId"])?;
        let name = members.required_text("name", "hub__find_tools says the names of tools")?;
        Ok(Self {
            name,
            arguments: members.object("arguments")?,
            selection_id: members.text("selectionId")?,
        })
    }
}

/// The members of the arguments.
struct Arguments<'a> {
    members: Vec<Member<'a>>,
    /// An example, for errors.
    shape: &'static str,
}

impl<'a> Arguments<'a> {
    fn parse(
        arguments: Option<&'a str>,
        shape: &'static str,
        known: &[&str],
    ) -> Result<Self, String> {
        let text = arguments.filter(|text| *text != "null").unwrap_or("{}");
        let members = json_splice::members(text)
            .ok_or_else(|| format!("arguments must be an object: {shape}"))?;
        if let Some(unknown) = members.iter().find(|member| !known.contains(&member.key.as_ref())) {
            let key: String = unknown.key.chars().take(60).collect();
            return Err(format!(
                "there is no argument \"{key}\"; the arguments are {}",
                known.join(", ")
            ));
        }
        Ok(Self { members, shape })
    }

    fn value(&self, key: &str) -> Option<&'a str> {
        let member = self.members.iter().rev().find(|member| member.key == key)?;
        Some(member.value).filter(|value| *value != "null")
    }

    fn text(&self, key: &str) -> Result<Option<Cow<'a, str>>, String> {
        self.value(key)
            .map(|value| {
                unquoted(value).ok_or_else(|| format!("{key} must be a string: {}", self.shape))
            })
            .transpose()
    }

    /// A text that must be present and not blank.
    fn required_text(&self, key: &str, advice: &str) -> Result<Cow<'a, str>, String> {
        let Some(text) = self.text(key)? else {
            return Err(format!("{key} is missing; {advice}: {}", self.shape));
        };
        if text.trim().is_empty() {
            return Err(format!("{key} is empty; {advice}: {}", self.shape));
        }
        check_length(key, &text)?;
        Ok(text)
    }

    fn limit(&self) -> Result<usize, String> {
        let Some(value) = self.value("limit") else { return Ok(DEFAULT_LIMIT) };
        // Some models write numbers as strings, and some clients write them as 10.0.
        let text = unquoted(value).unwrap_or(Cow::Borrowed(value));
        let whole = text.strip_suffix(".0").unwrap_or(&text);
        whole
            .parse()
            .ok()
            .filter(|limit| (1..=MAX_LIMIT).contains(limit))
            .ok_or_else(|| format!("limit must be a whole number from 1 to {MAX_LIMIT}"))
    }

    /// An object, byte for byte. Some clients send it as a JSON string.
    fn object(&self, key: &str) -> Result<Cow<'a, str>, String> {
        let Some(value) = self.value(key) else { return Ok(Cow::Borrowed("{}")) };
        let text = unquoted(value).unwrap_or(Cow::Borrowed(value));
        if json_splice::members(&text).is_some() {
            Ok(text)
        } else {
            Err(format!("{key} must be an object, as the tool's inputSchema says: {}", self.shape))
        }
    }
}

fn check_length(key: &str, text: &str) -> Result<(), String> {
    if text.len() <= MAX_TEXT_BYTES {
        return Ok(());
    }
    Err(format!(
        "{key} has {} bytes, but at most {MAX_TEXT_BYTES} are allowed; use fewer words",
        text.len()
    ))
}
