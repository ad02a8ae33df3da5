//! The part of a list that is not the hub's own: as much of what is wanted as a budget holds.

use std::sync::Arc;

use mcphub_hub_wire::config::{DefaultExposure, ToolBudget};

use super::Additions;
use crate::catalog::Tool;
use crate::grouping::Grouping;
use crate::meta_tools::{Definition, MetaTool};
use crate::visibility::VisibleTools;

/// After so many that did not fit into a list of dispatching tools the rest is not tried: each try writes schemas.
const MAX_REFUSED: usize = 8;

/// Tools, and what a list holds for them.
pub(super) struct Content {
    /// Positions in the visible.
    pub positions: Vec<usize>,
    /// In a flat list, the tools alone.
    pub hierarchy: Grouping,
}

/// What is left of a budget.
pub(super) struct Room {
    tools: usize,
    tokens: u32,
}

/// A tool that a list might hold.
#[derive(Clone, Copy)]
struct Wanted {
    /// Position in the visible.
    position: usize,
    /// What comes later in the list has more: pinned tools, then additions in their order.
    order: (bool, usize),
}

impl Content {
    /// All that there is. `None`: it does not fit.
    pub(super) fn everything(visible: &VisibleTools, room: &Room) -> Option<Self> {
        let positions = 0..visible.tools.len();
        let hierarchy = if visible.visibility().is_hierarchical() {
            Grouping::within(visible, positions.clone(), room.tools, room.tokens)?
        } else {
            room.holds(&visible.tools).then(|| Grouping::flat(visible, positions.clone()))?
        };
        Some(Self { positions: positions.collect(), hierarchy })
    }

    /// What is listed where not everything is: pinned tools first, in the order of the visible, then what the session
    /// added, in the order in which it did: what is added later must not move what a prompt cache holds.
    pub(super) fn chosen(
        visible: &VisibleTools,
        exposure: DefaultExposure,
        additions: Option<&Additions>,
        mut room: Room,
    ) -> Self {
        let mut wanted = wanted(visible, exposure, additions);
        if visible.visibility().is_hierarchical() {
            return Self::grouped(visible, &wanted, &room);
        }
        wanted.retain(|wanted| room.take(visible.tools.get(wanted.position)));
        let positions = in_order(&mut wanted);
        Self { hierarchy: Grouping::flat(visible, positions.iter().copied()), positions }
    }

    fn grouped(visible: &VisibleTools, wanted: &[Wanted], room: &Room) -> Self {
        let nothing = Self { positions: Vec::new(), hierarchy: Grouping::default() };
        let mut grouping =
            BudgetFit { visible, room, kept: Vec::new(), content: nothing, refused: 0 };
        grouping.add(wanted);
        grouping.content
    }
}

/// What is wanted in a list, the most wanted first; each tool once.
fn wanted(
    visible: &VisibleTools,
    exposure: DefaultExposure,
    additions: Option<&Additions>,
) -> Vec<Wanted> {
    let pinned = (0..visible.tools.len()).filter(|&position| visible.is_pinned(position));
    let pinned =
        pinned.filter(|_| matches!(exposure, DefaultExposure::Minimal | DefaultExposure::All));
    let mut wanted: Vec<Wanted> =
        pinned.map(|position| Wanted { position, order: (false, position) }).collect();
    let Some(additions) = additions else { return wanted };
    let mut taken = vec![false; visible.tools.len()];
    for Wanted { position, .. } in &wanted {
        if let Some(taken) = taken.get_mut(*position) {
            *taken = true;
        }
    }
    // Whoever was used last is asked first whether it fits.
    for (order, name) in additions.by_use() {
        if let Some(position) = visible.find(name)
            && let Some(taken) = taken.get_mut(position).filter(|taken| !**taken)
        {
            *taken = true;
            wanted.push(Wanted { position, order: (true, order) });
        }
    }
    wanted
}

fn in_order(wanted: &mut [Wanted]) -> Vec<usize> {
    wanted.sort_unstable_by_key(|wanted| wanted.order);
    wanted.iter().map(|wanted| wanted.position).collect()
}

/// Finds out how much fits once it is grouped. What a tool costs depends on those beside it, so the list is made anew for
/// each question; halves are asked for, and not single tools.
struct BudgetFit<'a> {
    visible: &'a VisibleTools,
    room: &'a Room,
    kept: Vec<Wanted>,
    /// Of what is kept.
    content: Content,
    refused: usize,
}

impl BudgetFit<'_> {
    fn add(&mut self, wanted: &[Wanted]) {
        if wanted.is_empty() || self.refused >= MAX_REFUSED {
            return;
        }
        let more = [&*self.kept, wanted].concat();
        let positions = in_order(&mut more.clone());
        let all = positions.iter().copied();
        if let Some(hierarchy) =
            Grouping::within(self.visible, all, self.room.tools, self.room.tokens)
        {
            self.kept = more;
            self.content = Content { positions, hierarchy };
            return;
        }
        let (first, rest) = wanted.split_at(wanted.len() / 2);
        if first.is_empty() {
            self.refused += 1; // a single tool
        } else {
            self.add(first);
            self.add(rest);
        }
    }
}

impl Room {
    pub(super) fn of(budget: Option<&ToolBudget>, meta: &[(MetaTool, Definition)]) -> Self {
        let Some(budget) = budget else { return Self { tools: usize::MAX, tokens: u32::MAX } };
        // A budget below the meta-tools leaves nothing beside them; without them nothing could be found at all.
        let tokens: u32 = meta.iter().map(|(_, definition)| definition.tokens).sum();
        Self {
            tools: (budget.max_tools as usize).saturating_sub(meta.len()),
            tokens: budget.max_tokens.saturating_sub(tokens),
        }
    }

    /// Whether all fit. Counts no token that it need not.
    fn holds(&self, tools: &[Arc<Tool>]) -> bool {
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

    /// Takes a place for the tool, if there is one.
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
