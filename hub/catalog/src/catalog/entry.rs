//! An entry of a catalog: what tools, prompts and resources have in common.

use std::ops::Range;
use std::sync::Arc;

use mcphub_hub_protocol::json_splice::{self, Edits, Member, last_member};
use mcphub_hub_wire::config::{Server, ToolRules};
use sha2::{Digest as _, Sha256};

use super::repair::Repaired;
use crate::names::{self, NameParts};

/// An entry as its server defines it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// The server's own name for it.
    pub name: String,
    /// The definition, byte for byte.
    pub text: String,
}

/// An entry that exists in this hub, with the details that only its kind has.
#[derive(Debug, Clone)]
pub struct Entry<D> {
    /// Position of its server in the config.
    pub server: usize,
    pub server_name: Arc<str>,
    /// The server's own name for it.
    pub own: String,
    /// The name that clients see.
    pub exposed: String,
    /// The exposed name without prefix.
    pub bare: String,
    /// The definition that clients see.
    pub definition: String,
    /// The description in that definition; empty if it has none.
    pub description: String,
    /// Changes with any byte of the definition.
    pub digest: u64,
    /// How long a request for it may take.
    pub timeout_ms: u64,
    annotations: Range<usize>,
    pub(super) details: D,
}

/// What only one kind of entry has, and how that kind is listed and named.
pub trait Details: Sized {
    /// The member of a list result that holds the definitions, such as `tools`.
    const LIST_MEMBER: &'static str;
    /// The member of a definition that names the entry: `name`, or `uri` for resources.
    const NAME_MEMBER: &'static str;

    /// The server's allow, deny, rename and describe rules for this kind.
    fn rules(server: &Server) -> &ToolRules;

    /// The exposed names of entries. They are unique.
    fn exposed_names<'a>(entries: impl Iterator<Item = NameParts<'a>>) -> Vec<String>;

    /// The definition with these members, without what the MCP schema forbids. `None` if it is
    /// valid.
    fn repair(members: &[Member<'_>]) -> Option<Repaired>;

    /// Reads the details from a definition and its members.
    fn read(definition: &str, members: &[Member<'_>]) -> Self;
}

/// A short digest of a text, to notice a change.
pub(crate) fn digest(text: impl AsRef<[u8]>) -> u64 {
    Sha256::digest(text).first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

impl<D> Entry<D> {
    /// The annotations, byte for byte; empty if there are none.
    pub fn annotations(&self) -> &str {
        self.definition.get(self.annotations.clone()).unwrap_or_default()
    }
}

impl<D: Details> Entry<D> {
    pub(super) fn new(
        position: usize,
        server: &Server,
        server_name: &Arc<str>,
        original: &Definition,
        bare: &str,
        exposed: String,
    ) -> Self {
        let rules = D::rules(server);
        let description = rules.describe.get(&original.name).map(String::as_str);
        let definition = redefine::<D>(&original.text, &exposed, description);
        let members = json_splice::members(&definition).unwrap_or_default();
        let timeout_ms = rules.timeout_ms.get(&original.name).copied();
        Self {
            server: position,
            server_name: Arc::clone(server_name),
            own: original.name.clone(),
            bare: names::exposed(None, bare),
            description: last_member(&members, "description")
                .and_then(json_splice::unquoted)
                .unwrap_or_default()
                .into_owned(),
            digest: digest(&definition),
            timeout_ms: timeout_ms.unwrap_or(server.timeout_ms),
            annotations: member_range(&definition, &members, "annotations"),
            details: D::read(&definition, &members),
            definition,
            exposed,
        }
    }

    /// Whether nothing about it differs from the other.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.server == other.server
            && self.server_name == other.server_name
            && self.own == other.own
            && self.bare == other.bare
            && self.timeout_ms == other.timeout_ms
            && self.definition == other.definition
    }
}

/// Where the value of a member is in the definition; an empty range if there is no such member.
pub(super) fn member_range(definition: &str, members: &[Member<'_>], key: &str) -> Range<usize> {
    last_member(members, key)
        .and_then(|value| json_splice::range_of(definition, value))
        .unwrap_or_default()
}

/// The definition under another name, and with another description if there is one. Nothing else
/// changes.
fn redefine<D: Details>(definition: &str, name: &str, description: Option<&str>) -> String {
    let members = json_splice::members(definition).unwrap_or_default();
    // A definition without a name never gets here.
    let Some(old_name) = last_member(&members, D::NAME_MEMBER) else {
        return definition.to_owned();
    };
    let edits = Edits::new(definition).replace(old_name, json_splice::quoted(name));
    let old_description = last_member(&members, "description");
    match (description.map(json_splice::quoted), old_description) {
        (None, _) => edits,
        (Some(text), Some(old)) => edits.replace(old, text),
        (Some(text), None) => edits.insert("description", &text),
    }
    .finish()
}
