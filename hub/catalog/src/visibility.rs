//! What one principal may see.
//!
//! A tool passes three stages: the static part (a pure function of config and catalog), the view,
//! and the access rules for the principal. A tool that fails one of them is *denied*: for this
//! principal it does not exist, in any result and in any error. Which visible tools are in a list
//! is another question; see [`crate::tool_list`].
//!
//! A [`Visibility`] is built once per config and catalog, and a [`VisibleTools`] once per principal
//! and view.

mod warnings;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use mcphub_hub_wire::config::{FilterMode, HubConfig, HybridMatch, View};
use mcphub_hub_wire::flags::HIERARCHICAL_TOOLS;

use crate::access::Access;
use crate::catalog::{ServerList, Tool, ToolCatalog};
use crate::category::{Categories, LlmCategories};
use crate::principal::Principal;
use crate::{flags, pattern};

/// What is decided once per config and catalog.
#[derive(Debug)]
pub struct Visibility {
    pub config: Arc<HubConfig>,
    pub catalog: ToolCatalog,
    pub categories: Categories,
    /// For each tool of the catalog, whether the filter mode shows it.
    shown: Vec<bool>,
    /// For each tool of the catalog, whether it is pinned.
    pinned: Vec<bool>,
    /// For each view and each tool of the catalog, whether the view has it.
    views: HashMap<String, Vec<bool>>,
    access: Access,
    hierarchical: bool,
    unfiltered_tokens: OnceLock<u64>,
}

/// What changes at run time while config and catalog stay the same.
#[derive(Clone, Debug, Default)]
pub struct RuntimeInputs {
    /// The feature flag: lists group the tools of a server or category; see [`crate::grouping`].
    pub hierarchical: bool,
    pub llm_categories: Arc<LlmCategories>,
}

/// What one principal may see through one view.
#[derive(Debug)]
pub struct VisibleTools {
    /// In the order of the catalog. A *position* is an index here; a *place* is an index into the
    /// catalog.
    pub tools: Vec<Arc<Tool>>,
    pub view: Option<String>,
    visibility: Arc<Visibility>,
    /// For each tool of the catalog, its position here.
    positions: Vec<Option<u32>>,
    /// For each tool here, its place in the catalog.
    places: Vec<u32>,
}

impl Visibility {
    /// Uses the flags of the config, and no answers of a language model.
    pub fn new(config: Arc<HubConfig>, catalog: ToolCatalog) -> Arc<Self> {
        let hierarchical = flags::configured(&config.flags, HIERARCHICAL_TOOLS);
        let inputs = RuntimeInputs { hierarchical, llm_categories: Arc::default() };
        Self::with(config, catalog, inputs)
    }

