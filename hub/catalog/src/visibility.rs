//! What one caller may know of.
//!
//! A tool's way: static part (a pure function of config and catalog) -> view -> access rules of the caller. What
//! does not come through is *denied*: for this caller it is as if it did not exist, in every answer and every error.
//! Which of what comes through is in a list is another question: see [`crate::tool_list`].
//!
//! [`Visibility`] is made once for a config and a catalog; a [`VisibleTools`] of it once for a caller and a view.

mod warnings;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use mcphub_hub_wire::config::{FilterMode, HubConfig, HybridMatch, View};
use mcphub_hub_wire::flags::HIERARCHICAL_TOOLS;

use crate::access::{Access, Caller};
use crate::catalog::{Catalog, Tool};
use crate::category::{LlmCategories, Mappings};
use crate::tool_list::{ListScope, ToolList};
use crate::{flags, pattern};

/// What is decided once for a config and a catalog.
#[derive(Debug)]
pub struct Visibility {
    /// The config.
    pub config: Arc<HubConfig>,
    /// Every tool that exists.
    pub catalog: Catalog,
    /// Which category a tool has.
    pub categories: Mappings,
    shown: Vec<bool>,
    pinned: Vec<bool>,
    views: HashMap<String, Vec<bool>>,
    access: Access,
    hierarchical: bool,
    unfiltered_tokens: OnceLock<u64>,
}

/// What changes while config and catalog stay as they are.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// The flag in force: lists hold many tools as one.
    pub hierarchical: bool,
    /// Categories that a language model gave.
    pub given: Arc<LlmCategories>,
}

/// What one caller may know of, through one view. Positions in `tools` hold for as long as the visible does.
#[derive(Debug)]
pub struct VisibleTools {
    /// In the order of the catalog.
    pub tools: Vec<Arc<Tool>>,
    /// The view that it is seen through.
    pub view: Option<String>,
    visibility: Arc<Visibility>,
    /// Of each tool of the catalog, its position here.
    positions: Vec<Option<u32>>,
    /// Of each tool here, its place in the catalog.
    places: Vec<u32>,
    plain: [OnceLock<Arc<ToolList>>; 2],
}

impl Visibility {
    /// Decides the static part: lists have the shape that the config's own flags say, categories are by mappings and
    /// words.
    pub fn of(config: Arc<HubConfig>, catalog: Catalog) -> Arc<Self> {
        let hierarchical = flags::configured(&config.flags, HIERARCHICAL_TOOLS);
        Self::with(config, catalog, Shape { hierarchical, given: Arc::default() })
    }

    /// The same, with what came to be while the hub runs.
    pub fn with(config: Arc<HubConfig>, catalog: Catalog, shape: Shape) -> Arc<Self> {
        let Shape { hierarchical, given } = shape;
        let categories = Mappings::of(&config.filtering.categories.custom).with(given);
        let each = |rule: &dyn Fn(&Tool) -> bool| {
            catalog.tools.iter().map(|tool| rule(tool)).collect::<Vec<bool>>()
        };
        let shown = each(&|tool| shown(&config, &categories, tool));
        // In mode Static the patterns say what is shown at all: pinned besides, they would leave no room for additions.
        let pins = config.filtering.mode != FilterMode::Static;
        let pinned =
            each(&|tool| pins && pattern::any(&config.filtering.static_tools, &tool.exposed));
        let views = config.filtering.views.iter();
        let views = views
            .map(|view| (view.name.clone(), each(&|tool| in_view(view, &categories, tool))))
            .collect();
        let access = Access::of(&config.access, &catalog);
        Arc::new(Self {
            categories,
            shown,
            pinned,
            views,
            access,
            hierarchical,
            unfiltered_tokens: OnceLock::new(),
            catalog,
            config,
        })
    }

    /// What the caller may know of through a view. `None`: there is no such view.
    pub fn visible_tools(
        self: &Arc<Self>,
        view: Option<&str>,
        caller: &Caller,
    ) -> Option<VisibleTools> {
        let Some(name) = view else { return Some(self.whole(caller)) };
        let in_view = self.views.get(name)?;
        let allowed = self.access.allowed(&self.catalog, caller, view);
        Some(self.visible_tools_of(view, |place| holds(in_view, place) && holds(&allowed, place)))
    }

    /// The same, without a view.
    pub fn whole(self: &Arc<Self>, caller: &Caller) -> VisibleTools {
        let allowed = self.access.allowed(&self.catalog, caller, None);
        self.visible_tools_of(None, |place| holds(&allowed, place))
    }

