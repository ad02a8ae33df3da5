//! Many tools of one server or category as one tool that dispatches: `files__do {action, arguments}`. A list of forty
//! tools becomes one entry, and the arguments of each action keep their real schema. The tools themselves stay callable by
//! name.
//!
//! Tools are put together by what the filter chose them by: by category in mode `Category`, and in `Hybrid` but for those of
//! servers that it names; else by server.

mod asked;
mod shown;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use mcphub_wire::config::{FilterMode, Filtering};
use serde_json::{Value, json};

pub use self::asked::Asked;
use crate::catalogue::{Hints, Tool};
use crate::object::{self, quoted};
use crate::sight::Sight;
use crate::{names, tokens};

/// The dispatching tool's own name, after the prefix of the server, or the category.
const WORD: &str = "do";
/// The action that explains the others.
const HELP: &str = "help";
/// Most actions of one dispatching tool; a server with more gets several. Models choose badly from longer enums.
const MAX_ACTIONS: usize = 100;
/// Longest that the list says of one action.
const MAX_DESCRIPTION: usize = 120;
/// Fewer tools than this stay as they are: one entry for one tool saves nothing.
const LEAST: usize = 2;

/// Most servers that the description of a category's tool names.
const NAMED_SERVERS: usize = 8;

/// The tools of one server or category as one.
#[derive(Debug, Clone)]
pub struct Dispatcher {
    /// The name that clients see.
    pub name: String,
    /// The definition as clients see it.
    pub definition: String,
    /// What it says of its effects: the most dangerous of what its actions say.
    pub hints: Hints,
    members: Vec<Member>,
    help: String,
    tokens: OnceLock<u32>,
}

/// One action of a dispatching tool.
#[derive(Debug, Clone)]
struct Member {
    action: String,
    /// Position in the sight.
    position: usize,
    tool: Arc<Tool>,
}

/// What a list holds in place of tools.
#[derive(Debug, Clone, Default)]
pub struct Hierarchy {
    /// In the order of the list.
    pub dispatchers: Vec<Dispatcher>,
    /// Tools that stay as they are, after them.
    pub tools: Vec<Arc<Tool>>,
}

/// A tool and its position in the sight.
type Placed<'a> = (usize, &'a Arc<Tool>);

impl Hierarchy {
    /// These tools of a sight, as they are.
    pub fn flat(sight: &Sight, positions: impl Iterator<Item = usize>) -> Self {
        let tools = positions.filter_map(|position| sight.tools.get(position)).cloned().collect();
        Self { dispatchers: Vec::new(), tools }
    }

    /// These tools of a sight, by server or category.
    pub fn of(sight: &Sight, positions: impl Iterator<Item = usize>) -> Self {
        Self::within(sight, positions, usize::MAX, u32::MAX).unwrap_or_default()
    }

