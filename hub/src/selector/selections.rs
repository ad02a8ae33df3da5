//! Results of the selector that a later call may name, so that the hub learns which tool a prompt
//! led to.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// How many selections are remembered. The oldest are dropped first.
const MAX_SELECTIONS: usize = 4096;
/// The transformer reads no more than this of a prompt.
const PROMPT_BYTES: usize = 1000;

#[derive(Debug)]
pub(super) struct Selection {
    /// The start of the prompt.
    pub(super) prompt: String,
    /// Hash of the principal that asked. A call of another principal teaches nothing.
    principal: [u8; 32],
}

#[derive(Debug, Default)]
pub(super) struct Selections(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    by_id: HashMap<String, Arc<Selection>>,
    order: VecDeque<String>,
}

impl Selections {
    /// Remembers a selection.
    pub(super) fn add(&self, id: &str, prompt: &str, principal: [u8; 32]) {
        let prompt = super::truncate(prompt, PROMPT_BYTES).to_owned();
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.by_id.insert(id.to_owned(), Arc::new(Selection { prompt, principal }));
        table.order.push_back(id.to_owned());
        if table.order.len() > MAX_SELECTIONS
            && let Some(oldest) = table.order.pop_front()
        {
            table.by_id.remove(&oldest);
        }
    }

    /// Takes the selection, to learn from it. A selection teaches only once.
    pub(super) fn take(&self, id: &str, principal: [u8; 32]) -> Option<Arc<Selection>> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.by_id.get(id).filter(|selection| selection.principal == principal)?;
        table.by_id.remove(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_teaches_once_and_only_the_principal_that_asked() {
        let selections = Selections::default();
        selections.add("a", "prompt", [1; 32]);
        assert!(selections.take("a", [2; 32]).is_none());
        assert_eq!(selections.take("a", [1; 32]).unwrap().prompt, "prompt");
        assert!(selections.take("a", [1; 32]).is_none());
    }

    // A loop around search must not fill a pod's memory.
    #[test]
    fn selections_and_their_prompts_are_bounded() {
        let selections = Selections::default();
        for number in 0..MAX_SELECTIONS + 10 {
            selections.add(&number.to_string(), &"ü".repeat(PROMPT_BYTES), [0; 32]);
        }
        let table = selections.0.lock().unwrap();
        assert_eq!((table.by_id.len(), table.order.len()), (MAX_SELECTIONS, MAX_SELECTIONS));
        assert_eq!(table.by_id["10"].prompt.len(), PROMPT_BYTES);
    }
}
