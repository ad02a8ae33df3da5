//! Which visible tools are in a caller's list, and which are only found by search.
//!
//! A list holds what the filter mode exposes by default, what the session added, and the meta-tools
//! that lead to the rest. If not everything fits into the tool budget, it holds the pinned tools,
//! the additions and the meta-tools. The other visible tools are *unlisted*: search finds them, and
//! they can be called. A list is never cut without meta-tools, because then nobody could find the
//! rest. The budget counts entries, and with `hierarchicalTools` one entry stands for many tools
//! (see [`crate::grouping`]).
//!
//! A list without a session (the stateless protocol, and clients that send no session id) depends
//! on nothing that a caller did.

mod additions;
mod content;

use std::sync::{Arc, OnceLock};

use mcphub_hub_wire::config::{DefaultExposure, FilterMode};
use sha2::{Digest as _, Sha256};

pub use self::additions::Additions;
use self::content::{Content, RemainingBudget};
use crate::catalog::Tool;
use crate::grouping::{Dispatcher, GroupCache, Grouping};
use crate::list_pages::ListPages;
use crate::meta_tools::{Class, MetaTool, MetaToolDefinition};
use crate::visibility::VisibleTools;

/// Whom a list is for.
#[derive(Debug, Clone, Copy)]
pub enum ListScope<'a> {
    /// Any request without a session.
    Stateless,
    /// A session with these additions.
    Session(&'a Additions),
}

/// What is in a caller's list.
#[derive(Debug)]
pub struct ToolList {
    /// The tools that are listed under their own names, in order; meta-tools and dispatchers come
    /// before them.
    pub tools: Vec<Arc<Tool>>,
    /// In hierarchical mode, the entries that stand for several tools.
    pub dispatchers: Vec<Dispatcher>,
    /// The meta-tools in the list, in order.
    pub meta: Vec<(MetaTool, MetaToolDefinition)>,
    /// The meta-tools that the caller may call, listed or not.
    available: Vec<MetaTool>,
    /// Whether the caller can search.
    pub search: bool,
    /// Changes with anything in the list.
    pub digest: u64,
    /// For each visible tool, whether it is in the list.
    listed: Vec<bool>,
    pages: ListPages,
    tokens: OnceLock<u32>,
}

impl ToolList {
    /// Computes a list. [`crate::list_cache::CallerLists::tool_list`] does that once per caller.
    pub fn new(visible: &VisibleTools, scope: ListScope<'_>, cache: &GroupCache) -> Self {
        let filtering = &visible.config().filtering;
        let by_prompt = filtering.mode == FilterMode::PromptBased;
        let additions = match scope {
            ListScope::Session(additions) => Some(additions),
            ListScope::Stateless => None,
        };
        let exposure = match (by_prompt, filtering.prompt_based.default_exposure) {
            (false, _) => DefaultExposure::All,
            // The default applies before the first prompt; after it, the tools for the prompt
            // replace everything.
            (true, DefaultExposure::All) if additions.is_some_and(Additions::prompted) => {
                DefaultExposure::Minimal
            }
            (true, exposure) => exposure,
        };
        let searches =
            |unlisted: bool| if by_prompt { filtering.prompt_based.meta_tools } else { unlisted };
        let definitions = |unlisted: bool| -> Vec<(MetaTool, MetaToolDefinition)> {
            let tools = available(searches(unlisted), by_prompt && additions.is_some());
            tools.into_iter().map(|tool| (tool, tool.definition(visible))).collect()
        };
        let mut meta = definitions(false);
        let listed_meta = |meta: &[(MetaTool, MetaToolDefinition)]| match exposure {
            DefaultExposure::Zero => Vec::new(),
            _ => meta.to_vec(),
        };
        let mut budget = RemainingBudget::new(filtering.tool_budget.as_ref(), &listed_meta(&meta));
        let all = if exposure == DefaultExposure::All {
            Content::all(visible, &budget, cache)
        } else {
            None
        };
        let content = all.unwrap_or_else(|| {
            if !by_prompt {
                meta = definitions(true);
                budget = RemainingBudget::new(filtering.tool_budget.as_ref(), &listed_meta(&meta));
            }
            Content::selected(visible, exposure, additions, budget, cache)
        });
        let available = meta.iter().map(|(tool, _)| *tool).collect();
        Self::assemble(visible, content, listed_meta(&meta), available)
    }