    /// Uses what is in force at run time.
    pub fn with(config: Arc<HubConfig>, catalog: ToolCatalog, inputs: RuntimeInputs) -> Arc<Self> {
        let RuntimeInputs { hierarchical, llm_categories } = inputs;
        let categories = Categories::new(&config.filtering.categories.custom, llm_categories);
        let each = |rule: &dyn Fn(&Tool) -> bool| {
            catalog.entries.iter().map(|tool| rule(tool)).collect::<Vec<bool>>()
        };
        let shown = each(&|tool| shown(&config, &categories, tool));
        // In mode Static the patterns select what is shown. If they also pinned it, no budget would
        // be left for additions.
        let pins = config.filtering.mode != FilterMode::Static;
        let pinned = each(&|tool| {
            pins && pattern::matches_any(&config.filtering.static_tools, &tool.exposed)
        });
        let views = config.filtering.views.iter();
        let views = views
            .map(|view| (view.name.clone(), each(&|tool| in_view(view, &categories, tool))))
            .collect();
        let access = Access::new(&config.access, &catalog);
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

    /// What the principal may see through a view. `None` if there is no such view.
    pub fn visible_tools(
        self: &Arc<Self>,
        view: Option<&str>,
        principal: &Principal,
    ) -> Option<VisibleTools> {
        let Some(name) = view else { return Some(self.whole(principal)) };
        let in_view = self.views.get(name)?;
        let allowed = self.access.allowed(&self.catalog, principal, view);
        Some(self.select(view, |place| is_set(in_view, place) && is_set(&allowed, place)))
    }

    /// What the principal may see without a view.
    pub fn whole(self: &Arc<Self>, principal: &Principal) -> VisibleTools {
        let allowed = self.access.allowed(&self.catalog, principal, None);
        self.select(None, |place| is_set(&allowed, place))
    }

    /// Everything that somebody may see. Views and access rules only narrow it.
    pub(crate) fn everything(self: &Arc<Self>) -> VisibleTools {
        self.select(None, |_| true)
    }

    fn select(
        self: &Arc<Self>,
        view: Option<&str>,
        allowed: impl Fn(usize) -> bool,
    ) -> VisibleTools {
        let all = &self.catalog.entries;
        let mut visible = VisibleTools {
            tools: Vec::with_capacity(all.len()),
            view: view.map(str::to_owned),
            visibility: Arc::clone(self),
            positions: vec![None; all.len()],
            places: Vec::with_capacity(all.len()),
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

    /// What a list of every tool that exists would cost; see [`crate::tokens`]. Counted on first
    /// use: that takes about a second for 10,000 new tools, and no time for tools that were counted
    /// before.
    pub fn unfiltered_tokens(&self) -> u64 {
        *self
            .unfiltered_tokens
            .get_or_init(|| self.catalog.entries.iter().map(|tool| u64::from(tool.tokens())).sum())
    }

    /// The run-time inputs that this was built with.
    pub fn runtime_inputs(&self) -> RuntimeInputs {
        RuntimeInputs {
            hierarchical: self.hierarchical,
            llm_categories: Arc::clone(self.categories.llm()),
        }
    }

    /// Whether lists group the tools of a server or category; see [`crate::grouping`].
    pub fn is_hierarchical(&self) -> bool {
        self.hierarchical
    }

    /// The tools whose category decides whether somebody sees them, and whose category no mapping
    /// sets. A language model is asked about these and about no others.
    pub fn tools_for_llm(&self) -> impl Iterator<Item = &Arc<Tool>> {
        let tools = self.catalog.entries.iter().enumerate();
        let undecided = |(place, tool): &(usize, &Arc<Tool>)| {
            let category_matters = mode_depends_on_category(&self.config, tool)
                || (self.shows(*place) && a_view_depends_on_category(&self.config, tool));
            category_matters && self.categories.mapping(&tool.exposed).is_none()
        };
        tools.filter(undecided).map(|(_, tool)| tool)
    }

    /// Whether the filter mode shows the tool at this place.
    pub fn shows(&self, place: usize) -> bool {
        is_set(&self.shown, place)
    }

    /// Whether the view has the tool at this place. `None` if there is no such view.
    pub fn view_has(&self, view: &str, place: usize) -> Option<bool> {
        self.views.get(view).map(|has| is_set(has, place))
    }

    /// The position in the config of the access rule that allows the principal the tool at this
    /// place.
    pub fn allowing_rule(
        &self,
        place: usize,
        principal: &Principal,
        view: Option<&str>,
    ) -> Option<usize> {
        self.access.first_allowing(place, &self.catalog, principal, view)
    }

    /// What in the config has no effect on this catalog, in words for people. While some servers
    /// have not listed yet, it names more than it should.
    pub fn warnings(&self) -> Vec<String> {
        warnings::warnings(&self.config, &self.catalog, &self.categories)
    }

    /// What in the rules of each server has no effect on the tools that it lists, in words for
    /// people. There is one list for each server of the config.
    pub fn server_warnings(&self, lists: &[Option<Arc<ServerList>>]) -> Vec<String> {
        warnings::server_warnings(&self.config, lists)
    }
}

impl VisibleTools {
    /// The position of the tool with this exposed name, or of the only visible tool with this bare
    /// name. A denied tool and one that does not exist give the same result, so no caller can tell
    /// them apart.
    pub fn find(&self, name: &str) -> Option<usize> {
        let catalog = &self.visibility.catalog;
        let position = |place: usize| {
            self.positions.get(place).copied().flatten().map(|position| position as usize)
        };
        if let Some(position) = catalog.place(name).and_then(position) {
            return Some(position);
        }
        let mut positions = catalog.places_of_bare_name(name).filter_map(position);
        let first = positions.next()?;
        positions.next().is_none().then_some(first)
    }

    pub fn config(&self) -> &HubConfig {
        &self.visibility.config
    }

    pub fn visibility(&self) -> &Arc<Visibility> {
        &self.visibility
    }

    /// The place in the catalog of the tool at this position.
    pub fn place(&self, position: usize) -> Option<usize> {
        self.places.get(position).map(|&place| place as usize)
    }

    /// Whether `static_tools` of the config pins the tool at this position.
    pub fn is_pinned(&self, position: usize) -> bool {
        self.place(position).is_some_and(|place| is_set(&self.visibility.pinned, place))
    }

    /// The servers that have a visible tool, in the order of the config, and how many tools each
    /// has.
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

    /// See [`crate::catalog::Catalog::ttl_ms`].
    pub fn ttl_ms(&self) -> Option<u64> {
        self.visibility.catalog.ttl_ms
    }

    /// Whether lists of these tools must not be shared between callers.
    pub fn private(&self) -> bool {
        self.visibility.catalog.private || !self.visibility.config.access.is_empty()
    }
}

fn is_set(mask: &[bool], place: usize) -> bool {
    mask.get(place).copied().unwrap_or_default()
}

/// Whether the filter mode shows the tool.
fn shown(config: &HubConfig, categories: &Categories, tool: &Tool) -> bool {
    let filtering = &config.filtering;
    let names_it = |names: &[String]| names.iter().any(|name| **name == *tool.server_name);
    let (allow, expose) = (&filtering.servers.allow, &filtering.categories.expose);
    let denied = || names_it(&filtering.servers.deny);
    let in_category = || expose.iter().any(|exposed| exposed == categories.category(tool));
    match filtering.mode {
        FilterMode::None | FilterMode::PromptBased => true,
        FilterMode::Static => pattern::matches_any(&filtering.static_tools, &tool.exposed),
        FilterMode::ServerAllowlist => !denied() && (allow.is_empty() || names_it(allow)),
        FilterMode::Category => in_category(),
        // An empty half must neither admit everything nor deny everything.
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

fn in_view(view: &View, categories: &Categories, tool: &Tool) -> bool {
    may_be_in_view(view, tool)
        && (view.categories.is_empty()
            || view.categories.iter().any(|name| name == categories.category(tool)))
}

/// Whether the view has the tool if its category matches.
fn may_be_in_view(view: &View, tool: &Tool) -> bool {
    (view.servers.is_empty() || view.servers.iter().any(|name| **name == *tool.server_name))
        && (view.tools.is_empty() || pattern::matches_any(&view.tools, &tool.exposed))
}

/// Whether the mode shows the tool in some categories and not in others.
fn mode_depends_on_category(config: &HubConfig, tool: &Tool) -> bool {
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
fn a_view_depends_on_category(config: &HubConfig, tool: &Tool) -> bool {
    config
        .filtering
        .views
        .iter()
        .any(|view| !view.categories.is_empty() && may_be_in_view(view, tool))
}

#[cfg(test)]
mod tests;
