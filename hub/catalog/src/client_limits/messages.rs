//! Messages about tools that vendors refuse.

use super::{LimitViolation, Vendor};

/// Most violations of one tool that a message names.
const MAX_NAMED: usize = 3;

impl Vendor {
    /// Every single vendor, with its label value in metrics.
    pub const EACH: [(Self, &'static str); 3] =
        [(Self::OpenAI, "openai"), (Self::Anthropic, "anthropic"), (Self::Gemini, "gemini")];

    /// Whether this vendor refuses a tool with these violations.
    pub fn refuses(self, violations: &[LimitViolation]) -> bool {
        violations.iter().any(|violation| violation.vendor == self || violation.vendor == Self::All)
    }

    fn name(self) -> &'static str {
        match self {
            Self::All => "every vendor",
            Self::OpenAI => "OpenAI",
            Self::Anthropic => "Anthropic",
            Self::Gemini => "Gemini",
        }
    }
}

/// What is refused in a tool with these violations, and by whom; empty if there are none.
pub fn describe(violations: &[LimitViolation]) -> String {
    let named = violations.iter().take(MAX_NAMED).map(ToString::to_string);
    let more = violations.len().saturating_sub(MAX_NAMED);
    let more = (more > 0).then(|| format!("and {more} more"));
    named.chain(more).collect::<Vec<_>>().join("; ")
}

/// One sentence about the tools of a server, given as exposed names with violations. `None` if
/// every vendor accepts all of them.
pub fn summary<'t>(tools: impl Iterator<Item = (&'t str, &'t [LimitViolation])>) -> Option<String> {
    let tools: Vec<(&str, &[LimitViolation])> = tools.collect();
    let refused: Vec<_> = tools.iter().filter(|(_, violations)| !violations.is_empty()).collect();
    let (name, violations) = refused.first()?;
    let vendors = Vendor::EACH.into_iter().map(|(vendor, _)| vendor);
    let vendors: Vec<&str> = vendors
        .filter(|vendor| refused.iter().any(|(_, violations)| vendor.refuses(violations)))
        .map(Vendor::name)
        .collect();
    let (are, example) =
        if refused.len() == 1 { ("tools is", "") } else { ("tools are", "for example ") };
    Some(format!(
        "{} of {} {are} refused by {}, and with them every request that lists them: \
         {example}{name}: {}",
        refused.len(),
        tools.len(),
        vendors.join(", "),
        describe(violations)
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::client_limits::violations;

    #[test]
    fn the_tools_of_a_server_are_summed_up_with_an_example() {
        let good = violations("a__good", &json!({"type": "object"}));
        let composed = violations("a__composed", &json!({"type": "object", "oneOf": []}));
        let numbers =
            violations("a__n", &json!({"type": "object", "properties": {"a": {"enum": [1]}}}));
        let (good, composed, numbers) =
            (("a__good", &*good), ("a__composed", &*composed), ("a__n", &*numbers));
        assert_eq!(summary([good].into_iter()), None);
        assert_eq!(describe(good.1), "");
        assert_eq!(
            summary([good, numbers].into_iter()).unwrap(),
            "1 of 2 tools is refused by Gemini, and with them every request that lists them: \
             a__n: Gemini refuses an enum of anything but non-empty strings (at /properties/a)"
        );
        let both = summary([numbers, composed, good].into_iter()).unwrap();
        assert!(
            both.starts_with("2 of 3 tools are refused by OpenAI, Anthropic, Gemini, and"),
            "{both}"
        );
        assert!(both.contains(": for example a__n: Gemini refuses"), "{both}");
        assert!(Vendor::Anthropic.refuses(composed.1) && !Vendor::Anthropic.refuses(numbers.1));
    }

    #[test]
    fn a_tool_with_many_violations_is_described_by_the_first_ones() {
        let schema = json!({
            "properties": {"$a": {}, "$b": {"type": "array"}, "$c": {}},
            "anyOf": [{"$ref": "x"}]
        });
        let text = describe(&violations("a__odd", &schema));
        assert!(text.ends_with("; and 5 more") && text.matches("refuse").count() == 3, "{text}");
    }
}
