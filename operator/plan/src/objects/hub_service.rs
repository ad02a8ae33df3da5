//! The Service that users call. It selects the routers.

use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use mcphub_hub_wire::paths::PORT;

use super::revision_service::port;
use crate::api::labels::{self, Component};
use crate::api::names;
use crate::spec::valid::ValidService;

pub(crate) fn build(hub: &str, valid: &ValidService, version: &str) -> Service {
    let mut metadata =
        labels::meta(names::hub(hub), labels::labels(hub, Component::Router, version));
    metadata.annotations =
        Some(valid.annotations.clone()).filter(|annotations| !annotations.is_empty());
    Service {
        metadata,
        spec: Some(ServiceSpec {
            ports: Some(vec![port("mcp", valid.port, PORT)]),
            selector: Some(labels::selector(hub, Component::Router)),
            type_: Some(valid.kind.into()),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}
