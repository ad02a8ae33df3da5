//! What the API server refuses, and the sentence it says: CEL rules of the CRD, by section.
//!
//! A rule looks at the spec alone. What needs the cluster (a name that is taken, a Prometheus that nobody
//! configured) is the operator's condition Accepted. What is typed but not built yet is in [`crate::not_yet`].

mod filtering;
mod rollout;
mod servers;

/// One CEL rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The part of the schema that is `self`: `spec.servers[]`; empty for the whole resource.
    pub at: String,
    /// The field under `at` that the error names; empty for `at` itself.
    pub field: String,
    /// True for what is accepted.
    pub cel: String,
    /// What to write instead. No two rules have the same.
    pub message: String,
}

impl Rule {
    fn new(at: &str, field: &str, cel: &str, message: &str) -> Self {
        Self { at: at.into(), field: field.into(), cel: cel.into(), message: message.into() }
    }
}

/// All rules but those of [`crate::not_yet`].
pub fn rules() -> Vec<Rule> {
    let servers = [servers::SERVERS, servers::REMOTE, servers::CONTAINER];
    let filtering = [filtering::MODES, filtering::NAMES, filtering::LLM];
    let rollout = [rollout::ROLLOUT, rollout::ROLLOUT_RULES];
    let tables = [[HUB, SAFETY].concat(), filtering.concat(), servers.concat(), rollout.concat()];
    let plain = tables
        .concat()
        .into_iter()
        .map(|(at, field, cel, message)| Rule::new(at, field, cel, message));
    plain.chain(DURATIONS.iter().map(between)).collect()
}

/// Where, which field, what is accepted, and what to write instead: as in [`Rule`].
type Row = (&'static str, &'static str, &'static str, &'static str);

const HUB: &[Row] = &[
    // Children are called <hub>-s-<server, 24>-<hash, 8>, and a Service's name is a DNS label.
    (
        "",
        "",
        "self.metadata.name.size() <= 24",
        "metadata.name has at most 24 characters; choose a shorter name",
    ),
    (
        "",
        "",
        "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        "metadata.name starts with a lowercase letter and has only lowercase letters, digits and '-' after it",
    ),
    (
        "spec.podTemplate",
        "labels",
        "!has(self.labels) || self.labels.all(k, !k.startsWith('app.kubernetes.io/') && !k.startsWith('mcphub.dev/'))",
        "labels under app.kubernetes.io/ and mcphub.dev/ are the operator's; use a prefix of your own",
    ),
    (
        "spec.podTemplate",
        "annotations",
        "!has(self.annotations) || self.annotations.all(k, !k.startsWith('mcphub.dev/') && !k.startsWith('prometheus.io/'))",
        "annotations under mcphub.dev/ and prometheus.io/ are the operator's; use a prefix of your own",
    ),
    (
        "spec.featureFlags",
        "custom",
        "!has(self.custom) || self.custom.all(k, k.matches('^[a-z][A-Za-z0-9]{0,62}$'))",
        "a flag's name is at most 63 letters and digits and starts with a lowercase letter, as in compactAnswers",
    ),
    (
        "spec.featureFlags",
        "custom",
        "!has(self.custom) || !['hierarchicalTools', 'enumDescriptionsValidation', 'autoCorrection', \
         'enhancedErrorMessages', 'performanceMonitoring'].exists(k, k in self.custom)",
        "this flag is built in; write it beside custom, not in it",
    ),
];

const SAFETY: &[Row] = &[
    (
        "spec.allowedOrigins[]",
        "",
        "self.matches('^https?://[A-Za-z0-9.:\\\\[\\\\]-]+$')",
        "an origin is a scheme and a host, as in https://app.example.com, without path and without wildcards",
    ),
    (
        "spec.limits",
        "maxRequestBytes",
        "!has(self.maxRequestBytes) || (quantity(self.maxRequestBytes).compareTo(quantity('1Ki')) >= 0 && quantity(self.maxRequestBytes).compareTo(quantity('64Mi')) <= 0)",
        "maxRequestBytes is between 1Ki and 64Mi",
    ),
];

/// Where, which field, least, most.
const DURATIONS: &[(&str, &str, &str, &str)] = &[
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

fn between((at, field, least, most): &(&str, &str, &str, &str)) -> Rule {
    let name = if *field == "for" { "__for__" } else { field }; // `for` is a word of CEL
    let value = format!("duration(self.{name})");
    let lower =
        if *least == "0s" { String::new() } else { format!("{value} >= duration('{least}') && ") };
    let cel = format!("!has(self.{name}) || ({lower}{value} <= duration('{most}'))");
    let owner = at.strip_prefix("spec.").unwrap_or_default();
    let dot = if owner.is_empty() { "" } else { "." };
    let message = format!("{owner}{dot}{field} is between {least} and {most}");
    Rule { at: (*at).into(), field: (*field).into(), cel, message }
}
