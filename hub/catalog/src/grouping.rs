//! Lists many tools of one server or category as one tool that dispatches: `files__do {action,
//! arguments}`. A list of forty tools becomes one entry, and each action keeps its real schema. The
//! tools stay callable by name.
//!
//! Tools are grouped by what the filter selects them by: by category in mode `Category`, and in
//! `Hybrid` unless the config allows their server by name; otherwise by server.

mod cache;
mod dispatch;
mod group;
mod schema_embedding;

use std::collections::HashMap;
use std::sync::Arc;

use mcphub_hub_wire::config::{FilterMode, Filtering};

pub use self::cache::GroupCache;
use self::cache::Key;
pub use self::dispatch::DispatchCall;
pub use self::group::ToolGroup;
use crate::catalog::Tool;
use crate::names;
use crate::visibility::VisibleTools;

/// The dispatching tool's own name, after the prefix of the server, or the category.
const DISPATCHER_NAME: &str = "do";
/// Most actions of one dispatching tool; a larger server gets several. Models choose badly from
/// longer enums.
const MAX_ACTIONS: usize = 100;
/// Fewer tools are listed as they are: one entry for one tool saves nothing.
const MIN_ACTIONS: usize = 2;

/// A group of tools in a list, which one tool calls.
#[derive(Debug, Clone)]
pub struct Dispatcher {
    /// The part that is the same for every caller who sees these tools.
    pub group: Arc<ToolGroup>,
    /// For each tool of the group, its position among the visible tools.
    positions: Vec<usize>,
}

/// What a list holds in place of tools.
#[derive(Debug, Clone, Default)]
pub struct Grouping {
    /// In the order of the list.
    pub dispatchers: Vec<Dispatcher>,
    /// Tools that are not grouped, after the dispatchers.
    pub tools: Vec<Arc<Tool>>,
}

/// A visible tool with its position.
type VisibleTool<'a> = (usize, &'a Arc<Tool>);

impl Grouping {
    /// The tools at these positions without groups.
    pub fn flat(visible: &VisibleTools, positions: impl Iterator<Item = usize>) -> Self {
        let tools = positions.filter_map(|position| visible.tools.get(position)).cloned().collect();
        Self { dispatchers: Vec::new(), tools }
    }

    /// The tools at these positions, grouped by server or category.
    pub fn new(
        visible: &VisibleTools,
        positions: impl Iterator<Item = usize>,
        cache: &GroupCache,
    ) -> Self {
        Self::within_budget(visible, positions, usize::MAX, u32::MAX, cache).unwrap_or_default()
    }

    /// The same, but `None` if that would be more than `max_entries` entries or cost more than
    /// `max_tokens` tokens. It stops at the first group that does not fit.
    pub fn within_budget(
        visible: &VisibleTools,
        positions: impl Iterator<Item = usize>,
        max_entries: usize,
        max_tokens: u32,
        cache: &GroupCache,
    ) -> Option<Self> {
        let groups = tools_by_group(visible, positions);
        let entries = |(_, tools): &(GroupKey<'_>, Vec<VisibleTool<'_>>)| match tools.len() {
            few if few < MIN_ACTIONS => few,
            many => many.div_ceil(MAX_ACTIONS),
        };
        if groups.iter().map(entries).sum::<usize>() > max_entries {
            return None;
        }
        let mut grouping = Self::default();
        let mut left = max_tokens;
        for (group, tools) in groups {
            if tools.len() < MIN_ACTIONS {
                for (_, tool) in tools {
                    spend(&mut left, || tool.tokens())?;
                    grouping.tools.push(Arc::clone(tool));
                }
                continue;
            }
            for chunk in tools.chunks(MAX_ACTIONS) {
                let name = grouping.free_name(visible, group);
                let key = Key { name: &name, category: group.category(), tools: chunk };
                let group = cache.get(key);
                spend(&mut left, || group.tokens())?;
                let positions = chunk.iter().map(|(position, _)| *position).collect();
                grouping.dispatchers.push(Dispatcher { group, positions });
            }
        }
        Some(grouping)
    }

    /// The dispatching tool with this name.
    pub fn dispatcher(&self, name: &str) -> Option<&Dispatcher> {
        self.dispatchers.iter().find(|dispatcher| dispatcher.group.name == name)
    }

    /// `<prefix>__do`, or the first of `do_2`, `do_3`, … that no tool has.
    fn free_name(&self, visible: &VisibleTools, group: GroupKey<'_>) -> String {
        let prefix = match group {
            GroupKey::Server(position) => {
                let server = visible.config().servers.get(position);
                server.map_or("tools", |server| server.prefix.as_deref().unwrap_or(&server.name))
            }
            // A custom category may have this name; its tool must not look like one of the hub's
            // own.
            GroupKey::Category(names::RESERVED_PREFIX) => "category",
            GroupKey::Category(name) => name,
        };
        let name = |number: usize| {
            let suffix = if number == 1 {
                DISPATCHER_NAME.to_owned()
            } else {
                format!("{DISPATCHER_NAME}_{number}")
            };
            names::exposed(Some(prefix), &suffix)
        };
        // There are fewer tools than numbers, so one is free.
        let mut all = (1..=visible.tools.len() + self.dispatchers.len() + 1).map(name);
        all.find(|name| visible.find(name).is_none() && self.dispatcher(name).is_none())
            .unwrap_or_else(|| name(1))
    }
}

/// What the tools of one group have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum GroupKey<'a> {
    /// The position of their server in the config.
    Server(usize),
    /// The name of their category.
    Category(&'a str),
}

impl<'a> GroupKey<'a> {
    fn new(visible: &'a VisibleTools, tool: &Tool) -> Self {
        let Filtering { mode, servers, .. } = &visible.config().filtering;
        let category = || Self::Category(visible.visibility().categories.category(tool));
        match mode {
            FilterMode::Category => category(),
            FilterMode::Hybrid if !servers.allow.iter().any(|name| **name == *tool.server_name) => {
                category()
            }
            _ => Self::Server(tool.server),
        }
    }

    fn category(self) -> Option<&'a str> {
        match self {
            Self::Server(_) => None,
            Self::Category(name) => Some(name),
        }
    }
}

/// The tools at these positions by group. Groups are in the order of their first tools.
fn tools_by_group(
    visible: &VisibleTools,
    positions: impl Iterator<Item = usize>,
) -> Vec<(GroupKey<'_>, Vec<VisibleTool<'_>>)> {
    let mut groups: Vec<(GroupKey<'_>, Vec<VisibleTool<'_>>)> = Vec::new();
    let mut indexes: HashMap<GroupKey<'_>, usize> = HashMap::new();
    let (mut last, mut index) = (None, 0);
    for position in positions {
        let Some(tool) = visible.tools.get(position) else { continue };
        let group = GroupKey::new(visible, tool);
        // Neighbors are mostly in the same group, so the map is rarely needed.
        if last != Some(group) {
            (last, index) = (Some(group), *indexes.entry(group).or_insert(groups.len()));
        }
        match groups.get_mut(index) {
            Some((_, tools)) => tools.push((position, tool)),
            None => groups.push((group, vec![(position, tool)])),
        }
    }
    groups
}

/// Takes a cost from what is left. Without a limit nothing is counted, because counting takes
/// milliseconds.
fn spend(left: &mut u32, tokens: impl Fn() -> u32) -> Option<()> {
    if *left < u32::MAX {
        *left = left.checked_sub(tokens())?;
    }
    Some(())
}

#[cfg(test)]
mod tests;
