//! The Service of one container server.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use mcphub_hub_wire::paths::BRIDGE_PORT;

use crate::objects::revision_service;
use crate::spec::valid::Speaks;

/// The Service. Its port is always the same, whatever port the server listens on.
pub(crate) fn build(
    metadata: ObjectMeta,
    selector: BTreeMap<String, String>,
    speaks: &Speaks,
) -> Service {
    Service {
        metadata,
        spec: Some(ServiceSpec {
            ports: Some(vec![revision_service::port("mcp", BRIDGE_PORT, super::port(speaks))]),
            selector: Some(selector),
            type_: Some("ClusterIP".into()),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}
