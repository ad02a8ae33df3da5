//! One text for one value, independent of the order of its keys. `serde_json` keeps or sorts keys
//! depending on the features that other crates ask for, and a hash must not depend on that.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Returns JSON with sorted keys and without white space.
pub fn text(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

/// First eight hex digits of the SHA-256 of [`text`].
pub fn hash8(value: &Value) -> String {
    let digest = Sha256::digest(text(value).as_bytes());
    let [a, b, c, d, ..] = <[u8; 32]>::from(digest);
    format!("{:08x}", u32::from_be_bytes([a, b, c, d]))
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by(|a, b| a.0.cmp(b.0));
            out.push('{');
            for (at, (key, value)) in entries.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                out.push_str(&Value::String(key.clone()).to_string());
                out.push(':');
                write(value, out);
            }
            out.push('}');
        }
        Value::Array(list) => {
            out.push('[');
            for (at, value) in list.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(value, out);
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_sorted_at_every_depth() {
        let value = json!({"b": [{"z": 1, "a": null}], "a": "x\"y"});
        assert_eq!(text(&value), r#"{"a":"x\"y","b":[{"a":null,"z":1}]}"#);
    }

    // The revision hashes of all clusters depend on this one.
    #[test]
    fn the_hash_is_pinned() {
        assert_eq!(hash8(&json!({"a": 1})), "015abd7f");
    }
}
