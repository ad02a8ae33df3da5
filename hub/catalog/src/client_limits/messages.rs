//! What people are told of tools that vendors refuse.

use super::{LimitViolation, Vendor};
use crate::catalog::Tool;

/// Most violations of one tool that a text names.
const NAMED: usize = 3;

impl Vendor {
    /// Each of them, with its label in metrics.
    pub const EACH: [(Self, &'static str); 3] =
        [(Self::OpenAI, "openai"), (Self::Anthropic, "anthropic"), (Self::Gemini, "gemini")];

    fn name(self) -> &'static str {
        match self {
            Self::All => "every vendor",
            Self::OpenAI => "OpenAI",
            Self::Anthropic => "Anthropic",
            Self::Gemini => "Gemini",
        }
    }
}

impl LimitViolation {
    /// Whether this vendor refuses it.
    pub fn is_of(&self, vendor: Vendor) -> bool {
        self.vendor == vendor || self.vendor == Vendor::All
    }
}

/// Whether this vendor refuses the tool.
pub fn refuses(vendor: Vendor, tool: &Tool) -> bool {
    tool.violations().iter().any(|violation| violation.is_of(vendor))
}

/// What is refused of a tool, and by whom; empty where it goes everywhere.
pub fn describe(tool: &Tool) -> String {
    let violations = tool.violations();
    let named = violations.iter().take(NAMED).map(ToString::to_string);
    let more = violations.len().saturating_sub(NAMED);
    let more = (more > 0).then(|| format!("and {more} more"));
    named.chain(more).collect::<Vec<_>>().join("; ")
}

/// What is refused of a server's tools, in a sentence; `None` where all of them go everywhere.
pub fn summary<'t>(tools: impl Iterator<Item = &'t Tool>) -> Option<String> {
    let tools: Vec<&Tool> = tools.collect();
    let refused: Vec<&Tool> =
        tools.iter().copied().filter(|tool| !tool.violations().is_empty()).collect();
    let first = refused.first()?;
    let by = Vendor::EACH.into_iter().map(|(vendor, _)| vendor);
    let by: Vec<&str> = by
        .filter(|vendor| refused.iter().any(|tool| refuses(*vendor, tool)))
        .map(Vendor::name)
        .collect();
    let (are, example) =
        if refused.len() == 1 { ("tools is", "") } else { ("tools are", "for example ") };
    Some(format!(
        "{} of {} {are} refused by {}, and with them every request that lists them: {example}{}: {}",
        refused.len(),
        tools.len(),
        by.join(", "),
        first.exposed,
        describe(first)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::visibility::tests::tool;

    #[test]
    fn a_server_s_tools_are_summed_up_with_an_example() {
        let good = tool(r#"{"name":"good","inputSchema":{"type":"object"}}"#);
        let composed = tool(r#"{"name":"composed","inputSchema":{"type":"object","oneOf":[]}}"#);
        let numbers =
            tool(r#"{"name":"n","inputSchema":{"type":"object","properties":{"a":{"enum":[1]}}}}"#);
        assert_eq!(summary([&*good].into_iter()), None);
        assert_eq!(describe(&good), "");
        assert_eq!(
            summary([&*good, &*numbers].into_iter()).unwrap(),
            "1 of 2 tools is refused by Gemini, and with them every request that lists them: a__n: Gemini refuses an enum \
             of anything but non-empty strings (at /properties/a)"
        );
        let both = summary([&*numbers, &*composed, &*good].into_iter()).unwrap();
        assert!(
            both.starts_with("2 of 3 tools are refused by OpenAI, Anthropic, Gemini, and"),
            "{both}"
        );
        assert!(both.contains(": for example a__n: Gemini refuses"), "{both}");
        assert!(refuses(Vendor::Anthropic, &composed) && !refuses(Vendor::Anthropic, &numbers));
    }

    #[test]
    fn a_tool_that_breaks_many_rules_is_told_in_short() {
        let odd = tool(
            r#"{"name":"odd","inputSchema":{"properties":{"$a":{},"$b":{"type":"array"},"$c":{}},"anyOf":[{"$ref":"x"}]}}"#,
        );
        let text = describe(&odd);
        assert!(text.ends_with("; and 5 more") && text.matches("refuse").count() == 3, "{text}");
    }
}
