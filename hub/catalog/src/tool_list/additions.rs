//! What a session added to its list.

/// Most that is remembered; the least recently used go first.
const MAX: usize = 1000;

/// What a session added to its list, by exposed name: positions change with the catalog, names lead back.
#[derive(Debug, Clone, Default)]
pub struct Additions {
    /// In the order in which they were added.
    entries: Vec<Entry>,
    uses: u64,
    prompted: bool,
}

#[derive(Debug, Clone)]
struct Entry {
    name: String,
    used: u64,
}

impl Additions {
    /// Nothing was added, and no prompt analysed.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && !self.prompted
    }

    /// Whether a prompt was analysed.
    pub fn prompted(&self) -> bool {
        self.prompted
    }

    /// Adds what a prompt chose, best first.
    pub fn add_for_prompt<'n>(&mut self, names: impl DoubleEndedIterator<Item = &'n str> + Clone) {
        self.prompted = true;
        self.add(names);
    }

    /// Adds tools, best first. Those that are there already count as used.
    pub fn add<'n>(&mut self, names: impl DoubleEndedIterator<Item = &'n str> + Clone) {
        for name in names.clone() {
            if !self.entries.iter().any(|entry| entry.name == name) {
                self.entries.push(Entry { name: name.to_owned(), used: 0 });
            }
        }
        // The best is the most recent: when not all fit, the worst goes.
        for name in names.rev() {
            self.used(name);
        }
        while self.entries.len() > MAX {
            let oldest = self
                .entries
                .iter()
                .enumerate()
                .min_by_key(|(_, entry)| entry.used)
                .map(|(at, _)| at);
            self.entries.remove(oldest.unwrap_or_default());
        }
    }

    /// Notes that a tool was called.
    pub fn used(&mut self, name: &str) {
        self.uses += 1;
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.name == name) {
            entry.used = self.uses;
        }
    }

    /// Whether it was added.
    pub fn contains(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| entry.name == name)
    }

    /// Names with their place in the order of addition, the most recently used first.
    pub(super) fn by_use(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut order: Vec<(usize, &Entry)> = self.entries.iter().enumerate().collect();
        order.sort_by_key(|(_, entry)| std::cmp::Reverse(entry.used));
        order.into_iter().map(|(place, entry)| (place, entry.name.as_str()))
    }
}
