//! The session id of the stateful protocol. It has all that is needed to route a session and to
//! resume it on another pod. It is sealed with the hub's key: every router of the hub can read it,
//! and nobody else can read or forge one.
//!
//! Layout, base64url without padding (visible ASCII, as the protocol requires):
//!
//! | bytes | what |
//! |---|---|
//! | 1 | [`VERSION`] |
//! | 4 | serial of the key, big endian |
//! | 24 | nonce |
//! | rest | claims as JSON with one-letter keys, sealed with XChaCha20-Poly1305 |
//!
//! The first 5 bytes are the associated data of the seal.
//!
//! Claims are only ever added, and unknown keys are ignored: a router may be older than the pod
//! that made the id.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use mcphub_hub_wire::dataplane::Revision;
use mcphub_hub_wire::keys::{HubKey, KeyRing};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The first byte of an id.
pub const VERSION: u8 = 1;
/// Random bytes that [`seal`] needs. With 24 of them a nonce never repeats, without a counter.
pub const NONCE_BYTES: usize = 24;
/// Longest id that [`open`] reads. The ids of [`seal`] are less than half as long.
pub const MAX_ID_BYTES: usize = 8 << 10;
/// Longest `clientInfo` that is stored whole. Of a longer one only name and version are stored.
pub const MAX_CLIENT_INFO_BYTES: usize = 512;
/// Longest `capabilities` that is stored. A longer one is left out, as if the client had none.
pub const MAX_CAPABILITIES_BYTES: usize = 1 << 10;

const CLEAR_BYTES: usize = 5;
const PURPOSE: &str = "session";

/// What a session id says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionClaims {
    /// Unique among all sessions: 16 random bytes of the pod that made it.
    #[serde(rename = "n", with = "base64_bytes")]
    pub unique: [u8; 16],
    /// Revision that made it; `None` in a standalone hub.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// Pod that holds it.
    #[serde(rename = "p")]
    pub pod: String,
    /// Negotiated at `initialize`.
    #[serde(rename = "v")]
    pub protocol_version: String,
    /// `clientInfo` of `initialize`, bounded by [`MAX_CLIENT_INFO_BYTES`].
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    pub client_info: Option<RawJson>,
    /// `capabilities` of `initialize`, bounded by [`MAX_CAPABILITIES_BYTES`].
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<RawJson>,
    /// Hash of who made it; another principal's request with this id is refused.
    #[serde(rename = "h", with = "base64_bytes")]
    pub principal: [u8; 32],
    /// View that it is bound to.
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    pub view: Option<String>,
}

/// A JSON value, byte for byte.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RawJson(Box<RawValue>);

/// Why a text is not a session id of this hub. For a client, each of these is an unknown session
/// (404).
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Not base64url, too short, or too long.
    #[error("not a session id")]
    Malformed,
    /// Made by a pod with a layout that this one does not support.
    #[error("session id has layout version {0}, but {VERSION} is supported")]
    UnknownVersion(u8),
    /// Its key is not, or no longer, in the ring.
    #[error("session id is sealed with key {0}, which is not in the key ring")]
    UnknownKey(u32),
    /// Modified, or sealed with another key.
    #[error("session id was not sealed with this hub's key")]
    Forged,
    /// Sealed by this hub, but without a required claim.
    #[error("session id lacks a required claim")]
    Claims,
}

impl Error {
    /// A bounded word for metric labels.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownVersion(_) => "unknown_version",
            Self::UnknownKey(_) => "unknown_key",
            Self::Forged => "forged",
            Self::Claims => "claims",
        }
    }
}

/// Seals claims with the ring's current key. `nonce` must be random.
pub fn seal(keys: &KeyRing, claims: &SessionClaims, nonce: [u8; NONCE_BYTES]) -> String {
    let key = keys.current();
    let plain = encode(claims);
    let mut id = Vec::with_capacity(CLEAR_BYTES + NONCE_BYTES + plain.len() + 16);
    id.push(VERSION);
    id.extend(key.serial().to_be_bytes());
    let aad: [u8; CLEAR_BYTES] = clear_part(key.serial());
    id.extend(nonce);
    // Encryption fails only for texts of 256 GiB. `open` would then reject the empty rest.
    let sealed =
        cipher(key).encrypt(XNonce::from_slice(&nonce), Payload { msg: &plain, aad: &aad });
    debug_assert!(sealed.is_ok());
    id.extend(sealed.unwrap_or_default());
    URL_SAFE_NO_PAD.encode(id)
}

