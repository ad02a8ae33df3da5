//! Many tools of one server as one tool that dispatches: `files__do {action, arguments}`. A list of forty tools becomes
//! one entry, and the arguments of each action keep their real schema. The tools themselves stay callable by name.

mod asked;
mod shown;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};

pub use self::asked::Asked;
use crate::catalogue::{Hints, Tool};
use crate::object::{self, quoted};
use crate::sight::Sight;
use crate::{names, tokens};

/// The dispatching tool's own name, after the server's prefix.
const WORD: &str = "do";
/// The action that explains the others.
const HELP: &str = "help";
/// Most actions of one dispatching tool; a server with more gets several. Models choose badly from longer enums.
const MAX_ACTIONS: usize = 100;
/// Longest that the list says of one action.
const MAX_DESCRIPTION: usize = 120;
/// Fewer tools than this stay as they are: one entry for one tool saves nothing.
const LEAST: usize = 2;

/// The tools of one server as one.
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

    /// These tools of a sight, by server.
    pub fn of(sight: &Sight, positions: impl Iterator<Item = usize>) -> Self {
        Self::within(sight, positions, usize::MAX, u32::MAX).unwrap_or_default()
    }

    /// The same. `None` if it has more entries than `most`, or costs more than `tokens`: then not all of it is made.
    pub fn within(
        sight: &Sight,
        positions: impl Iterator<Item = usize>,
        most: usize,
        tokens: u32,
    ) -> Option<Self> {
        let groups = groups(sight, positions);
        let entries = |tools: &Vec<Placed<'_>>| if tools.len() < LEAST { 1 } else { tools.len().div_ceil(MAX_ACTIONS) };
        if groups.iter().map(entries).sum::<usize>() > most {
            return None;
        }
        let mut hierarchy = Self::default();
        let mut left = tokens;
        for tools in groups {
            if tools.len() < LEAST {
                for (_, tool) in tools {
                    spend(&mut left, || tool.tokens())?;
                    hierarchy.tools.push(Arc::clone(tool));
                }
                continue;
            }
            for chunk in tools.chunks(MAX_ACTIONS) {
                let dispatcher = Dispatcher::of(hierarchy.free_name(sight, chunk), chunk);
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
    fn free_name(&self, sight: &Sight, tools: &[(usize, &Arc<Tool>)]) -> String {
        let tool = tools.first().map(|(_, tool)| tool);
        let server = tool.and_then(|tool| sight.config().servers.get(tool.server));
        let prefix = server.map_or("tools", |server| server.prefix.as_deref().unwrap_or(&server.name));
        let name = |number: usize| {
            let word = if number == 1 { WORD.to_owned() } else { format!("{WORD}_{number}") };
            names::exposed(Some(prefix), &word)
        };
        // There are fewer tools than numbers, so one is free.
        let mut all = (1..=sight.tools.len() + self.dispatchers.len() + 1).map(name);
        all.find(|name| sight.find(name).is_none() && self.named(name).is_none()).unwrap_or_else(|| name(1))
    }
}

/// The tools at these positions, in groups that are each listed as one.
fn groups<'s>(sight: &'s Sight, positions: impl Iterator<Item = usize>) -> Vec<Vec<Placed<'s>>> {
    let mut groups: Vec<Vec<Placed<'_>>> = Vec::new();
    let mut places: HashMap<usize, usize> = HashMap::new();
    for position in positions {
        let Some(tool) = sight.tools.get(position) else { continue };
        let place = *places.entry(tool.server).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.push((position, tool)),
            None => groups.push(vec![(position, tool)]),
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
    fn of(name: String, tools: &[(usize, &Arc<Tool>)]) -> Self {
        let is_alone = |bare: &str| tools.iter().filter(|(_, tool)| tool.bare == bare).count() == 1;
        let action = |tool: &Tool| if is_alone(&tool.bare) { tool.bare.clone() } else { tool.exposed.clone() };
        let member = |(position, tool): &(usize, &Arc<Tool>)| Member {
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
        let definition = definition(&name, &members, &help, hints);
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

fn definition(name: &str, members: &[Member], help: &str, hints: Hints) -> String {
    let server = members.first().map_or("", |member| &member.tool.server_name);
    let description = format!(
        "Calls one of {} tools of the server {server}: choose the action and give its arguments. The action \
         \"{help}\" with arguments {{\"action\": NAME}} shows an action's whole definition.",
        members.len()
    );
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
        quoted(&description),
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
