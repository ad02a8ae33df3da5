//! Cuts a list to the tool budget: pinned tools first, then as many additions as fit.

use std::sync::Arc;

use mcphub_hub_wire::config::{DefaultExposure, ToolBudget};

use super::Additions;
use crate::catalog::Tool;
use crate::grouping::{GroupCache, Grouping};
use crate::meta_tools::{MetaTool, MetaToolDefinition};
use crate::visibility::VisibleTools;

/// After this many candidates did not fit into a grouped list, the rest is not tried: each try
/// renders schemas.
const MAX_MISFITS: usize = 8;

/// The tools in a list, and the entries that stand for them.
pub(super) struct Content {
    /// Positions among the visible tools.
    pub positions: Vec<usize>,
    pub grouping: Grouping,
}

/// What is left of the tool budget.
pub(super) struct RemainingBudget {
    tools: usize,
    tokens: u32,
}

/// A tool that may go into the list.
#[derive(Clone, Copy)]
struct Candidate {
    /// Position among the visible tools.
    position: usize,
    /// Where it goes in the list: pinned tools first, then additions in their order.
    order: (bool, usize),
}

impl Content {
    /// Every visible tool. `None` if they do not fit.
    pub(super) fn all(
        visible: &VisibleTools,
        budget: &RemainingBudget,
        cache: &GroupCache,
    ) -> Option<Self> {
        let positions = 0..visible.tools.len();
        let grouping = if visible.visibility().is_hierarchical() {
            let (tools, tokens) = (budget.tools, budget.tokens);
            Grouping::within_budget(visible, positions.clone(), tools, tokens, cache)?
        } else {
            budget.fits_all(&visible.tools).then(|| Grouping::flat(visible, positions.clone()))?
        };
        Some(Self { positions: positions.collect(), grouping })
    }

    /// The tools of a list that does not hold all: pinned tools first, in the order of the catalog,
    /// then the session's additions in the order in which they were added. A later addition must
    /// not move an earlier one, because that would invalidate prompt caches.
    pub(super) fn selected(
        visible: &VisibleTools,
        exposure: DefaultExposure,
        additions: Option<&Additions>,
        mut budget: RemainingBudget,
        cache: &GroupCache,
    ) -> Self {
        let mut candidates = candidates(visible, exposure, additions);
        if visible.visibility().is_hierarchical() {
            return Self::grouped(visible, &candidates, &budget, cache);
        }
        candidates.retain(|candidate| budget.take(visible.tools.get(candidate.position)));
        let positions = in_list_order(&mut candidates);
        Self { grouping: Grouping::flat(visible, positions.iter().copied()), positions }
    }

    fn grouped(
        visible: &VisibleTools,
        candidates: &[Candidate],
        budget: &RemainingBudget,
        cache: &GroupCache,
    ) -> Self {
        let content = Self { positions: Vec::new(), grouping: Grouping::default() };
        let mut fit = BudgetFit { visible, budget, cache, chosen: Vec::new(), content, misfits: 0 };
        fit.add(candidates);
        fit.content
    }
}

/// The candidates, most important first; each tool once.
fn candidates(
    visible: &VisibleTools,
    exposure: DefaultExposure,
    additions: Option<&Additions>,
) -> Vec<Candidate> {
    let pinned = (0..visible.tools.len()).filter(|&position| visible.is_pinned(position));
    let pinned =
        pinned.filter(|_| matches!(exposure, DefaultExposure::Minimal | DefaultExposure::All));
    let mut candidates: Vec<Candidate> =
        pinned.map(|position| Candidate { position, order: (false, position) }).collect();
    let Some(additions) = additions else { return candidates };
    let mut taken = vec![false; visible.tools.len()];
    for Candidate { position, .. } in &candidates {
        if let Some(taken) = taken.get_mut(*position) {
            *taken = true;
        }
    }
    // The most recently used addition comes first, so it is the last to be dropped by the budget.
    for (index, name) in additions.by_last_use() {
        if let Some(position) = visible.find(name)
            && let Some(taken) = taken.get_mut(position).filter(|taken| !**taken)
        {
            *taken = true;
            candidates.push(Candidate { position, order: (true, index) });
        }
    }
    candidates
}

fn in_list_order(candidates: &mut [Candidate]) -> Vec<usize> {
    candidates.sort_unstable_by_key(|candidate| candidate.order);
    candidates.iter().map(|candidate| candidate.position).collect()
}

/// Finds how many candidates fit once they are grouped. The cost of a tool depends on the others in
/// its group, so each try groups all again. It tries halves, not single tools.
struct BudgetFit<'a> {
    visible: &'a VisibleTools,
    budget: &'a RemainingBudget,
    cache: &'a GroupCache,
    chosen: Vec<Candidate>,
    /// The content for the chosen candidates.
    content: Content,
    misfits: usize,
}

impl BudgetFit<'_> {
    fn add(&mut self, candidates: &[Candidate]) {
        if candidates.is_empty() || self.misfits >= MAX_MISFITS {
            return;
        }
        let more = [&*self.chosen, candidates].concat();
        let positions = in_list_order(&mut more.clone());
        let RemainingBudget { tools, tokens } = *self.budget;
        let all = positions.iter().copied();
        if let Some(grouping) =
            Grouping::within_budget(self.visible, all, tools, tokens, self.cache)
        {
            self.chosen = more;
            self.content = Content { positions, grouping };
            return;
        }
        let (first, rest) = candidates.split_at(candidates.len() / 2);
        if first.is_empty() {
            self.misfits += 1; // a single tool
        } else {
            self.add(first);
            self.add(rest);
        }
    }
}

impl RemainingBudget {
    /// What the meta-tools leave of the budget. If they exceed it, nothing is left; they are listed
    /// anyway, because without them nothing could be found.
    pub(super) fn new(
        budget: Option<&ToolBudget>,
        meta: &[(MetaTool, MetaToolDefinition)],
    ) -> Self {
        let Some(budget) = budget else { return Self { tools: usize::MAX, tokens: u32::MAX } };
        let tokens: u32 = meta.iter().map(|(_, definition)| definition.tokens).sum();
        Self {
            tools: (budget.max_tools as usize).saturating_sub(meta.len()),
            tokens: budget.max_tokens.saturating_sub(tokens),
        }
    }

    /// Whether all tools fit. Counts tokens only if there is a limit on them.
    fn fits_all(&self, tools: &[Arc<Tool>]) -> bool {
        if tools.len() > self.tools {
            return false;
        }
        let mut left = self.tokens;
        self.tokens == u32::MAX
            || tools.iter().all(|tool| match left.checked_sub(tool.tokens()) {
                Some(rest) => {
                    left = rest;
                    true
                }
                None => false,
            })
    }

    /// Takes what the tool costs, if there is enough left.
    fn take(&mut self, tool: Option<&Arc<Tool>>) -> bool {
        let (Some(tool), Some(tools)) = (tool, self.tools.checked_sub(1)) else { return false };
        let tokens = if self.tokens == u32::MAX {
            Some(u32::MAX)
        } else {
            self.tokens.checked_sub(tool.tokens())
        };
        let Some(tokens) = tokens else { return false };
        *self = Self { tools, tokens };
        true
    }
}
