//! DNS for Services and pods: `CoreDNS` in a pod.

use super::sandbox::Addresses;

/// The namespace of the Deployment.
pub(crate) const NAMESPACE: &str = "kube-system";

/// All objects of `CoreDNS`.
pub(crate) fn manifest(at: Addresses, image: &str) -> String {
    include_str!("dns.yaml").replace("ADDRESS", &at.dns().to_string()).replace("IMAGE", image)
}
