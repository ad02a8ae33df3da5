//! Compiled schemas by their text, bounded.

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::schema::{Schema, Unusable};

/// A schema, or why it is not used.
pub type Compiled = Arc<Result<Schema, Unusable>>;

/// Compiled schemas. When it is full, those not asked for since it was last half full go.
#[derive(Debug)]
pub struct Schemas {
    most: usize,
    recent: HashMap<[u8; 32], Compiled>,
    older: HashMap<[u8; 32], Compiled>,
}

/// Names a schema's text.
pub fn digest(schema: &str) -> [u8; 32] {
    Sha256::digest(schema).into()
}

impl Schemas {
    /// Holds at most so many.
    pub fn of(most: usize) -> Self {
        Self { most, recent: HashMap::new(), older: HashMap::new() }
    }

    /// The schema of this digest.
    pub fn get(&mut self, digest: &[u8; 32]) -> Option<Compiled> {
        if let Some(found) = self.recent.get(digest) {
            return Some(Arc::clone(found));
        }
        let found = self.older.remove(digest)?;
        self.put(*digest, Arc::clone(&found));
        Some(found)
    }

    /// Keeps one.
    pub fn put(&mut self, digest: [u8; 32], compiled: Compiled) {
        if self.recent.len() >= self.most.div_ceil(2) {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(digest, compiled);
    }

    /// How many it holds.
    pub fn len(&self) -> usize {
        self.recent.len() + self.older.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
