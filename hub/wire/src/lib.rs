//! What operator and hub exchange. Neither calls the code of the other; both use these types.
//!
//! * [`config`]: the compiled hub config, written once per revision into an immutable ConfigMap.
//! * [`dataplane`]: role, weight and flags of the live revisions, in the runtime ConfigMap.
//! * [`keys`]: the key ring of a hub, derived from the operator's master key.
//! * [`flags`]: the feature flags that every hub knows, with their defaults.
//! * [`admin`]: the two admin endpoints that the operator reads.
//! * [`paths`]: the ports of a pod, and the files that hold these.

pub mod admin;
mod command;
pub mod config;
pub mod dataplane;
mod filtering;
pub mod flags;
mod header_value;
pub mod keys;
pub mod paths;