    /// The same. `None` if it has more entries than `most`, or costs more than `tokens`: then not all of it is made.
    pub fn within(sight: &Sight, positions: impl Iterator<Item = usize>, most: usize, tokens: u32) -> Option<Self> {
        let groups = groups(sight, positions);
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
                let dispatcher = Dispatcher::of(hierarchy.free_name(sight, group), group, chunk);
                spend(&mut left, || dispatcher.tokens())?;
                hierarchy.dispatchers.push(dispatcher);
            }
        }
        Some(hierarchy)
    }

    /// The dispatching tool of this name.
    pub fn named(&self, name: &str) -> Option<&Dispatcher> {
        self.dispatchers.iter().find(|dispatcher| dispatcher.name == name)
    }

    /// `<prefix>__do`, or the first of `do_2`, `do_3`, … that no tool has.
    fn free_name(&self, sight: &Sight, group: Group<'_>) -> String {
        let prefix = match group {
            Group::Server(position) => {
                let server = sight.config().servers.get(position);
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
        let mut all = (1..=sight.tools.len() + self.dispatchers.len() + 1).map(name);
        all.find(|name| sight.find(name).is_none() && self.named(name).is_none()).unwrap_or_else(|| name(1))
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
    fn of(sight: &'a Sight, tool: &Tool) -> Self {
        let Filtering { mode, servers, .. } = &sight.config().filtering;
        let category = || Self::Category(sight.visibility().categories.category(tool));
        match mode {
            FilterMode::Category => category(),
            FilterMode::Hybrid if !servers.allow.iter().any(|name| **name == *tool.server_name) => category(),
            _ => Self::Server(tool.server),
        }
    }
}

/// The tools at these positions, in groups that are each listed as one; in the order of their first tools.
fn groups(sight: &Sight, positions: impl Iterator<Item = usize>) -> Vec<(Group<'_>, Vec<Placed<'_>>)> {
    let mut groups: Vec<(Group<'_>, Vec<Placed<'_>>)> = Vec::new();
    let mut places: HashMap<Group<'_>, usize> = HashMap::new();
    for position in positions {
        let Some(tool) = sight.tools.get(position) else { continue };
        let group = Group::of(sight, tool);
        let place = *places.entry(group).or_insert(groups.len());
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

impl Dispatcher {
    fn of(name: String, group: Group<'_>, tools: &[Placed<'_>]) -> Self {
        // The shortest name that is not also another's.
        let is_alone = |bare: &str| {
            let has = |(_, tool): &&Placed<'_>| tool.bare == bare || tool.exposed == bare;
            tools.iter().filter(has).count() == 1
        };
        let action = |tool: &Tool| if is_alone(&tool.bare) { tool.bare.clone() } else { tool.exposed.clone() };
        let member = |(position, tool): &Placed<'_>| Member {
            action: action(tool),
            position: *position,
            tool: Arc::clone(tool),
        };
        let members: Vec<Member> = tools.iter().map(member).collect();
        let mut help = HELP.to_owned();
        while members.iter().any(|member| member.action == help) {
            help.insert_str(0, "hub_");
        }
        let hints = worst(&members.iter().map(|member| member.tool.hints));
        let description = described(group, &members, &help);
        let definition = definition(&name, &description, &members, &help, hints);
        Self { name, definition, hints, members, help, tokens: OnceLock::new() }
    }

    /// What its definition costs in a prompt; see [`tokens`]. Counted when first asked.
    pub fn tokens(&self) -> u32 {
        *self.tokens.get_or_init(|| {
            let members = object::members(&self.definition).unwrap_or_default();
            let value = |key: &str| members.iter().find(|member| member.key == key).map_or("", |member| member.value);
            let description = object::unquoted(value("description")).unwrap_or_default();
            tokens::of_definition(&self.name, &description, value("inputSchema"))
        })
    }

    /// The tools that it calls.
    pub fn tools(&self) -> impl Iterator<Item = &Arc<Tool>> {
        self.members.iter().map(|member| &member.tool)
    }
}

/// A client's "always allow" is for every action, so one that destroys makes all of them destructive.
fn worst(hints: &(impl Iterator<Item = Hints> + Clone)) -> Hints {
    let all = |says: &dyn Fn(Hints) -> bool| Some(hints.clone().all(says));
    Hints {
        read_only: all(&|hints| hints.read_only == Some(true)),
        destructive: all(&|hints| hints.read_only == Some(true) || hints.destructive == Some(false)).map(|safe| !safe),
        idempotent: all(&|hints| hints.read_only == Some(true) || hints.idempotent == Some(true)),
        open_world: all(&|hints| hints.open_world == Some(false)).map(|closed| !closed),
    }
}

fn described(group: Group<'_>, members: &[Member], help: &str) -> String {
    let mut servers: Vec<&str> = Vec::new();
    for Member { tool, .. } in members {
        if !servers.contains(&&*tool.server_name) {
            servers.push(&tool.server_name);
        }
    }
    let more = servers.len().saturating_sub(NAMED_SERVERS);
    let more = (more > 0).then(|| format!("{more} more"));
    let named: Vec<&str> = servers.iter().copied().take(NAMED_SERVERS).chain(more.as_deref()).collect();
    let of = match group {
        Group::Server(_) => format!("of the server {}", named.join(", ")),
        Group::Category(category) => format!("for {category} (servers: {})", named.join(", ")),
    };
    format!(
        "Calls one of {} tools {of}: choose the action and give its arguments. The action \
         \"{help}\" with arguments {{\"action\": NAME}} shows an action's whole definition.",
        members.len()
    )
}

fn definition(name: &str, description: &str, members: &[Member], help: &str, hints: Hints) -> String {
    let hint = |hint: Option<bool>| hint.unwrap_or_default();
    let annotations = format!(
        r#"{{"readOnlyHint":{},"destructiveHint":{},"idempotentHint":{},"openWorldHint":{}}}"#,
        hint(hints.read_only),
        hint(hints.destructive),
        hint(hints.idempotent),
        hint(hints.open_world)
    );
    format!(
        r#"{{"name":{},"description":{},"inputSchema":{},"annotations":{annotations}}}"#,
        quoted(name),
        quoted(description),
        schema(members, help)
    )
}

/// No composition at the root: vendors refuse every tool of a request for it.
fn schema(members: &[Member], help: &str) -> Value {
    let said = |member: &Member| first_sentence(&member.tool.description);
    let names = members.iter().map(|member| member.action.as_str()).chain([help]);
    let descriptions: Vec<String> =
        members.iter().map(said).chain(["Shows an action's whole definition.".to_owned()]).collect();
    // The same once more: clients drop keywords that they do not know.
    let lines = names.clone().zip(&descriptions).map(|(name, said)| match said.as_str() {
        "" => format!("- {name}"),
        said => format!("- {name}: {said}"),
    });
    let description = lines.collect::<Vec<_>>().join("\n");
    let actions: Vec<&str> = names.collect();
    json!({
        "type": "object",
        "properties": {
            "action": {
                "type": "string",
                "enum": actions,
                "enumDescriptions": descriptions,
                "description": description,
            },
            "arguments": {
                "description": "The arguments of the action; the title of each form is the action that it is for.",
                "anyOf": shown::all(members.iter().map(|member| (member.action.as_str(), member.tool.input_schema()))),
            },
        },
        "required": ["action"],
    })
}

fn first_sentence(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default().trim();
    let sentence = line.split_inclusive(". ").next().unwrap_or_default().trim_end();
    match sentence.char_indices().nth(MAX_DESCRIPTION) {
        Some((end, _)) => format!("{}…", sentence.get(..end).unwrap_or_default().trim_end()),
        None => sentence.to_owned(),
    }
}

#[cfg(test)]
mod tests;
