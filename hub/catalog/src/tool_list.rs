//! What is in a caller's list, and what is only found by search.
//!
//! Everything of a [`VisibleTools`] exists for its caller. Of it, a list holds what the mode shows by default, what the
//! session added, and the meta-tools that lead to the rest. A list is never cut in silence: where not all fits into
//! the budget it holds the pinned tools, what was added and the meta-tools, and the rest is *unlisted*. What is counted
//! is what the list holds: with `hierarchicalTools`, one entry for many tools (see [`crate::grouping`]).
//!
//! Lists without a session (the modern protocol, and legacy clients that send no session id) never vary.

mod additions;
mod content;
mod pages;

use std::sync::{Arc, OnceLock};

use mcphub_hub_wire::config::{DefaultExposure, FilterMode};
use sha2::{Digest as _, Sha256};

pub use self::additions::Additions;
use self::content::{Content, Room};
pub use self::pages::MAX_PAGE_BYTES;
use self::pages::Pages;
use crate::catalog::Tool;
use crate::grouping::{Dispatcher, Grouping};
use crate::meta_tools::{Class, Definition, MetaTool};
use crate::visibility::VisibleTools;

/// Whose list it is.
#[derive(Debug, Clone, Copy)]
pub enum ListScope<'a> {
    /// Nobody's in particular.
    Stateless,
    /// A legacy session's, which added these.
    Session(&'a Additions),
}

/// What is in a caller's list.
#[derive(Debug)]
pub struct ToolList {
    /// The tools that are in the list under their own names, in its order; meta-tools come before them.
    pub tools: Vec<Arc<Tool>>,
    /// In hierarchical mode: what stands for several tools, between meta-tools and tools.
    pub dispatchers: Vec<Dispatcher>,
    /// Meta-tools in the list, in its order.
    pub meta: Vec<(MetaTool, Definition)>,
    /// Meta-tools that the caller has; some may not be in the list.
    available: Vec<MetaTool>,
    /// The caller can search.
    pub search: bool,
    /// Changes when anything in the list does.
    pub digest: u64,
    /// Of each position of the visible, whether it is in the list.
    listed: Vec<bool>,
    pages: Pages,
    tokens: OnceLock<u32>,
}

impl ToolList {
    /// What the list of this caller holds. See [`VisibleTools::tool_list`], which keeps it.
    pub fn of(visible: &VisibleTools, asker: ListScope<'_>) -> Self {
        let filtering = &visible.config().filtering;
        let prompts = filtering.mode == FilterMode::PromptBased;
        let additions = match asker {
            ListScope::Session(additions) => Some(additions),
            ListScope::Stateless => None,
        };
        let tool_list = match (prompts, filtering.prompt_based.default_exposure) {
            (false, _) => DefaultExposure::All,
            // "Before the first prompt" is over: what the prompt chose takes the place of everything.
            (true, DefaultExposure::All) if additions.is_some_and(Additions::prompted) => {
                DefaultExposure::Minimal
            }
            (true, tool_list) => tool_list,
        };
        let searches =
            |unlisted: bool| if prompts { filtering.prompt_based.meta_tools } else { unlisted };
        let definitions = |unlisted: bool| -> Vec<(MetaTool, Definition)> {
            let tools = available(searches(unlisted), prompts && additions.is_some());
            tools.into_iter().map(|tool| (tool, tool.definition(visible))).collect()
        };
        let mut meta = definitions(false);
        let listed_meta = |meta: &[(MetaTool, Definition)]| match tool_list {
            DefaultExposure::Zero => Vec::new(),
            _ => meta.to_vec(),
        };
        let mut room = Room::of(filtering.tool_budget.as_ref(), &listed_meta(&meta));
        let everything = if tool_list == DefaultExposure::All {
            Content::everything(visible, &room)
        } else {
            None
        };
        let content = everything.unwrap_or_else(|| {
            if !prompts {
                meta = definitions(true);
                room = Room::of(filtering.tool_budget.as_ref(), &listed_meta(&meta));
            }
            Content::chosen(visible, tool_list, additions, room)
        });
        Self::new(
            visible,
            content,
            listed_meta(&meta),
            meta.iter().map(|(tool, _)| *tool).collect(),
        )
    }

