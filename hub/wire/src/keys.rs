//! The keys of a hub. The operator derives them from its master key, the McpHub's uid and a serial
//! (RFC 5869), so they need no storage. The hub reads them from its key Secret.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hkdf::Hkdf;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop};

pub const KEY_BYTES: usize = 32;

/// The operator's only random secret. It is never printed and never sent.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct MasterKey([u8; KEY_BYTES]);

#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct HubKey {
    serial: u32,
    bytes: [u8; KEY_BYTES],
}

/// The valid keys, the current one first; never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Entry>", into = "Vec<Entry>")]
pub struct KeyRing(Vec<HubKey>);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Not 32 bytes, or not base64.
    #[error("key material must be {KEY_BYTES} bytes of standard base64")]
    Malformed,
    #[error("a key ring needs at least one key")]
    Empty,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    serial: u32,
    key: String,
}

impl MasterKey {
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// The key of the hub with this uid and serial.
    pub fn hub_key(&self, uid: &str, serial: u32) -> HubKey {
        let mut bytes = [0; KEY_BYTES];
        derive(&self.0, &format!("mcphub.dev/hub/{uid}/{serial}"), &mut bytes);
        HubKey { serial, bytes }
    }

    /// Signs what the operator stores where others may write, so that it notices their edits.
    /// `purpose` names the place. The signature reveals nothing about the key.
    pub fn signature(&self, purpose: &str, content: &str) -> String {
        let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(content));
        let mut signature = [0; KEY_BYTES];
        derive(&self.0, &format!("mcphub.dev/signature/{purpose}/{digest}"), &mut signature);
        URL_SAFE_NO_PAD.encode(signature)
    }

    /// The ring of a hub: the key with this serial, and the one before it if there is one.
    pub fn ring(&self, uid: &str, serial: u32) -> KeyRing {
        let mut keys = vec![self.hub_key(uid, serial)];
        if serial > 1 {
            keys.push(self.hub_key(uid, serial - 1));
        }
        KeyRing(keys)
    }
}

impl HubKey {
    pub fn new(serial: u32, bytes: [u8; KEY_BYTES]) -> Self {
        Self { serial, bytes }
    }

    /// The number of the key. Everything that it seals carries the number in plain text.
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// The key that seals for one purpose. One purpose's key does not reveal another's.
    pub fn sealing_key(&self, purpose: &str) -> [u8; KEY_BYTES] {
        let mut key = [0; KEY_BYTES];
        derive(&self.bytes, &format!("seal/{purpose}"), &mut key);
        key
    }

    /// The bearer token for the self-check and generation endpoints.
    pub fn admin_token(&self) -> String {
        let mut token = [0; KEY_BYTES];
        derive(&self.bytes, "admin-token", &mut token);
        URL_SAFE_NO_PAD.encode(token)
    }
}

impl KeyRing {
    /// A ring of one key.
    pub fn new(key: HubKey) -> Self {
        Self(vec![key])
    }

    /// The key that seals new session ids.
    #[allow(clippy::missing_panics_doc, clippy::indexing_slicing)]
    pub fn current(&self) -> &HubKey {
        &self.0[0] // never empty: every constructor ensures it
    }

    /// The key with this serial, if it is valid.
    pub fn with_serial(&self, serial: u32) -> Option<&HubKey> {
        self.0.iter().find(|key| key.serial == serial)
    }

    /// All valid keys, the current one first.
    pub fn iter(&self) -> impl Iterator<Item = &HubKey> {
        self.0.iter()
    }
}

fn derive(secret: &[u8; KEY_BYTES], info: &str, out: &mut [u8; KEY_BYTES]) {
    // Fails only for outputs over 255 hash lengths (RFC 5869, 2.3).
    let expanded = Hkdf::<Sha256>::new(None, secret).expand(info.as_bytes(), out);
    debug_assert!(expanded.is_ok());
}

impl TryFrom<Vec<Entry>> for KeyRing {
    type Error = Error;
    fn try_from(entries: Vec<Entry>) -> Result<Self, Error> {
        let keys = entries
            .into_iter()
            .map(|mut entry| {
                let decoded = STANDARD.decode(&entry.key).map_err(|_| Error::Malformed);
                entry.key.zeroize();
                let bytes = decoded?.try_into().map_err(|_| Error::Malformed)?;
                Ok(HubKey { serial: entry.serial, bytes })
            })
            .collect::<Result<Vec<_>, Error>>()?;
        if keys.is_empty() { Err(Error::Empty) } else { Ok(Self(keys)) }
    }
}

impl From<KeyRing> for Vec<Entry> {
    fn from(ring: KeyRing) -> Self {
        ring.0
            .iter()
            .map(|key| Entry { serial: key.serial, key: STANDARD.encode(key.bytes) })
            .collect()
    }
}

// A struct with keys may be logged with `{:?}`, so keys print nothing.
impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

impl fmt::Debug for HubKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HubKey(serial {})", self.serial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A changed derivation ends every open session of every hub at the next upgrade of the
    // operator.
    #[test]
    fn derivations_are_pinned() {
        let key = MasterKey::new([7; KEY_BYTES]).hub_key("0d9f6a52-0000-0000-0000-000000000000", 1);
        assert_eq!(key.admin_token(), "Yp89jpsfQFZmTvcHFHTVVSRJQVAd5K9vrOffdPWZAo8");
        assert_eq!(
            STANDARD.encode(key.sealing_key("session")),
            "dF7RQ9KKmbpe6ftdkfY9wjTSjofIR7M6kARhBYhXtOw="
        );
    }

    #[test]
    fn a_signature_depends_on_the_key_the_purpose_and_the_content() {
        let signature =
            |key, purpose, content| MasterKey::new([key; KEY_BYTES]).signature(purpose, content);
        let one = signature(7, "ai/team", "{}");
        assert_eq!(signature(7, "ai/team", "{}"), one);
        assert_ne!(signature(8, "ai/team", "{}"), one);
        assert_ne!(signature(7, "ai/other", "{}"), one);
        assert_ne!(signature(7, "ai/team", "{ }"), one);
    }

    #[test]
    fn each_hub_and_serial_has_its_own_key() {
        let master = MasterKey::new([7; KEY_BYTES]);
        assert_ne!(master.hub_key("a", 1), master.hub_key("b", 1));
        assert_ne!(master.hub_key("a", 1).admin_token(), master.hub_key("a", 2).admin_token());
    }

    #[test]
    fn a_ring_is_the_same_after_its_secret_is_read_and_has_the_previous_serial() {
        let ring = MasterKey::new([7; KEY_BYTES]).ring("a", 3);
        let read: KeyRing = serde_json::from_str(&serde_json::to_string(&ring).unwrap()).unwrap();
        assert_eq!(read, ring);
        assert_eq!(read.current().serial(), 3);
        assert!(read.with_serial(2).is_some());
        assert!(read.with_serial(1).is_none());
    }

    #[test]
    fn debug_output_contains_no_key() {
        let master = MasterKey::new([7; KEY_BYTES]);
        assert_eq!(
            format!("{master:?} {:?}", master.ring("a", 1)),
            "MasterKey(…) KeyRing([HubKey(serial 1)])"
        );
    }
}