    fn assemble(
        visible: &VisibleTools,
        content: Content,
        meta: Vec<(MetaTool, MetaToolDefinition)>,
        available: Vec<MetaTool>,
    ) -> Self {
        let Content { positions, grouping: Grouping { dispatchers, tools } } = content;
        let mut listed = vec![false; visible.tools.len()];
        for position in positions {
            if let Some(listed) = listed.get_mut(position) {
                *listed = true;
            }
        }
        // A hash of digests: hashing ten megabytes of definitions for each caller would take
        // milliseconds.
        let mut hash = Sha256::new();
        for (_, definition) in &meta {
            hash.update(definition.text.as_bytes());
        }
        for dispatcher in &dispatchers {
            hash.update(dispatcher.group.digest().to_be_bytes());
        }
        for tool in &tools {
            hash.update(tool.digest.to_be_bytes());
        }
        let meta_lengths = meta.iter().map(|(_, definition)| definition.text.len());
        let lengths = meta_lengths
            .chain(dispatchers.iter().map(|dispatcher| dispatcher.group.definition().len()));
        let pages = ListPages::new(lengths.chain(tools.iter().map(|tool| tool.definition.len())));
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

    /// Whether the caller may call this meta-tool.
    pub fn has(&self, meta: MetaTool) -> bool {
        self.available.contains(&meta)
    }

    /// Whether the tool at this position of the visible tools is in the list, by itself or as an
    /// action.
    pub fn lists(&self, position: usize) -> bool {
        self.listed.get(position).copied().unwrap_or_default()
    }

    /// How many visible tools are not in the list.
    pub fn unlisted(&self) -> usize {
        self.listed.len() - self.listed()
    }

    /// How many tools are in the list, by themselves or as actions.
    pub fn listed(&self) -> usize {
        self.listed.iter().filter(|listed| **listed).count()
    }

    /// How many entries the list has.
    pub fn entries(&self) -> usize {
        self.meta.len() + self.dispatchers.len() + self.tools.len()
    }

    /// The dispatching tool with this name.
    pub fn dispatcher(&self, name: &str) -> Option<&Dispatcher> {
        self.dispatchers.iter().find(|dispatcher| dispatcher.group.name == name)
    }

    /// What the list costs in a prompt; see [`crate::tokens`]. Counted on first use.
    pub fn tokens(&self) -> u32 {
        *self.tokens.get_or_init(|| {
            let meta: u32 = self.meta.iter().map(|(_, definition)| definition.tokens).sum();
            let dispatchers = self.dispatchers.iter().map(|dispatcher| dispatcher.group.tokens());
            let meta = dispatchers.fold(meta, u32::saturating_add);
            self.tools.iter().fold(meta, |sum, tool| sum.saturating_add(tool.tokens()))
        })
    }

    /// The page that a cursor names, as a JSON array, and the cursor of the next page. Without a
    /// cursor it is the first page. `None` if the cursor is for an older list, or is not a cursor.
    pub fn page(&self, cursor: Option<&str>) -> Option<(&str, Option<String>)> {
        let definitions = || {
            let meta = self.meta.iter().map(|(_, definition)| definition.text.as_str());
            let dispatchers =
                self.dispatchers.iter().map(|dispatcher| dispatcher.group.definition());
            meta.chain(dispatchers).chain(self.tools.iter().map(|tool| tool.definition.as_str()))
        };
        self.pages.page(self.digest, cursor, definitions)
    }
}

/// The meta-tools of a caller who can search, or also send prompts.
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
