//! The tools that a session added to its list.

/// How many are remembered. Beyond that, the least recently used are dropped.
const MAX_ADDITIONS: usize = 1000;

/// The tools that a session added to its list. They are kept by exposed name: positions change with
/// the catalog.
#[derive(Debug, Clone, Default)]
pub struct Additions {
    /// In the order in which they were added.
    entries: Vec<Addition>,
    /// Counts uses, as a clock.
    uses: u64,
    prompted: bool,
}

#[derive(Debug, Clone)]
struct Addition {
    name: String,
    last_use: u64,
}

impl Additions {
    /// Whether no tool was added and no prompt was analyzed.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && !self.prompted
    }

    /// Whether a prompt was analyzed.
    pub fn prompted(&self) -> bool {
        self.prompted
    }

    /// Adds the tools that fit a prompt, best first.
    pub fn add_for_prompt<'n>(&mut self, names: impl DoubleEndedIterator<Item = &'n str> + Clone) {
        self.prompted = true;
        self.add(names);
    }

    /// Adds tools, best first. Adding a tool again counts as a use.
    pub fn add<'n>(&mut self, names: impl DoubleEndedIterator<Item = &'n str> + Clone) {
        for name in names.clone() {
            if !self.entries.iter().any(|entry| entry.name == name) {
                self.entries.push(Addition { name: name.to_owned(), last_use: 0 });
            }
        }
        // The best tool becomes the most recent one: if not all fit, the worst are dropped.
        for name in names.rev() {
            self.mark_used(name);
        }
        while self.entries.len() > MAX_ADDITIONS {
            let oldest = self
                .entries
                .iter()
                .enumerate()
                .min_by_key(|(_, entry)| entry.last_use)
                .map(|(index, _)| index);
            self.entries.remove(oldest.unwrap_or_default());
        }
    }

    /// Records a call of a tool.
    pub fn mark_used(&mut self, name: &str) {
        self.uses += 1;
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.name == name) {
            entry.last_use = self.uses;
        }
    }

    pub fn contains(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| entry.name == name)
    }

    /// The names, most recently used first, each with its index in the order of addition.
    pub(super) fn by_last_use(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut entries: Vec<(usize, &Addition)> = self.entries.iter().enumerate().collect();
        entries.sort_by_key(|(_, entry)| std::cmp::Reverse(entry.last_use));
        entries.into_iter().map(|(index, entry)| (index, entry.name.as_str()))
    }
}
