//! Fields and values that have a type but are not implemented yet. Each line becomes a CEL rule.
//! Whoever implements the field deletes the line.
//!
//! A field that is accepted without an effect would be trusted, for example `auth` or `access`.

use crate::rules::ValidationRule;

/// A field or some of its values, and what to write until it is implemented.
enum NotYet {
    /// The path of the field, and what to write instead.
    Field(&'static str, &'static str),
    /// The path of the field, the value, and what to write instead.
    Value(&'static str, &'static str, &'static str),
    /// The path of a boolean that must not be true, and what to write instead.
    On(&'static str, &'static str),
    /// The path of a number that must not be over 1, and what to write instead.
    OverOne(&'static str, &'static str),
}

use NotYet::{Field, On, OverOne, Value};

const NOT_YET: &[NotYet] = &[
    // what runs
    Value("spec.upgradePolicy", "Rollout", "write NextRevision"),
    Field("spec.autoscaling", "write replicas"),
    Field("spec.router.trustedProxies", "remove it"),
    // servers
    Value("spec.servers[].remote.auth", "ClientCredentials", "write Static and headers"),
    Value("spec.servers[].remote.auth", "TokenExchange", "write Static and headers"),
    Value("spec.servers[].remote.auth", "PerUser", "write Static and headers"),
    Field("spec.servers[].remote.tls", "use a server with a certificate of a public authority"),
    OverOne("spec.servers[].container.replicas", "write 1"),
    Field("spec.servers[].container.egress", "write a NetworkPolicy of your own"),
    // state, security, limits
    Value("spec.sessions.store", "Redis", "write Memory"),
    Field("spec.sessions.redis", "remove it"),
    Value("spec.auth.mode", "ApiKey", "put a proxy that authenticates in front, and write None"),
    Value("spec.auth.mode", "Jwt", "put a proxy that authenticates in front, and write None"),
    Field("spec.auth.apiKeys", "remove it"),
    Field("spec.auth.jwt", "remove it"),
    Field("spec.auth.resourceMetadata", "remove it"),
    On("spec.schemaCompat", "write false"),
    Field("spec.limits.requestsPerSecond", "write maxConcurrent"),
    Field("spec.limits.burst", "write maxConcurrent"),
    Field("spec.limits.perCaller", "write maxConcurrent"),
    Field("spec.limits.maxTokensPerRequest", "write maxRequestBytes"),
    Field("spec.expose.externalUrl", "remove it"),
    Field("spec.expose.ingress", "write an Ingress of your own for the hub's Service"),
    Field("spec.expose.gateway", "write an HTTPRoute of your own for the hub's Service"),
    Field("spec.expose.tls", "remove it"),
    On("spec.networkPolicy.enabled", "write NetworkPolicies of your own"),
    // how it changes
    Value("spec.rollout.rules[].metric", "MemoryGrowth", "remove the rule"),
    Field("spec.rollout.rules[].query", "write metric"),
    Field("spec.rollout.rules[].compareToStable", "write rollbackWhen"),
    Field("spec.rollout.rules[].server", "remove it: the rule is for all servers"),
    Field("spec.rollout.rules[].tool", "remove it: the rule is for all tools"),
    Value("spec.rollout.rollback.order", "FlagsFirst", "write Together"),
    Field("spec.rollout.rollback.flagGrace", "remove it"),
    Field("spec.rollout.rollback.abortGrace", "remove it: calls in flight get 10s"),
    On("spec.rollout.rollback.revision", "write false"),
    Value("spec.rollout.traffic.provider", "GatewayApi", "write Router"),
    Value("spec.rollout.traffic.provider", "Replicas", "write Router"),
    Field("spec.rollout.preview", "remove it"),
    Value("spec.rollout.flagChanges", "Immediate", "write Canary"),
    Field("spec.monitoring", "write the objects yourself"),
];

/// The rules that reject these fields and values.
pub fn rules() -> Vec<ValidationRule> {
    NOT_YET.iter().map(rule).collect()
}

/// The paths of the fields that are not implemented at all.
pub(crate) fn fields() -> impl Iterator<Item = &'static str> {
    NOT_YET.iter().filter_map(|entry| match entry {
        Field(path, _) => Some(*path),
        Value(..) | On(..) | OverOne(..) => None,
    })
}

fn rule(entry: &NotYet) -> ValidationRule {
    let (path, what, instead) = match entry {
        Field(path, instead) => (path, String::new(), instead),
        Value(path, value, instead) => (path, format!(" {value}"), instead),
        On(path, instead) => (path, " true".into(), instead),
        OverOne(path, instead) => (path, " over 1".into(), instead),
    };
    let (at, field) = path.rsplit_once('.').unwrap_or(("", path));
    let cel = match entry {
        Field(..) => format!("!has(self.{field})"),
        Value(_, value, _) => format!("!has(self.{field}) || self.{field} != '{value}'"),
        On(..) => format!("!has(self.{field}) || !self.{field}"),
        OverOne(..) => format!("!has(self.{field}) || self.{field} <= 1"),
    };
    let name = path.strip_prefix("spec.").unwrap_or(path);
    let message = format!("{name}{what} is not supported yet; {instead}");
    ValidationRule::new(at, field, &cel, &message)
}
