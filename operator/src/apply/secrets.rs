//! Remembers which Secrets were written, because the operator may not read them.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mcphub_operator_plan::api::Object;
use tokio::time::Instant;

/// After this time the next reconcile writes the Secret again, because somebody may have edited or
/// deleted it. The time is not shorter, because a rollout reconciles several times per second.
const TRUSTED: Duration = Duration::from_secs(5);

/// Secrets that this process wrote, by namespace and name.
#[derive(Debug, Default)]
pub(crate) struct SecretsWritten(Mutex<HashMap<(String, String), Written>>);

#[derive(Debug)]
struct Written {
    content: u64,
    at: Instant,
}

impl SecretsWritten {
    /// How long the Secret needs no write; `None` if it must be written now.
    pub(super) fn trusted_for(&self, namespace: &str, secret: &Object) -> Option<Duration> {
        let written = self.lock();
        let written = written.get(&(namespace.to_owned(), secret.name().to_owned()))?;
        let left = TRUSTED.saturating_sub(written.at.elapsed());
        (written.content == content(secret) && !left.is_zero()).then_some(left)
    }

    pub(super) fn wrote(&self, namespace: &str, secret: &Object) {
        let written = Written { content: content(secret), at: Instant::now() };
        self.lock().insert((namespace.to_owned(), secret.name().to_owned()), written);
    }

    /// Forgets all Secrets of a namespace. The next reconciles write them again, which is cheap.
    pub(crate) fn forget(&self, namespace: &str) {
        self.lock().retain(|(owner, _), _| owner != namespace);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), Written>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A hash, so that there is no second copy of the secret in memory.
fn content(secret: &Object) -> u64 {
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

    fn secret(value: &str) -> Object {
        Object::Secret(Secret {
            metadata: ObjectMeta { name: Some("team-keys".into()), ..ObjectMeta::default() },
            data: Some([("keys.json".to_owned(), ByteString(value.into()))].into()),
            ..Secret::default()
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_secret_is_written_again_when_it_changed_or_five_seconds_have_passed() {
        let written = SecretsWritten::default();
        assert_eq!(written.trusted_for("ai", &secret("a")), None);
        written.wrote("ai", &secret("a"));
        assert_eq!(written.trusted_for("ai", &secret("a")), Some(TRUSTED));
        assert_eq!(written.trusted_for("ai", &secret("b")), None);
        assert_eq!(written.trusted_for("other", &secret("a")), None);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(written.trusted_for("ai", &secret("a")), Some(Duration::from_secs(3)));
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(written.trusted_for("ai", &secret("a")), None);
    }
}
