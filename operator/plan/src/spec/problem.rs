//! What can be wrong with a spec.

/// Reason of `Accepted=False`, from a bounded set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// A value is invalid.
    InvalidSpec,
    /// A field or value is not supported yet.
    NotSupported,
    /// A ConfigMap that the spec refers to does not exist.
    ConfigMapMissing,
    /// The operator's settings do not name this Prometheus.
    UnknownPrometheus,
    /// An object with a name that the hub needs belongs to somebody else.
    NameTaken,
    /// The API server rejects the pod that the spec describes.
    PodRefused,
    /// The revision does not fit into one object.
    TooLarge,
}

impl Reason {
    /// The reason in the condition.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidSpec => "InvalidSpec",
            Self::NotSupported => "NotSupported",
            Self::ConfigMapMissing => "ConfigMapMissing",
            Self::UnknownPrometheus => "UnknownPrometheus",
            Self::NameTaken => "NameTaken",
            Self::PodRefused => "PodRefused",
            Self::TooLarge => "TooLarge",
        }
    }
}

/// One thing that is wrong with a spec. The message says where, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub reason: Reason,
    pub message: String,
}

impl Problem {
    pub fn new(reason: Reason, message: String) -> Self {
        Self { reason, message }
    }

    /// A value is invalid.
    pub fn invalid(message: String) -> Self {
        Self::new(Reason::InvalidSpec, message)
    }
}
