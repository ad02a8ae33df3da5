//! Rules about the format of names, durations and whole numbers. The messages of the API server
//! about patterns and types do not say what to write.

use super::ValidationRule;
use crate::values::Duration;

/// Path, field, minimum and maximum.
pub(crate) const DURATION_RANGES: &[(&str, &str, &str, &str)] = &[
    ("spec", "startupTimeout", "0s", "10m"),
    ("spec.servers[]", "timeout", "100ms", "1h"),
    ("spec.servers[].container", "maxExecutionTime", "100ms", "1h"),
    ("spec.servers[].container", "idleTimeout", "1s", "168h"),
    ("spec.sessions", "ttl", "1s", "168h"),
    ("spec.connectionPool", "keepAlive", "0s", "1h"),
    ("spec.filtering.llm", "timeout", "100ms", "5m"),
    ("spec.filtering.llm.retry", "initialDelay", "0s", "1m"),
    ("spec.filtering.llm.retry", "maxDelay", "0s", "10m"),
    ("spec.filtering.llm.circuitBreaker", "resetTimeout", "1s", "1h"),
    ("spec.filtering.llm.cache", "ttl", "0s", "720h"),
    ("spec.rollout", "guard", "0s", "168h"),
    ("spec.rollout", "interval", "1s", "1h"),
    ("spec.rollout", "warmup", "0s", "1h"),
    ("spec.rollout", "progressDeadline", "10s", "24h"),
    ("spec.rollout", "gateTimeout", "1s", "168h"),
    ("spec.rollout", "maxBake", "1s", "720h"),
    ("spec.rollout", "holdTimeout", "1s", "720h"),
    ("spec.rollout", "drainTimeout", "0s", "24h"),
    ("spec.rollout.steps[]", "bake", "1s", "168h"),
    ("spec.rollout.rules[].rollbackWhen", "for", "0s", "24h"),
    ("spec.rollout.rollback", "abortGrace", "0s", "10m"),
    ("spec.rollout.rollback", "keepFor", "0s", "168h"),
];

const NAME: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

/// Path of the name, what it names, and an example.
const NAMES: &[(&str, &str, &str)] = &[
    ("spec.servers[]", "a server", "github"),
    ("spec.rollout.rules[]", "a rule", "tool-errors"),
    ("spec.filtering.views[]", "a view", "read-only"),
];

/// Fields whose format a rule here checks, so that their schema needs no pattern.
pub(crate) const CHECKED_FORMATS: &[&str] =
    &["spec.servers[].name", "spec.rollout.rules[].name", "spec.filtering.views[].name"];

pub(super) fn rules() -> Vec<ValidationRule> {
    let durations = DURATION_RANGES.iter().map(duration);
    let names = NAMES.iter().map(name);
    let others = [traffic(), tool_timeouts(), longest_bake(), retry_delays()];
    durations.chain(names).chain(others).collect()
}

/// An expression that is true for a text that is a duration.
fn is_duration(text: &str) -> String {
    format!("{text}.matches('{}')", Duration::PATTERN)
}

fn duration((at, field, min, max): &(&str, &str, &str, &str)) -> ValidationRule {
    let name = if *field == "for" { "__for__" } else { field }; // `for` is a reserved word of CEL
    let text = format!("self.{name}");
    let value = format!("duration({text})");
    let is_duration = is_duration(&text);
    let lower =
        if *min == "0s" { String::new() } else { format!("{value} >= duration('{min}') && ") };
    let owner = at.strip_prefix("spec.").unwrap_or_default();
    let dot = if owner.is_empty() { "" } else { "." };
    let message = format!("{owner}{dot}{field} must be between {min} and {max}");
    let malformed = "is not a duration; write hours, minutes and seconds, as in 24h, 30m or 1h30m";
    ValidationRule {
        at: (*at).into(),
        field: (*field).into(),
        cel: format!("!has({text}) || ({is_duration} && {lower}{value} <= duration('{max}'))"),
        message_expression: Some(format!(
            "{is_duration} ? '{message}' : '\"' + {text} + '\" {malformed}'"
        )),
        message,
    }
}

fn name((at, of, example): &(&str, &str, &str)) -> ValidationRule {
    let rest = format!(
        "is not the name of {of}; write lowercase letters, digits and '-', as in {example}"
    );
    ValidationRule {
        at: (*at).into(),
        field: "name".into(),
        cel: format!("self.name.matches('{NAME}')"),
        message: format!("this {rest}"),
        message_expression: Some(format!("'\"' + self.name + {:?}", format!("\" {rest}"))),
    }
}

/// `10%` and `"10"` are texts. If the schema had a type, the API server would only say that it is
/// the wrong one.
fn traffic() -> ValidationRule {
    ValidationRule::new(
        "spec.rollout.steps[]",
        "traffic",
        "type(self.traffic) == int",
        "traffic must be a number of percent without quotes and without %, as in traffic: 10",
    )
}

fn tool_timeouts() -> ValidationRule {
    let is_duration = is_duration("self.timeout[k]");
    let cel = format!(
        "!has(self.timeout) || self.timeout.all(k, {is_duration} \
         && duration(self.timeout[k]) >= duration('100ms') \
         && duration(self.timeout[k]) <= duration('1h'))"
    );
    let message = "a tool's timeout must be a duration between 100ms and 1h, as in 30s or 5m";
    ValidationRule::new("spec.servers[].tools", "timeout", &cel, message)
}

/// A rule that compares durations is silent about what is no duration, which another rule reports.
fn longest_bake() -> ValidationRule {
    let (max, bake) = (is_duration("self.maxBake"), is_duration("s.bake"));
    let cel = format!(
        "!has(self.maxBake) || !{max} || !has(self.steps) || self.steps.all(s, !has(s.bake) \
         || !{bake} || duration(s.bake) <= duration(self.maxBake))"
    );
    let message = "maxBake is shorter than the bake of a step; write at least the longest of them";
    ValidationRule::new("spec.rollout", "maxBake", &cel, message)
}

fn retry_delays() -> ValidationRule {
    let (max, initial) = (is_duration("self.maxDelay"), is_duration("self.initialDelay"));
    let cel = format!(
        "!has(self.maxDelay) || !has(self.initialDelay) || !{max} || !{initial} \
         || duration(self.maxDelay) >= duration(self.initialDelay)"
    );
    let message = "retry.maxDelay is shorter than initialDelay; write at least initialDelay";
    ValidationRule::new("spec.filtering.llm.retry", "maxDelay", &cel, message)
}
