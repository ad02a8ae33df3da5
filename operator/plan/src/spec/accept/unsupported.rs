//! Fields that are not supported yet and must not be ignored. The CRD rejects them at `kubectl
//! apply`. With an older CRD, a hub with `auth` would be open to everybody.

use mcphub_crds::McpHubSpec;
use mcphub_crds::auth::AuthMode;
use mcphub_crds::remote::RemoteAuth;

use crate::spec::problem::{Problem, Reason};

pub(super) fn not_supported(spec: &McpHubSpec) -> Vec<Problem> {
    let auth =
        spec.auth.as_ref().and_then(|auth| auth.mode).is_some_and(|mode| mode != AuthMode::None);
    let remote_auth = |remote: &mcphub_crds::remote::Remote| {
        remote.auth.is_some_and(|auth| auth != RemoteAuth::Static)
    };
    let egress = |container: &mcphub_crds::container::Container| !container.egress.is_empty();
    let found = [
        (auth, "auth.mode", "put an authenticating proxy in front, and set it to None"),
        (
            spec.servers.iter().filter_map(|server| server.remote.as_ref()).any(remote_auth),
            "servers[].remote.auth",
            "use Static and set headers",
        ),
        (
            spec.servers.iter().filter_map(|server| server.container.as_ref()).any(egress),
            "servers[].container.egress",
            "create your own NetworkPolicy",
        ),
        (
            spec.network_policy.as_ref().and_then(|policy| policy.enabled).unwrap_or_default(),
            "networkPolicy.enabled",
            "create your own NetworkPolicies",
        ),
    ];
    let word = |(_, field, instead)| {
        Problem::new(Reason::NotSupported, format!("{field} is not supported yet; {instead}"))
    };
    found.into_iter().filter(|(set, _, _)| *set).map(word).collect()
}
