//! The same list with the tools of each server as one; see [`crate::hierarchy`].

use std::sync::{Arc, OnceLock};

use sha2::{Digest as _, Sha256};

use super::{Exposure, Pages};
use crate::hierarchy::{Dispatcher, Hierarchy};
use crate::sight::Sight;

impl Exposure {
    /// This list in hierarchical mode; made when first asked. `sight` is what this is the exposure of. A tool that is
    /// listed here is in one of its dispatching tools, so [`Exposure::lists`] answers the same.
    pub fn hierarchical(&self, sight: &Sight) -> Arc<Exposure> {
        let made = self.hierarchical.get_or_init(|| {
            let listed = (0..sight.tools.len()).filter(|&position| self.lists(position));
            Arc::new(self.with(Hierarchy::of(sight, listed)))
        });
        Arc::clone(made)
    }

    /// The dispatching tool of this name.
    pub fn dispatcher(&self, name: &str) -> Option<&Dispatcher> {
        self.dispatchers.iter().find(|dispatcher| dispatcher.name == name)
    }

    fn with(&self, hierarchy: Hierarchy) -> Self {
        let digest = Sha256::new()
            .chain_update(b"hierarchical")
            .chain_update(self.digest.to_be_bytes())
            .chain_update(hierarchy.digest().to_be_bytes())
            .finalize();
        let meta = self.meta.iter().map(|(_, definition)| definition.text.len());
        Self {
            pages: Pages::of(meta.chain(hierarchy.definitions().map(str::len))),
            dispatchers: hierarchy.dispatchers,
            tools: hierarchy.tools,
            meta: self.meta.clone(),
            available: self.available.clone(),
            search: self.search,
            digest: digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first)),
            listed: self.listed.clone(),
            tokens: OnceLock::new(),
            hierarchical: OnceLock::new(),
        }
    }
}
