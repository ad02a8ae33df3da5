//! Which Secrets were written, since they may not be read.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mcphub_plan::plan::Child;
use tokio::time::Instant;

/// One that was written so long ago is written again: somebody may have edited or deleted it unseen.
const TRUSTED: Duration = Duration::from_mins(1);

/// Secrets that this process wrote, by namespace and name.
#[derive(Debug, Default)]
pub struct SecretsWritten(Mutex<HashMap<(String, String), Written>>);

#[derive(Debug)]
struct Written {
    content: u64,
    at: Instant,
}

impl SecretsWritten {
    /// It was written just like this, and not long ago.
    pub(super) fn is_current(&self, namespace: &str, secret: &Child) -> bool {
        let written = self.lock();
        let written = written.get(&(namespace.to_owned(), secret.name().to_owned()));
        written.is_some_and(|written| written.content == content(secret) && written.at.elapsed() < TRUSTED)
    }

    pub(super) fn wrote(&self, namespace: &str, secret: &Child) {
        let written = Written { content: content(secret), at: Instant::now() };
        self.lock().insert((namespace.to_owned(), secret.name().to_owned()), written);
    }

    /// Forgets all of a namespace: cheap, and the next reconciles write them again.
    pub fn forget(&self, namespace: &str) {
        self.lock().retain(|(of, _), _| of != namespace);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), Written>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fingerprint, so that no second copy of the secret lies in memory.
fn content(secret: &Child) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(secret.to_value().to_string().as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use k8s_openapi::api::core::v1::Secret;
    use kube::api::ObjectMeta;

    use super::*;

    fn secret(value: &str) -> Child {
        Child::Secret(Secret {
            metadata: ObjectMeta { name: Some("team-keys".into()), ..ObjectMeta::default() },
            data: Some([("keys.json".to_owned(), ByteString(value.into()))].into()),
            ..Secret::default()
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_secret_is_written_again_when_it_changed_or_a_minute_has_passed() {
        let written = SecretsWritten::default();
        assert!(!written.is_current("ai", &secret("a")));
        written.wrote("ai", &secret("a"));
        assert!(written.is_current("ai", &secret("a")));
        assert!(!written.is_current("ai", &secret("b")));
        assert!(!written.is_current("other", &secret("a")));
        tokio::time::advance(TRUSTED).await;
        assert!(!written.is_current("ai", &secret("a")));
    }
}