    fn new(
        visible: &VisibleTools,
        content: Content,
        meta: Vec<(MetaTool, Definition)>,
        available: Vec<MetaTool>,
    ) -> Self {
        let Content { positions, hierarchy: Grouping { dispatchers, tools } } = content;
        let mut listed = vec![false; visible.tools.len()];
        for position in positions {
            if let Some(listed) = listed.get_mut(position) {
                *listed = true;
            }
        }
        // Of the digests of its parts: hashing ten megabytes of definitions for each caller would take milliseconds.
        let mut hash = Sha256::new();
        for (_, definition) in &meta {
            hash.update(definition.text.as_bytes());
        }
        for dispatcher in &dispatchers {
            hash.update(dispatcher.entry.digest().to_be_bytes());
        }
        for tool in &tools {
            hash.update(tool.digest.to_be_bytes());
        }
        let meta_lengths = meta.iter().map(|(_, definition)| definition.text.len());
        let lengths = meta_lengths
            .chain(dispatchers.iter().map(|dispatcher| dispatcher.entry.definition().len()));
        let pages = Pages::of(lengths.chain(tools.iter().map(|tool| tool.definition.len())));
        Self {
            search: available.contains(&MetaTool::FindTools),
            digest: hash.finalize().first_chunk().map_or(0, |first| u64::from_be_bytes(*first)),
            pages,
            tokens: OnceLock::new(),
            dispatchers,
            tools,
            meta,
            available,
            listed,
        }
    }

    /// Whether the caller has this meta-tool.
    pub fn has(&self, meta: MetaTool) -> bool {
        self.available.contains(&meta)
    }

    /// Whether the tool at this position of the visible is in the list, itself or in a dispatching tool.
    pub fn lists(&self, position: usize) -> bool {
        self.listed.get(position).copied().unwrap_or_default()
    }

    /// Tools that the caller may know of and does not find in the list.
    pub fn unlisted(&self) -> usize {
        self.listed.len() - self.listed()
    }

    /// Tools that are in the list, themselves or in a dispatching tool.
    pub fn listed(&self) -> usize {
        self.listed.iter().filter(|listed| **listed).count()
    }

    /// Entries of the list.
    pub fn entries(&self) -> usize {
        self.meta.len() + self.dispatchers.len() + self.tools.len()
    }

    /// The dispatching tool of this name.
    pub fn dispatcher(&self, name: &str) -> Option<&Dispatcher> {
        self.dispatchers.iter().find(|dispatcher| dispatcher.entry.name == name)
    }

    /// What the list costs; see [`crate::tokens`]. Counted when first asked.
    pub fn tokens(&self) -> u32 {
        *self.tokens.get_or_init(|| {
            let meta: u32 = self.meta.iter().map(|(_, definition)| definition.tokens).sum();
            let dispatchers = self.dispatchers.iter().map(|dispatcher| dispatcher.entry.tokens());
            let meta = dispatchers.fold(meta, u32::saturating_add);
            self.tools.iter().fold(meta, |sum, tool| sum.saturating_add(tool.tokens()))
        })
    }

    /// The page that a cursor names, as a JSON array, and the cursor of the next; the first page without one.
    /// `None`: a cursor of another list, or of none.
    pub fn page(&self, cursor: Option<&str>) -> Option<(&str, Option<String>)> {
        let definitions = || {
            let meta = self.meta.iter().map(|(_, definition)| definition.text.as_str());
            let dispatchers =
                self.dispatchers.iter().map(|dispatcher| dispatcher.entry.definition());
            meta.chain(dispatchers).chain(self.tools.iter().map(|tool| tool.definition.as_str()))
        };
        self.pages.page(self.digest, cursor, definitions)
    }
}

/// The meta-tools of a caller that can search, of one that can prompt.
fn available(searches: bool, prompts: bool) -> Vec<MetaTool> {
    let has = |tool: &MetaTool| match tool {
        MetaTool::AnalyzePrompt => searches && prompts,
        MetaTool::FindTools | MetaTool::Call(Class::Read | Class::Write | Class::Destructive) => {
            searches
        }
    };
    MetaTool::ALL.into_iter().filter(has).collect()
}

#[cfg(test)]
mod tests;
