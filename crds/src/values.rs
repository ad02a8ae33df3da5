//! Durations, decimals and sizes, which are strings in the resource.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

pub use crate::shaped::{PodShaped, Shape, WrongShape};

/// A string that does not have the expected format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not {expected}")]
pub struct Malformed {
    text: String,
    expected: &'static str,
}

/// Implements what the types have in common: they keep the string as the user wrote it, and reject
/// one that cannot be parsed.
macro_rules! string_value {
    ($name:ident, $parse:path, $expected:literal, at most $max_length:literal) => {
        impl FromStr for $name {
            type Err = Malformed;
            fn from_str(text: &str) -> Result<Self, Malformed> {
                Self::try_from(text.to_owned())
            }
        }

        impl TryFrom<String> for $name {
            type Error = Malformed;
            fn try_from(text: String) -> Result<Self, Malformed> {
                match $parse(&text) {
                    Some(_) => Ok(Self(text)),
                    None => Err(Malformed { text, expected: $expected }),
                }
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn schema_id() -> Cow<'static, str> {
                concat!(module_path!(), "::", stringify!($name)).into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "pattern": Self::PATTERN, "maxLength": $max_length})
            }
        }
    };
}

string_value!(Duration, milliseconds, "a duration such as 30s, 5m or 1h30m", at most 16);
string_value!(Decimal, decimal, "a decimal number such as 0.95", at most 16);
string_value!(ByteSize, bytes, "a size in bytes such as 512Ki or 1Mi", at most 12);

/// A duration as the user wrote it, for example `90s`, `1h30m` or `250ms`. Its precision is a
/// millisecond.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Duration(String);

impl Duration {
    /// Pattern in the schema. Every string that matches can be parsed, here and by CEL, which
    /// overflows at 292 years.
    pub const PATTERN: &str = "^([0-9]{1,6}(ms|s|m|h))+$";

    pub fn get(&self) -> std::time::Duration {
        std::time::Duration::from_millis(milliseconds(&self.0).unwrap_or_default())
    }
}

fn milliseconds(text: &str) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    let mut rest = text;
    let mut total = 0_u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        if number.is_empty() {
            return None;
        }
        let (unit, tail) = if let Some(tail) = tail.strip_prefix("ms") {
            (1, tail)
        } else {
            let unit = match tail.as_bytes().first()? {
                b's' => 1_000,
                b'm' => 60_000,
                b'h' => 3_600_000,
                _ => return None,
            };
            (unit, tail.get(1..)?)
        };
        total = total.saturating_add(number.parse().unwrap_or(u64::MAX).saturating_mul(unit));
        rest = tail;
    }
    Some(total)
}

/// Uses the largest units that are exact, for example `1h30m`, `2s` or `0s`.
impl From<std::time::Duration> for Duration {
    fn from(length: std::time::Duration) -> Self {
        let mut rest = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        let mut text = String::new();
        for (unit, name) in [(3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")] {
            if rest / unit > 0 {
                text.extend([(rest / unit).to_string().as_str(), name]);
                rest %= unit;
            }
        }
        if text.is_empty() {
            text.push_str("0s");
        }
        Self(text)
    }
}

/// A decimal number as the user wrote it, for example `"0.95"`. It is a string, because YAML and
/// JSON tools round numbers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Decimal(String);

impl Decimal {
    /// Pattern in the schema. Every string that matches can be parsed.
    pub const PATTERN: &str = "^[0-9]+(\\.[0-9]+)?$";

    /// The value, which is finite and not negative.
    pub fn get(&self) -> f64 {
        decimal(&self.0).unwrap_or_default()
    }
}

fn decimal(text: &str) -> Option<f64> {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit());
    let is_valid = match text.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(text),
    };
    if is_valid { text.parse().ok() } else { None }
}

/// A number of bytes as the user wrote it, for example `512Ki` or `1Mi`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(String);

impl ByteSize {
    /// Pattern in the schema. Every string that matches can be parsed.
    pub const PATTERN: &str = "^[1-9][0-9]*(Ki|Mi)?$";

    pub fn get(&self) -> u64 {
        bytes(&self.0).unwrap_or(u64::MAX)
    }
}

fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = match (text.strip_suffix("Ki"), text.strip_suffix("Mi")) {
        (Some(number), _) => (number, 1 << 10),
        (_, Some(number)) => (number, 1 << 20),
        _ => (text, 1),
    };
    let is_valid = !number.is_empty()
        && !number.starts_with('0')
        && number.bytes().all(|c| c.is_ascii_digit());
    is_valid.then(|| number.parse().unwrap_or(u64::MAX).saturating_mul(unit))
}

#[cfg(test)]
mod tests {
    use std::time::Duration as Length;

    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Length, Malformed> {
        text.parse::<Duration>().map(|duration| duration.get())
    }

    #[test]
    fn durations_are_parsed_as_go_parses_them() {
        assert_eq!(parse("1h30m"), Ok(Length::from_mins(90)));
        assert_eq!(parse("250ms"), Ok(Length::from_millis(250)));
        assert_eq!(parse("1m250ms"), Ok(Length::from_millis(60_250)));
        assert_eq!(parse("0s"), Ok(Length::ZERO));
        for text in ["", "5", "s", "1.5s", "-1s", "1d", "1 s", "5m3"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_duration_stays_as_it_was_written_and_a_length_gets_the_largest_units() {
        let duration: Duration = serde_json::from_str("\"90m\"").unwrap();
        assert_eq!(serde_json::to_string(&duration).unwrap(), "\"90m\"");
        assert_eq!(Duration::from(Length::from_millis(5_400_250)).to_string(), "1h30m250ms");
        assert_eq!(Duration::from(Length::ZERO).to_string(), "0s");
    }

    proptest! {
        // The operator ignores a hub that the API server accepted but that it cannot parse itself.
        #[test]
        fn a_string_that_the_schema_accepts_can_be_parsed(
            duration in "([0-9]{1,6}(ms|s|m|h)){1,2}",
            decimal in "[0-9]{1,8}(\\.[0-9]{1,7})?",
            size in "[1-9][0-9]{0,9}(Ki|Mi)?",
        ) {
            prop_assert!(duration.parse::<Duration>().is_ok());
            prop_assert!(decimal.parse::<Decimal>().is_ok_and(|decimal| decimal.get().is_finite()));
            prop_assert!(ByteSize::try_from(size).is_ok());
        }

        #[test]
        fn a_length_survives_its_string(milliseconds in 0_u64..1_000_000_000_000) {
            let length = Length::from_millis(milliseconds);
            prop_assert_eq!(Duration::from(length).get(), length);
        }
    }

    #[test]
    fn a_size_is_parsed_as_bytes() {
        assert_eq!(ByteSize::try_from("1Mi".to_owned()).unwrap().get(), 1 << 20);
        assert_eq!(ByteSize::try_from("500".to_owned()).unwrap().get(), 500);
        assert!(ByteSize::try_from("1Gi".to_owned()).is_err());
    }
}
