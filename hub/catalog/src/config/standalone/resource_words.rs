//! Reads the words of the McpHub resource in a file. The compiled config spells some of them
//! otherwise.

use std::time::Duration;

use serde_json::{Map, Value};

/// Durations of the resource. Here they are also numbers of milliseconds, with `Ms` in the name.
const DURATIONS: [&str; 8] = [
    "drainTimeout",
    "initialDelay",
    "keepAlive",
    "maxDelay",
    "resetTimeout",
    "startupTimeout",
    "timeout",
    "ttl",
];

/// Rewrites `filtering` of the resource to that of the compiled config.
pub(super) fn filtering(value: &mut Value) {
    let Value::Object(members) = value else { return };
    unwrap(members, "static", "tools", "staticTools");
    unwrap(members, "hybrid", "match", "hybrid");
    unwrap(members, "selector", "backend", "selector");
    if let Some(score) = members.get_mut("promptBased").and_then(|it| it.get_mut("minScore"))
        && let Some(number) = score.as_str().and_then(|text| text.parse::<f64>().ok())
    {
        *score = Value::from(number);
    }
    durations(value);
}

/// Rewrites durations such as `timeout: 5s` to milliseconds, at every depth.
pub(super) fn durations(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for key in DURATIONS {
                if let Some(duration) = members.get(key).and_then(Value::as_str).and_then(parse) {
                    members.remove(key);
                    members.insert(format!("{key}Ms"), millis(duration).into());
                }
            }
            members.values_mut().for_each(durations);
        }
        Value::Array(items) => items.iter_mut().for_each(durations),
        _ => {}
    }
}

/// A duration such as `30s` or `1h30m`.
pub(super) fn parse(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok()
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Moves `outer.inner` to `flat`, if `outer` has nothing else.
fn unwrap(members: &mut Map<String, Value>, outer: &str, inner: &str, flat: &str) {
    let only = |value: &Value| {
        let object = value.as_object().filter(|object| object.len() == 1)?;
        object.get(inner).cloned()
    };
    if let Some(value) = members.get(outer).and_then(only) {
        members.remove(outer);
        members.insert(flat.to_owned(), value);
    }
}