/// The claims of an id, if a key of this ring sealed it.
pub fn open(keys: &KeyRing, id: &str) -> Result<SessionClaims, Error> {
    if id.len() > MAX_ID_BYTES {
        return Err(Error::Malformed);
    }
    let bytes = URL_SAFE_NO_PAD.decode(id).map_err(|_| Error::Malformed)?;
    let (&[version, s0, s1, s2, s3], rest) = bytes.split_first_chunk().ok_or(Error::Malformed)?;
    if version != VERSION {
        return Err(Error::UnknownVersion(version));
    }
    let serial = u32::from_be_bytes([s0, s1, s2, s3]);
    let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(Error::Malformed)?;
    let key = keys.with_serial(serial).ok_or(Error::UnknownKey(serial))?;
    let payload = Payload { msg: sealed, aad: &clear_part(serial) };
    let plain =
        cipher(key).decrypt(XNonce::from_slice(nonce), payload).map_err(|_| Error::Forged)?;
    serde_json::from_slice(&plain).map_err(|_| Error::Claims)
}

fn clear_part(serial: u32) -> [u8; CLEAR_BYTES] {
    let [s0, s1, s2, s3] = serial.to_be_bytes();
    [VERSION, s0, s1, s2, s3]
}

fn cipher(key: &HubKey) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&key.sealing_key(PURPOSE).into())
}

fn encode(claims: &SessionClaims) -> Vec<u8> {
    let bounded = SessionClaims {
        client_info: claims.client_info.as_ref().map(bounded_client_info),
        capabilities: claims
            .capabilities
            .clone()
            .filter(|json| json.get().len() <= MAX_CAPABILITIES_BYTES),
        ..claims.clone()
    };
    // Cannot fail: strings, bytes and JSON that was JSON before.
    let json = serde_json::to_vec(&bounded);
    debug_assert!(json.is_ok());
    json.unwrap_or_default()
}

/// A client must not be able to make its id longer than the header limits of proxies.
fn bounded_client_info(info: &RawJson) -> RawJson {
    #[derive(Default, Serialize, Deserialize)]
    #[serde(default)]
    struct Known {
        name: String,
        version: String,
    }
    if info.get().len() <= MAX_CLIENT_INFO_BYTES {
        return info.clone();
    }
    let known: Known = serde_json::from_str(info.get()).unwrap_or_default();
    let cut =
        |text: &str| text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(64).collect();
    serde_json::to_string(&Known { name: cut(&known.name), version: cut(&known.version) })
        .ok()
        .and_then(|text| RawJson::parse(text).ok())
        .unwrap_or_else(|| info.clone())
}

impl RawJson {
    pub fn parse(text: String) -> Result<Self, serde_json::Error> {
        RawValue::from_string(text).map(Self)
    }

    pub fn get(&self) -> &str {
        self.0.get()
    }
}

impl From<Box<RawValue>> for RawJson {
    fn from(raw: Box<RawValue>) -> Self {
        Self(raw)
    }
}

impl PartialEq for RawJson {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for RawJson {}

impl fmt::Debug for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get())
    }
}

mod base64_bytes {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer, const N: usize>(
        bytes: &[u8; N],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(&URL_SAFE_NO_PAD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        from: D,
    ) -> Result<[u8; N], D::Error> {
        let text = String::deserialize(from)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(D::Error::custom)?;
        bytes.try_into().map_err(|_| D::Error::custom("wrong number of bytes"))
    }
}

#[cfg(test)]
mod tests {
    use mcphub_hub_wire::keys::{KEY_BYTES, MasterKey};
    use proptest::prelude::*;

    use super::*;

    fn ring(serial: u32) -> KeyRing {
        MasterKey::new([7; KEY_BYTES]).ring("0d9f6a52-0000-0000-0000-000000000000", serial)
    }

    fn json(text: &str) -> RawJson {
        RawJson::parse(text.into()).unwrap()
    }

