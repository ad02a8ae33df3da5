//! A bounded cache of compiled schemas, by the digest of their text.

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::schema::{Schema, SchemaError};

/// A compiled schema, or why it cannot be used.
pub type CompiledSchema = Arc<Result<Schema, SchemaError>>;

/// When the cache is full, the entries that were not used since it was last half full are dropped.
#[derive(Debug)]
pub struct SchemaCache {
    capacity: usize,
    recent: HashMap<[u8; 32], CompiledSchema>,
    older: HashMap<[u8; 32], CompiledSchema>,
}

/// The key of a schema in the cache.
pub fn digest(schema: &str) -> [u8; 32] {
    Sha256::digest(schema).into()
}

impl SchemaCache {
    pub fn new(capacity: usize) -> Self {
        Self { capacity, recent: HashMap::new(), older: HashMap::new() }
    }

    /// The schema with this digest.
    pub fn get(&mut self, digest: &[u8; 32]) -> Option<CompiledSchema> {
        if let Some(found) = self.recent.get(digest) {
            return Some(Arc::clone(found));
        }
        let found = self.older.remove(digest)?;
        self.insert(*digest, Arc::clone(&found));
        Some(found)
    }

    pub fn insert(&mut self, digest: [u8; 32], compiled: CompiledSchema) {
        if self.recent.len() >= self.capacity.div_ceil(2) {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(digest, compiled);
    }

    pub fn len(&self) -> usize {
        self.recent.len() + self.older.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
