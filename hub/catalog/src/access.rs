//! Who may know of which tool: the access rules of a config.
//!
//! No rules: everybody everything. Any rule: a tool is denied to whom none allows it. An expression that fails at run
//! time (a claim that the caller does not have) allows nothing.

mod expression;

use mcphub_hub_wire::config::AccessRule;
use serde_json::{Map, Value};

use self::expression::{Asked, DependsOn};
pub use self::expression::{Expression, MAX_EXPRESSION_BYTES};
use crate::catalog::{Catalog, Tool};
use crate::pattern;

/// Who asks, as far as access rules see it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Caller {
    /// `caller.sub`; empty for everybody who is not known.
    pub sub: String,
    /// `caller.claims`
    pub claims: Map<String, Value>,
    /// `caller.groups`
    pub groups: Vec<String>,
    /// `caller.keyName`; empty without an API key.
    pub key_name: String,
}

impl Caller {
    /// Everybody, while there is no authentication.
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// The same for callers whom no rule can tell apart.
    pub fn key(&self) -> String {
        let Self { sub, claims, groups, key_name } = self;
        serde_json::json!([sub, claims, groups, key_name]).to_string()
    }
}

/// The rules of a config, compiled, with what they can say of each tool of a catalog.
#[derive(Debug, Default)]
pub struct Access(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    /// `None`: everybody.
    when: Option<Expression>,
    /// Of each tool of the catalog, whether servers and patterns of the rule name it.
    names: Vec<bool>,
}

impl Access {
    /// Compiles the rules. One that does not compile (a config with it is refused) allows nothing.
    pub fn of(rules: &[AccessRule], catalog: &Catalog) -> Self {
        let rule = |rule: &AccessRule| {
            let when = if rule.when.trim().is_empty() {
                None
            } else {
                Some(Expression::compile(&rule.when).ok()?)
            };
            let names = catalog.tools.iter().map(|tool| names(rule, tool)).collect();
            Some(Rule { when, names })
        };
        let compiled: Vec<Option<Rule>> = rules.iter().map(rule).collect();
        let broken = || Rule { when: None, names: Vec::new() };
        Self(compiled.into_iter().map(|rule| rule.unwrap_or_else(broken)).collect())
    }

    /// Of each tool of the catalog, whether the caller may know of it through this view.
    pub fn allowed(&self, catalog: &Catalog, caller: &Caller, view: Option<&str>) -> Vec<bool> {
        if self.0.is_empty() {
            return vec![true; catalog.tools.len()];
        }
        let mut allowed = vec![false; catalog.tools.len()];
        for rule in &self.0 {
            rule.allow(&mut allowed, catalog, caller, view);
        }
        allowed
    }

    /// The first rule that allows the tool at this place, by its position.
    pub fn first(
        &self,
        place: usize,
        catalog: &Catalog,
        caller: &Caller,
        view: Option<&str>,
    ) -> Option<usize> {
        let tool = catalog.tools.get(place)?;
        self.0.iter().position(|rule| {
            let names = rule.names.get(place).copied().unwrap_or_default();
            names
                && rule
                    .when
                    .as_ref()
                    .is_none_or(|when| Asked::of(caller, view).holds(when, Some(tool)))
        })
    }

    /// Whether there are no rules.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Rule {
    fn allow(&self, allowed: &mut [bool], catalog: &Catalog, caller: &Caller, view: Option<&str>) {
        let mut open = allowed
            .iter_mut()
            .zip(&self.names)
            .zip(&catalog.tools)
            .filter(|((done, named), _)| **named && !**done);
        let Some(when) = &self.when else {
            open.for_each(|((allowed, _), _)| *allowed = true);
            return;
        };
        // Asking once for each of ten thousand tools takes tens of milliseconds; most rules are not about tools.
        let asked = Asked::of(caller, view);
        match when.depends_on() {
            DependsOn::Caller if !asked.holds(when, None) => {}
            DependsOn::Caller => open.for_each(|((allowed, _), _)| *allowed = true),
            DependsOn::Server => {
                let mut last: Option<(usize, bool)> = None;
                for ((allowed, _), tool) in open {
                    let known = last.filter(|(server, _)| *server == tool.server);
                    let (_, holds) =
                        known.unwrap_or_else(|| (tool.server, asked.holds(when, Some(tool))));
                    last = Some((tool.server, holds));
                    *allowed = holds;
                }
            }
            DependsOn::Tool => open
                .by_ref()
                .for_each(|((allowed, _), tool)| *allowed = asked.holds(when, Some(tool))),
        }
    }
}

fn names(rule: &AccessRule, tool: &Tool) -> bool {
    (rule.servers.is_empty() || rule.servers.iter().any(|name| **name == *tool.server_name))
        && (rule.tools.is_empty() || pattern::any(&rule.tools, &tool.exposed))
}

#[cfg(test)]
mod tests;
