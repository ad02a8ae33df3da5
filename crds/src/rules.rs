//! The CEL rules of the CRD and their messages, by section of the spec.
//!
//! A rule sees only the spec. What needs the cluster, for example a name that is already in use, is
//! reported by the operator in the condition Accepted. Fields that are not implemented yet are in
//! [`crate::not_yet`].

mod filtering;
mod formats;
mod rollout;
mod servers;

pub(crate) use self::formats::{CHECKED_FORMATS, DURATION_RANGES};

/// One CEL rule, as in `x-kubernetes-validations`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidationRule {
    /// Path of the schema that is `self`, for example `spec.servers[]`. Empty for the whole
    /// resource.
    pub at: String,
    /// The field below `at` that the error names. Empty for `at` itself.
    pub field: String,
    /// The expression, which is true for an accepted value.
    pub cel: String,
    /// What is wrong and what to write instead. No two rules have the same message.
    pub message: String,
    /// A CEL expression for a message that quotes the value. `message` is for a value that cannot
    /// be quoted, because it has a line break, and for the reference.
    pub message_expression: Option<String>,
}

impl ValidationRule {
    pub(crate) fn new(at: &str, field: &str, cel: &str, message: &str) -> Self {
        Self {
            at: at.into(),
            field: field.into(),
            cel: cel.into(),
            message: message.into(),
            message_expression: None,
        }
    }
}

/// All rules except those of [`crate::not_yet`].
pub fn rules() -> Vec<ValidationRule> {
    let servers = [servers::SERVERS, servers::REMOTE, servers::CONTAINER];
    let filtering = [filtering::MODES, filtering::NAMES, filtering::LLM];
    let rollout = [rollout::ROLLOUT, rollout::ROLLOUT_RULES];
    let tables = [[HUB, SAFETY].concat(), filtering.concat(), servers.concat(), rollout.concat()];
    let plain = tables
        .concat()
        .into_iter()
        .map(|(at, field, cel, message)| ValidationRule::new(at, field, cel, message));
    plain.chain(formats::rules()).collect()
}

/// The fields of a [`ValidationRule`] in their order.
type Row = (&'static str, &'static str, &'static str, &'static str);

const HUB: &[Row] = &[
    // Objects are named <hub>-s-<server, 24>-<hash, 8>, and the name of a Service is a DNS label.
    (
        "",
        "",
        "self.metadata.name.size() <= 24",
        "metadata.name must have at most 24 characters; choose a shorter name",
    ),
    (
        "",
        "",
        "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        "metadata.name must start with a lowercase letter and continue with lowercase letters, \
         digits and '-'",
    ),
    (
        "spec.podTemplate",
        "labels",
        "!has(self.labels) || self.labels.all(k, !k.startsWith('app.kubernetes.io/') \
         && !k.startsWith('mcphub.dev/'))",
        "labels under app.kubernetes.io/ and mcphub.dev/ are reserved for the operator; use \
         another prefix",
    ),
    (
        "spec.podTemplate",
        "annotations",
        "!has(self.annotations) || self.annotations.all(k, !k.startsWith('mcphub.dev/') \
         && !k.startsWith('prometheus.io/'))",
        "annotations under mcphub.dev/ and prometheus.io/ are reserved for the operator; use \
         another prefix",
    ),
    (
        "spec.featureFlags",
        "custom",
        "!has(self.custom) || self.custom.all(k, k.matches('^[a-z][A-Za-z0-9]{0,62}$'))",
        "a flag's name must be at most 63 letters and digits and start with a lowercase letter, as \
         in compactAnswers",
    ),
    (
        "spec.featureFlags",
        "custom",
        "!has(self.custom) || !['hierarchicalTools', 'enumDescriptionsValidation', \
         'autoCorrection', 'enhancedErrorMessages', 'performanceMonitoring'].exists(k, k in \
         self.custom)",
        "this flag is built in; write it next to custom, not in it",
    ),
];

const SAFETY: &[Row] = &[
    (
        "spec.allowedOrigins[]",
        "",
        "self.matches('^https?://[A-Za-z0-9.:\\\\[\\\\]-]+$')",
        "an origin must be a scheme and a host, as in https://app.example.com, without a path or \
         wildcards",
    ),
    (
        "spec.allowedHosts[]",
        "",
        "self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')",
        "a host must be a DNS name in lowercase, as in mcp.example.com, without a scheme, a port, \
         a path or wildcards",
    ),
    (
        "spec.limits",
        "maxRequestBytes",
        "!has(self.maxRequestBytes) || (quantity(self.maxRequestBytes).compareTo(quantity('1Ki')) \
         >= 0 && quantity(self.maxRequestBytes).compareTo(quantity('64Mi')) <= 0)",
        "maxRequestBytes must be between 1Ki and 64Mi",
    ),
];
