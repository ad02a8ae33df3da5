//! From the spec that a user writes to what is built.
//!
//! | file | what it owns |
//! |---|---|
//! | [`accept`] | finds everything that is wrong with a spec |
//! | [`problem`] | what can be wrong |
//! | [`valid`] | a spec with nothing wrong, as typed values with defaults |
//! | [`compile`] | the config that hub pods read |
//! | [`revision_content`] | which fields make a revision, and their hash |
//! | [`flags`], [`reserved`] | feature flags; what the operator keeps for itself in servers' pods |

pub mod accept;
pub mod compile;
pub mod flags;
pub mod problem;
pub(crate) mod reserved;
pub mod revision_content;
pub mod valid;
