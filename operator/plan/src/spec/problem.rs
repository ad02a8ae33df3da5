//! What can be wrong with a spec.

/// Reason of `Accepted=False`: a bounded set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// A value that cannot be done.
    InvalidSpec,
    /// A field or value that does not work yet.
    NotSupported,
    /// A ConfigMap that the spec refers to is not there.
    ConfigMapMissing,
    /// A Prometheus that the administrator has not named.
    UnknownPrometheus,
    /// An object of that name belongs to somebody else.
    NameTaken,
    /// The API server refuses the pod that the spec describes.
    PodRefused,
    /// The revision does not fit in one object.
    TooLarge,
}

impl Reason {
    /// As in the condition.
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

/// One thing that is wrong, where, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Why.
    pub reason: Reason,
    /// For a person.
    pub message: String,
}

impl Problem {
    /// A problem in words.
    pub fn new(reason: Reason, message: String) -> Self {
        Self { reason, message }
    }

    /// A value that cannot be done.
    pub fn invalid(message: String) -> Self {
        Self::new(Reason::InvalidSpec, message)
    }
}
