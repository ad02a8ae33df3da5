//! Many tools of one server or category as one tool that dispatches: `files__do {action, arguments}`. A list of forty
//! tools becomes one entry, and the arguments of each action keep their real schema. The tools themselves stay callable by
//! name.
//!
//! Tools are put together by what the filter chose them by: by category in mode `Category`, and in `Hybrid` but for those of
//! servers that it names; else by server.

mod cache;
mod entry;
mod request;
mod schema_embedding;

use std::collections::HashMap;
use std::sync::Arc;

use mcphub_hub_wire::config::{FilterMode, Filtering};

pub(crate) use self::cache::Kept;
use self::cache::Key;
pub use self::entry::Entry;
pub use self::request::Asked;
use crate::catalog::Tool;
use crate::names;
use crate::visibility::VisibleTools;

/// The dispatching tool's own name, after the prefix of the server, or the category.
const WORD: &str = "do";
/// Most actions of one dispatching tool; a server with more gets several. Models choose badly from longer enums.
const MAX_ACTIONS: usize = 100;
/// Fewer tools than this stay as they are: one entry for one tool saves nothing.
const LEAST: usize = 2;

/// The tools of one server or category as one, in a visible.
#[derive(Debug, Clone)]
pub struct Dispatcher {
    /// What is the same in every visible of these tools.
    pub entry: Arc<Entry>,
    /// Of each of its tools, its position in the visible.
    positions: Vec<usize>,
}

/// What a list holds in place of tools.
#[derive(Debug, Clone, Default)]
pub struct Grouping {
    /// In the order of the list.
    pub dispatchers: Vec<Dispatcher>,
    /// Tools that stay as they are, after them.
    pub tools: Vec<Arc<Tool>>,
}

/// A tool and its position in the visible.
type Placed<'a> = (usize, &'a Arc<Tool>);

impl Grouping {
    /// These tools of a visible, as they are.
    pub fn flat(visible: &VisibleTools, positions: impl Iterator<Item = usize>) -> Self {
        let tools = positions.filter_map(|position| visible.tools.get(position)).cloned().collect();
        Self { dispatchers: Vec::new(), tools }
    }

    /// These tools of a visible, by server or category.
    pub fn of(visible: &VisibleTools, positions: impl Iterator<Item = usize>) -> Self {
        Self::within(visible, positions, usize::MAX, u32::MAX).unwrap_or_default()
    }

    /// The same. `None` if it has more entries than `most`, or costs more than `tokens`: then not all of it is made.
    pub fn within(
        visible: &VisibleTools,
        positions: impl Iterator<Item = usize>,
        most: usize,
        tokens: u32,
    ) -> Option<Self> {
        let groups = groups(visible, positions);
        let entries = |(_, tools): &(Group<'_>, Vec<Placed<'_>>)| match tools.len() {
            few if few < LEAST => few,
            many => many.div_ceil(MAX_ACTIONS),
        };
        if groups.iter().map(entries).sum::<usize>() > most {
            return None;
        }
        let mut hierarchy = Self::default();
        let mut left = tokens;
        for (group, tools) in groups {
            if tools.len() < LEAST {
                for (_, tool) in tools {
                    spend(&mut left, || tool.tokens())?;
                    hierarchy.tools.push(Arc::clone(tool));
                }
                continue;
            }
            for chunk in tools.chunks(MAX_ACTIONS) {
                let name = hierarchy.free_name(visible, group);
                let key = Key { name: &name, category: group.category(), tools: chunk };
                let entry = visible.visibility().catalog.kept().entry(key);
                spend(&mut left, || entry.tokens())?;
                let positions = chunk.iter().map(|(position, _)| *position).collect();
                hierarchy.dispatchers.push(Dispatcher { entry, positions });
            }
        }
        Some(hierarchy)
    }

    /// The dispatching tool of this name.
    pub fn named(&self, name: &str) -> Option<&Dispatcher> {
        self.dispatchers.iter().find(|dispatcher| dispatcher.entry.name == name)
    }

    /// `<prefix>__do`, or the first of `do_2`, `do_3`, … that no tool has.
    fn free_name(&self, visible: &VisibleTools, group: Group<'_>) -> String {
        let prefix = match group {
            Group::Server(position) => {
                let server = visible.config().servers.get(position);
                server.map_or("tools", |server| server.prefix.as_deref().unwrap_or(&server.name))
            }
            // As the tool of a category that somebody calls so; else it would look like the hub's own.
            Group::Category(names::RESERVED_PREFIX) => "category",
            Group::Category(name) => name,
        };
        let name = |number: usize| {
            let word = if number == 1 { WORD.to_owned() } else { format!("{WORD}_{number}") };
            names::exposed(Some(prefix), &word)
        };
        // There are fewer tools than numbers, so one is free.
        let mut all = (1..=visible.tools.len() + self.dispatchers.len() + 1).map(name);
        all.find(|name| visible.find(name).is_none() && self.named(name).is_none())
            .unwrap_or_else(|| name(1))
    }
}

/// What tools have in common that are listed as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Group<'a> {
    /// Position in the config.
    Server(usize),
    /// Its name.
    Category(&'a str),
}

impl<'a> Group<'a> {
    /// By what the filter chose it.
    fn of(visible: &'a VisibleTools, tool: &Tool) -> Self {
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

/// The tools at these positions, in groups that are each listed as one; in the order of their first tools.
fn groups(
    visible: &VisibleTools,
    positions: impl Iterator<Item = usize>,
) -> Vec<(Group<'_>, Vec<Placed<'_>>)> {
    let mut groups: Vec<(Group<'_>, Vec<Placed<'_>>)> = Vec::new();
    let mut places: HashMap<Group<'_>, usize> = HashMap::new();
    let (mut last, mut place) = (None, 0);
    for position in positions {
        let Some(tool) = visible.tools.get(position) else { continue };
        let group = Group::of(visible, tool);
        // Most often that of the tool before.
        if last != Some(group) {
            (last, place) = (Some(group), *places.entry(group).or_insert(groups.len()));
        }
        match groups.get_mut(place) {
            Some((_, tools)) => tools.push((position, tool)),
            None => groups.push((group, vec![(position, tool)])),
        }
    }
    groups
}

/// Takes a cost from what is left. Where there is no bound nothing is counted: it takes milliseconds.
fn spend(left: &mut u32, tokens: impl Fn() -> u32) -> Option<()> {
    if *left < u32::MAX {
        *left = left.checked_sub(tokens())?;
    }
    Some(())
}

#[cfg(test)]
mod tests;