    fn claims() -> SessionClaims {
        SessionClaims {
            unique: [1; 16],
            revision: Some("0a1b2c3d".parse().unwrap()),
            pod: "demo-r-0a1b2c3d-x7k2p".into(),
            protocol_version: "2025-11-25".into(),
            client_info: Some(json(r#"{"name":"c","version":"1"}"#)),
            capabilities: Some(json(r#"{"roots":{"listChanged":true}}"#)),
            principal: [2; 32],
            view: None,
        }
    }

    // A changed layout ends every open session of every hub during the upgrade.
    #[test]
    fn layout_is_pinned() {
        let id = seal(&ring(3), &claims(), [9; NONCE_BYTES]);
        assert_eq!(id, GOLDEN);
        assert_eq!(open(&ring(3), GOLDEN), Ok(claims()));
        assert_eq!(
            String::from_utf8(encode(&claims())).unwrap(),
            concat!(
                r#"{"n":"AQEBAQEBAQEBAQEBAQEBAQ","r":"0a1b2c3d","p":"demo-r-0a1b2c3d-x7k2p","v":"2025-11-25","#,
                r#""i":{"name":"c","version":"1"},"c":{"roots":{"listChanged":true}},"#,
                r#""h":"AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI"}"#
            )
        );
    }

    const GOLDEN: &str = concat!(
        "AQAAAAMJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQlzpv0WwcUBnpmhJcwwqgKadVNJ_3TZZ-",
        "obQv8_uoE7wFJOs3CF39ZJAoOvVC6cHmR39U2I6IGABPu5c2PMCTgd0RSpsMY_6ZV1JX4R56GflTmQgReHS-",
        "vMh7_DimDHscBDoFyqqBy2RDIC1PUotJsi6llzC0i-fNpREZWvW7Uma3sDRDEdpmjPVL5bf0d-ntMxLLV8XQ--",
        "wN3St-9ZzEQge774iFXx_rWEH7FBa_ElfmUVf2fo1NBBheEwrvD9N6OiLk5QJEuTreord8fanDeY5Ja2",
        "ytN4ExVbVdL19j4",
    );

    #[test]
    fn an_id_of_the_previous_key_opens_and_one_of_the_key_before_does_not() {
        let id = seal(&ring(3), &claims(), [9; NONCE_BYTES]);
        assert_eq!(open(&ring(4), &id), Ok(claims()));
        assert_eq!(open(&ring(5), &id), Err(Error::UnknownKey(3)));
    }

    #[test]
    fn an_id_of_another_hub_is_rejected() {
        let other = MasterKey::new([7; KEY_BYTES]).ring("another-uid", 3);
        assert_eq!(open(&ring(3), &seal(&other, &claims(), [9; NONCE_BYTES])), Err(Error::Forged));
    }

    // Routers may be older than the pods of the newest revision.
    #[test]
    fn unknown_claims_of_a_newer_pod_are_ignored() {
        let newer = r#"{"n":"AQEBAQEBAQEBAQEBAQEBAQ","p":"pod","v":"2025-11-25","z":[1],
            "h":"AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI"}"#;
        let read: SessionClaims = serde_json::from_str(newer).unwrap();
        assert_eq!(read.pod, "pod");
        assert_eq!(read.revision, None);
    }

    #[test]
    fn a_newer_layout_and_garbage_are_different_errors() {
        assert_eq!(open(&ring(1), &URL_SAFE_NO_PAD.encode([2; 60])), Err(Error::UnknownVersion(2)));
        assert_eq!(
            open(&ring(1), "6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
            Err(Error::UnknownVersion(0xe9))
        );
        assert_eq!(open(&ring(1), "not base64!"), Err(Error::Malformed));
        assert_eq!(open(&ring(1), ""), Err(Error::Malformed));
        assert_eq!(open(&ring(1), &"A".repeat(MAX_ID_BYTES + 4)), Err(Error::Malformed));
    }

    // Common proxies reject headers over 8 KiB, so the client could not use its session.
    #[test]
    fn a_huge_client_info_is_cut_to_name_and_version_and_the_id_stays_short() {
        let claims = SessionClaims {
            client_info: Some(json(&format!(
                r#"{{"name":"big {}","version":"1.2","icons":"{}"}}"#,
                "n".repeat(100),
                "x".repeat(90_000)
            ))),
            capabilities: Some(json(&format!(
                r#"{{"experimental":{{"{}":{{}}}}}}"#,
                "x".repeat(90_000)
            ))),
            pod: "p".repeat(253),
            view: Some("v".repeat(63)),
            ..claims()
        };
        let id = seal(&ring(1), &claims, [9; NONCE_BYTES]);
        assert!(id.len() < MAX_ID_BYTES / 2, "{}", id.len());
        let opened = open(&ring(1), &id).unwrap();
        let name = format!("big {}", "n".repeat(60));
        assert_eq!(
            opened.client_info,
            Some(json(&format!(r#"{{"name":"{name}","version":"1.2"}}"#)))
        );
        assert_eq!(opened.capabilities, None);
    }

    proptest! {
        #[test]
        fn opening_a_sealed_id_returns_the_claims(
            unique: [u8; 16], principal: [u8; 32], nonce: [u8; NONCE_BYTES],
            pod in "[a-z0-9-]{1,63}",
            view in proptest::option::of("[a-z]{1,20}"),
            revision in proptest::option::of("[0-9a-f]{8}"),
            name in "\\PC{0,100}",
        ) {
            let claims = SessionClaims {
                unique, principal, pod, view,
                revision: revision.map(|r| r.parse().unwrap()),
                client_info: Some(json(&serde_json::json!({ "name": name }).to_string())),
                ..claims()
            };
            let id = seal(&ring(2), &claims, nonce);
            prop_assert!(id.bytes().all(|c| c.is_ascii_graphic()));
            prop_assert_eq!(open(&ring(2), &id), Ok(claims));
        }

        #[test]
        fn an_id_with_a_flipped_bit_is_rejected(nonce: [u8; NONCE_BYTES], at: prop::sample::Index,
            bit in 0..8u8) {
            let mut bytes = URL_SAFE_NO_PAD.decode(seal(&ring(2), &claims(), nonce)).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(open(&ring(2), &URL_SAFE_NO_PAD.encode(bytes)).is_err());
        }

        #[test]
        fn a_truncated_id_is_rejected(length: prop::sample::Index) {
            let id = seal(&ring(2), &claims(), [9; NONCE_BYTES]);
            prop_assert!(open(&ring(2), &id[..length.index(id.len())]).is_err());
        }
    }
}
