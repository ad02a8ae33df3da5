//! The Service of one revision. Routers find its pods by the EndpointSlices of this Service, and by
//! its name while the API server is unavailable.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use mcphub_hub_wire::dataplane::Revision;
use mcphub_hub_wire::paths::PORT;

use super::revision_deployment::{labels_of, selector};
use crate::api::{labels, names};

pub(crate) fn build(hub: &str, revision: &Revision, version: &str) -> Service {
    Service {
        metadata: labels::meta(names::revision(hub, revision), labels_of(hub, revision, version)),
        spec: Some(ServiceSpec {
            ports: Some(vec![port("mcp", PORT, PORT)]),
            // Otherwise pods that are not Ready would get new sessions.
            publish_not_ready_addresses: Some(false),
            selector: Some(selector(hub, revision)),
            type_: Some("ClusterIP".into()),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

pub(crate) fn port(name: &str, number: u16, target: u16) -> ServicePort {
    ServicePort {
        name: Some(name.into()),
        port: number.into(),
        protocol: Some("TCP".into()),
        target_port: Some(IntOrString::Int(target.into())),
        ..ServicePort::default()
    }
}
