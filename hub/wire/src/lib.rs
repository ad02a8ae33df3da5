//! What operator and hub say to each other. Neither calls the other's code; both read these types.
//!
//! * [`config`]: the compiled hub config, written once per revision into an immutable ConfigMap.
//! * [`dataplane`]: role, weight and flags of the live revisions, in the runtime ConfigMap.
//! * [`keys`]: the key ring of a hub, derived from the operator's master key.
//! * [`flags`]: the feature flags that every hub knows, with their defaults.
//! * [`admin`]: the two admin endpoints that the operator reads.
//! * [`paths`]: where all of it lies inside a pod.

pub mod admin;
pub mod config;
pub mod dataplane;
pub mod filtering;
pub mod flags;
pub mod keys;
pub mod paths;
