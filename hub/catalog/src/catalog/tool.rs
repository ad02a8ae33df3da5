//! What only tools have: an input schema, hints about their effects, and what is computed from
//! these.

use std::ops::Range;
use std::sync::OnceLock;

use mcphub_hub_protocol::json_splice::{self, Member, last_member};
use mcphub_hub_protocol::mcp_headers::{self, ParamHeader};
use mcphub_hub_wire::config::{Server, ToolRules};

use super::entry::{Details, Entry, member_range};
use super::repair::{self, Repaired};
use crate::builtin_category::{self, BuiltinCategory};
use crate::client_limits::{self, LimitViolation};
use crate::names::{self, NameParts};
use crate::tokens;

/// A tool that exists in this hub.
pub type Tool = Entry<ToolDetails>;

/// What only tools have.
#[derive(Debug, Clone)]
pub struct ToolDetails {
    hints: Hints,
    param_headers: Vec<ParamHeader>,
    schema: Range<usize>,
    tokens: OnceLock<u32>,
    category: OnceLock<BuiltinCategory>,
    violations: OnceLock<Vec<LimitViolation>>,
}

/// What the annotations of a tool say about its effects; `None` if they do not say it, or not as a
/// boolean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hints {
    pub read_only: Option<bool>,
    pub destructive: Option<bool>,
    pub idempotent: Option<bool>,
    pub open_world: Option<bool>,
}

impl Details for ToolDetails {
    const LIST_MEMBER: &'static str = "tools";
    const NAME_MEMBER: &'static str = "name";

    fn rules(server: &Server) -> &ToolRules {
        &server.tools
    }

    fn exposed_names<'a>(entries: impl Iterator<Item = NameParts<'a>>) -> Vec<String> {
        names::exposed_unique(entries)
    }

    fn repair(members: &[Member<'_>]) -> Option<Repaired> {
        repair::tool(members)
    }

    fn read(definition: &str, members: &[Member<'_>]) -> Self {
        Self {
            hints: last_member(members, "annotations").map(Hints::parse).unwrap_or_default(),
            param_headers: mcp_headers::param_headers(definition),
            schema: member_range(definition, members, "inputSchema"),
            tokens: OnceLock::new(),
            category: OnceLock::new(),
            violations: OnceLock::new(),
        }
    }
}

impl Tool {
    pub fn hints(&self) -> Hints {
        self.details.hints
    }

    /// The arguments that the stateless protocol mirrors into headers.
    pub fn param_headers(&self) -> &[ParamHeader] {
        &self.details.param_headers
    }

    /// The input schema, byte for byte; empty if there is none.
    pub fn input_schema(&self) -> &str {
        self.definition.get(self.details.schema.clone()).unwrap_or_default()
    }

    /// What the definition costs in a prompt; see [`tokens`]. Counted on first use.
    pub fn tokens(&self) -> u32 {
        *self.details.tokens.get_or_init(|| {
            tokens::count_definition(&self.exposed, &self.description, self.input_schema())
        })
    }

    /// Whether [`Self::builtin_category`] has been computed already.
    pub fn is_categorized(&self) -> bool {
        self.details.category.get().is_some()
    }

    /// The category that its words suggest. Computed on first use.
    pub fn builtin_category(&self) -> BuiltinCategory {
        *self.details.category.get_or_init(|| {
            builtin_category::from_words(&self.own, &self.server_name, &self.description)
        })
    }

    /// What the big vendors refuse in it. Computed on first use, because it parses the schema.
    pub fn violations(&self) -> &[LimitViolation] {
        self.details.violations.get_or_init(|| {
            let schema = serde_json::from_str(self.input_schema()).unwrap_or_default();
            client_limits::violations(&self.exposed, &schema)
        })
    }
}

impl Hints {
    fn parse(annotations: &str) -> Self {
        let members = json_splice::members(annotations).unwrap_or_default();
        let hint = |name: &str| {
            let value = members.iter().find(|member| member.key == name)?.value;
            serde_json::from_str(value).ok()
        };
        Self {
            read_only: hint("readOnlyHint"),
            destructive: hint("destructiveHint"),
            idempotent: hint("idempotentHint"),
            open_world: hint("openWorldHint"),
        }
    }
}
