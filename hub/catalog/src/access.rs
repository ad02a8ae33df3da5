//! The access rules of a config: which principal may see which entry.
//!
//! Without rules, everybody may see everything. With at least one rule, an entry is denied to a
//! principal unless a rule allows it. An expression that fails at run time, for example on a
//! missing claim, allows nothing.

mod expression;

use mcphub_hub_wire::config::AccessRule;

use self::expression::{DependsOn, Evaluation};
pub use self::expression::{Expression, MAX_EXPRESSION_BYTES};
use crate::catalog::{Catalog, Entry};
use crate::pattern;
use crate::principal::Principal;

/// The compiled rules of a config, for one catalog.
#[derive(Debug, Default)]
pub struct Access(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    /// `None` applies to everybody.
    when: Option<Expression>,
    /// For each entry of the catalog, whether the rule's servers and patterns select it.
    selects: Vec<bool>,
}

impl Access {
    /// Compiles the rules. A rule that does not compile allows nothing; a config with such a rule
    /// is rejected earlier.
    pub fn new<D>(rules: &[AccessRule], catalog: &Catalog<D>) -> Self {
        let compile = |rule: &AccessRule| {
            let when = if rule.when.trim().is_empty() {
                None
            } else {
                Some(Expression::compile(&rule.when).ok()?)
            };
            let selects = catalog.entries.iter().map(|entry| selects(rule, entry)).collect();
            Some(Rule { when, selects })
        };
        let allows_nothing = || Rule { when: None, selects: Vec::new() };
        Self(rules.iter().map(|rule| compile(rule).unwrap_or_else(allows_nothing)).collect())
    }

    /// For each entry of the catalog, whether the principal may see it through this view.
    pub fn allowed<D>(
        &self,
        catalog: &Catalog<D>,
        principal: &Principal,
        view: Option<&str>,
    ) -> Vec<bool> {
        if self.0.is_empty() {
            return vec![true; catalog.entries.len()];
        }
        let mut allowed = vec![false; catalog.entries.len()];
        for rule in &self.0 {
            rule.allow(&mut allowed, catalog, principal, view);
        }
        allowed
    }

    /// The position of the first rule that allows the entry at this place.
    pub fn first_allowing<D>(
        &self,
        place: usize,
        catalog: &Catalog<D>,
        principal: &Principal,
        view: Option<&str>,
    ) -> Option<usize> {
        let entry = catalog.entries.get(place)?;
        self.0.iter().position(|rule| {
            let selects = rule.selects.get(place).copied().unwrap_or_default();
            selects
                && rule.when.as_ref().is_none_or(|when| {
                    Evaluation::new(principal, view).is_true(when, Some(&**entry))
                })
        })
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Rule {
    fn allow<D>(
        &self,
        allowed: &mut [bool],
        catalog: &Catalog<D>,
        principal: &Principal,
        view: Option<&str>,
    ) {
        let mut open = allowed
            .iter_mut()
            .zip(&self.selects)
            .zip(&catalog.entries)
            .filter(|((allowed, selects), _)| **selects && !**allowed);
        let Some(when) = &self.when else {
            open.for_each(|((allowed, _), _)| *allowed = true);
            return;
        };
        // Most rules do not depend on the entry. Evaluating one for each of 10,000 entries takes
        // tens of milliseconds.
        let evaluation = Evaluation::new(principal, view);
        match when.depends_on() {
            DependsOn::Caller if !evaluation.is_true(when, None::<&Entry<D>>) => {}
            DependsOn::Caller => open.for_each(|((allowed, _), _)| *allowed = true),
            DependsOn::Server => {
                let mut last: Option<(usize, bool)> = None;
                for ((allowed, _), entry) in open {
                    let known = last.filter(|(server, _)| *server == entry.server);
                    let (_, holds) = known.unwrap_or_else(|| {
                        (entry.server, evaluation.is_true(when, Some(&**entry)))
                    });
                    last = Some((entry.server, holds));
                    *allowed = holds;
                }
            }
            DependsOn::Tool => open.by_ref().for_each(|((allowed, _), entry)| {
                *allowed = evaluation.is_true(when, Some(&**entry));
            }),
        }
    }
}

fn selects<D>(rule: &AccessRule, entry: &Entry<D>) -> bool {
    (rule.servers.is_empty() || rule.servers.iter().any(|name| **name == *entry.server_name))
        && (rule.tools.is_empty() || pattern::matches_any(&rule.tools, &entry.exposed))
}

#[cfg(test)]
mod tests;