    fn visible_tools_of(
        self: &Arc<Self>,
        view: Option<&str>,
        allowed: impl Fn(usize) -> bool,
    ) -> VisibleTools {
        let all = &self.catalog.tools;
        let mut visible = VisibleTools {
            tools: Vec::with_capacity(all.len()),
            view: view.map(str::to_owned),
            visibility: Arc::clone(self),
            positions: vec![None; all.len()],
            places: Vec::with_capacity(all.len()),
            plain: [OnceLock::new(), OnceLock::new()],
        };
        for ((place, tool), position) in (0..).zip(all).zip(&mut visible.positions) {
            if self.shows(place as usize) && allowed(place as usize) {
                *position = u32::try_from(visible.tools.len()).ok();
                visible.tools.push(Arc::clone(tool));
                visible.places.push(place);
            }
        }
        visible
    }

    /// Whether search is reachable for anybody: then, and only then, its models are worth their memory. Views and
    /// access rules only narrow, so who sees everything decides.
    pub fn search_is_reachable(self: &Arc<Self>) -> bool {
        self.visible_tools_of(None, |_| true).tool_list(ListScope::Stateless).search
    }

    /// What a list of every tool that exists would cost; see [`crate::tokens`]. Counted when first asked: that may take
    /// a second for ten thousand new tools, and nothing for those that were counted before.
    pub fn unfiltered_tokens(&self) -> u64 {
        *self
            .unfiltered_tokens
            .get_or_init(|| self.catalog.tools.iter().map(|tool| u64::from(tool.tokens())).sum())
    }

    /// What came to be while the hub runs, as this was made with.
    pub fn shape(&self) -> Shape {
        Shape { hierarchical: self.hierarchical, given: Arc::clone(self.categories.given()) }
    }

    /// Whether lists hold many tools as one; see [`crate::grouping`].
    pub fn is_hierarchical(&self) -> bool {
        self.hierarchical
    }

    /// Tools of which it depends on their category whether somebody sees them, and which no mapping decides: a language
    /// model is asked about these, and hears of no others.
    pub fn undecided(&self) -> impl Iterator<Item = &Arc<Tool>> {
        let tools = self.catalog.tools.iter().enumerate();
        let undecided = |(place, tool): &(usize, &Arc<Tool>)| {
            let decides =
                in_mode(&self.config, tool) || (self.shows(*place) && in_views(&self.config, tool));
            decides && self.categories.find(&tool.exposed).is_none()
        };
        tools.filter(undecided).map(|(_, tool)| tool)
    }

    /// Whether the static part shows the tool at this place of the catalog to anybody.
    pub fn shows(&self, place: usize) -> bool {
        holds(&self.shown, place)
    }

    /// The view's part: whether it has the tool at this place. `None`: there is no such view.
    pub fn view_has(&self, view: &str, place: usize) -> Option<bool> {
        self.views.get(view).map(|verdicts| holds(verdicts, place))
    }

    /// The access rule that allows the tool at this place to the caller, by its position in the config.
    pub fn allowed_by(&self, place: usize, caller: &Caller, view: Option<&str>) -> Option<usize> {
        self.access.first(place, &self.catalog, caller, view)
    }

    /// What in the config can have no effect on this catalog, and what to look at. For people: lists that are not
    /// complete yet make it longer.
    pub fn warnings(&self) -> Vec<String> {
        warnings::of(&self.config, &self.catalog, &self.categories)
    }
}

impl VisibleTools {
    /// Position of the tool of this name, or of this name without prefix where only one here has it.
    /// A denied tool and one that was never there are the same here, and so to every caller.
    pub fn find(&self, name: &str) -> Option<usize> {
        let catalog = &self.visibility.catalog;
        let position = |place: usize| {
            self.positions.get(place).copied().flatten().map(|position| position as usize)
        };
        if let Some(found) = catalog.place(name).and_then(position) {
            return Some(found);
        }
        let mut found = catalog.places_of_bare(name).filter_map(position);
        let first = found.next()?;
        found.next().is_none().then_some(first)
    }

    /// What a caller's list holds. Kept where it depends on nothing of the caller.
    pub fn tool_list(&self, asker: ListScope<'_>) -> Arc<ToolList> {
        let (kept, varies) = match asker {
            ListScope::Stateless => (&self.plain[0], false),
            ListScope::Session(additions) => (&self.plain[1], !additions.is_empty()),
        };
        if varies {
            return Arc::new(ToolList::of(self, asker));
        }
        Arc::clone(kept.get_or_init(|| Arc::new(ToolList::of(self, asker))))
    }

    /// The config in force.
    pub fn config(&self) -> &HubConfig {
        &self.visibility.config
    }

    /// What it was made of.
    pub fn visibility(&self) -> &Arc<Visibility> {
        &self.visibility
    }

    /// Place in the catalog of a tool here.
    pub fn place(&self, position: usize) -> Option<usize> {
        self.places.get(position).map(|&place| place as usize)
    }

    /// Whether the config pins the tool at this position; see `static_tools`.
    pub fn is_pinned(&self, position: usize) -> bool {
        self.place(position)
            .and_then(|place| self.visibility.pinned.get(place))
            .copied()
            .unwrap_or_default()
    }

    /// Names of the servers that have a tool here, in the order of the config, with how many.
    pub fn servers(&self) -> Vec<(&str, usize)> {
        let mut servers: Vec<(&str, usize)> = Vec::new();
        for tool in &self.tools {
            match servers.last_mut().filter(|(name, _)| *name == &*tool.server_name) {
                Some((_, count)) => *count += 1,
                None => servers.push((&tool.server_name, 1)),
            }
        }
        servers
    }

    /// See [`Catalog::ttl_ms`].
    pub fn ttl_ms(&self) -> Option<u64> {
        self.visibility.catalog.ttl_ms
    }

    /// Whether lists made of this must not be shared between callers.
    pub fn private(&self) -> bool {
        self.visibility.catalog.private || !self.visibility.config.access.is_empty()
    }
}

fn holds(verdicts: &[bool], place: usize) -> bool {
    verdicts.get(place).copied().unwrap_or_default()
}

/// Whether the filter mode shows the tool.
fn shown(config: &HubConfig, categories: &Mappings, tool: &Tool) -> bool {
    let filtering = &config.filtering;
    let names_it = |names: &[String]| names.iter().any(|name| **name == *tool.server_name);
    let (allow, expose) = (&filtering.servers.allow, &filtering.categories.expose);
    let denied = || names_it(&filtering.servers.deny);
    let in_category = || expose.iter().any(|exposed| exposed == categories.category(tool));
    match filtering.mode {
        FilterMode::None | FilterMode::PromptBased => true,
        FilterMode::Static => pattern::any(&filtering.static_tools, &tool.exposed),
        FilterMode::ServerAllowlist => !denied() && (allow.is_empty() || names_it(allow)),
        FilterMode::Category => in_category(),
        // An empty half says nothing: it must neither let everything through nor nothing.
        FilterMode::Hybrid => match filtering.hybrid {
            HybridMatch::Any => !denied() && (names_it(allow) || in_category()),
            HybridMatch::All => {
                !denied()
                    && (allow.is_empty() || names_it(allow))
                    && (expose.is_empty() || in_category())
            }
        },
    }
}

fn in_view(view: &View, categories: &Mappings, tool: &Tool) -> bool {
    may_be_in_view(view, tool)
        && (view.categories.is_empty()
            || view.categories.iter().any(|name| name == categories.category(tool)))
}

/// Whether the view has the tool if its category is the right one.
fn may_be_in_view(view: &View, tool: &Tool) -> bool {
    (view.servers.is_empty() || view.servers.iter().any(|name| **name == *tool.server_name))
        && (view.tools.is_empty() || pattern::any(&view.tools, &tool.exposed))
}

/// Whether the mode shows the tool in some categories and not in others.
fn in_mode(config: &HubConfig, tool: &Tool) -> bool {
    let filtering = &config.filtering;
    let names_it = |names: &[String]| names.iter().any(|name| **name == *tool.server_name);
    let (allow, deny) = (&filtering.servers.allow, &filtering.servers.deny);
    if filtering.categories.expose.is_empty() {
        return false;
    }
    match filtering.mode {
        FilterMode::Category => true,
        FilterMode::Hybrid => {
            let by_server = match filtering.hybrid {
                HybridMatch::Any => !names_it(allow),
                HybridMatch::All => allow.is_empty() || names_it(allow),
            };
            !names_it(deny) && by_server
        }
        FilterMode::None
        | FilterMode::Static
        | FilterMode::ServerAllowlist
        | FilterMode::PromptBased => false,
    }
}

/// Whether a view has the tool in some categories and not in others.
fn in_views(config: &HubConfig, tool: &Tool) -> bool {
    config
        .filtering
        .views
        .iter()
        .any(|view| !view.categories.is_empty() && may_be_in_view(view, tool))
}

#[cfg(test)]
pub(crate) mod tests;
