//! One hub of the cluster: its runtime ConfigMap, its pods, and their admin ports.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::api::ListParams;
use kube::{Api, Client};
use mcphub_hub_wire::admin::{GENERATION_PATH, Generation};
use mcphub_hub_wire::dataplane::{Dataplane, Revision, Role};
use mcphub_hub_wire::keys::KeyRing;
use mcphub_hub_wire::paths;

use crate::runtime_log::dataplane_of;
use crate::wait::until;

/// One hub, seen from outside.
#[derive(Clone)]
pub(super) struct Hub {
    client: Client,
    namespace: String,
    name: String,
    http: reqwest::Client,
}

/// The admin port of a hub or router pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AdminEndpoint {
    /// Name of the pod.
    pub(super) pod: String,
    /// `router` or `hub`.
    pub(super) component: String,
    address: String,
}

impl Hub {
    /// The hub `name` in `namespace`.
    pub(super) fn new(client: Client, namespace: &str, name: &str) -> Result<Self> {
        let http =
            reqwest::Client::builder().timeout(Duration::from_secs(2)).tcp_nodelay(true).build()?;
        Ok(Self { client, namespace: namespace.into(), name: name.into(), http })
    }

    /// The current `dataplane.json`.
    pub(super) async fn dataplane(&self) -> Result<Dataplane> {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        dataplane_of(&maps.get(&format!("{}-runtime", self.name)).await?)
            .context("no dataplane.json")
    }

    /// The admin ports of all hub and router pods.
    pub(super) async fn admin_endpoints(&self) -> Result<Vec<AdminEndpoint>> {
        let found = self.pods("app.kubernetes.io/component in (hub,router)").await?;
        Ok(found
            .into_iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .filter_map(|pod| {
                let component =
                    pod.metadata.labels.as_ref()?.get("app.kubernetes.io/component")?.clone();
                let ip = pod.status?.pod_ip?;
                Some(AdminEndpoint {
                    pod: pod.metadata.name?,
                    component,
                    address: format!("http://{ip}:{}", paths::ADMIN_PORT),
                })
            })
            .collect())
    }

    /// UID and restarts of every pod of a revision.
    pub(super) async fn identities(&self, revision: &Revision) -> Result<BTreeMap<String, i32>> {
        let found = self.pods(&format!("mcphub.dev/revision={revision}")).await?;
        Ok(found
            .into_iter()
            .map(|pod| {
                let containers =
                    pod.status.and_then(|status| status.container_statuses).unwrap_or_default();
                (
                    pod.metadata.uid.unwrap_or_default(),
                    containers.iter().map(|container| container.restart_count).sum(),
                )
            })
            .collect())
    }

    /// The token for the admin endpoints.
    pub(super) async fn token(&self) -> Result<String> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let secret = secrets.get(&format!("{}-keys", self.name)).await?;
        let data = secret.data.unwrap_or_default();
        let ring: KeyRing =
            serde_json::from_slice(&data.get(paths::KEYS_FILE).context("no keys.json")?.0)?;
        Ok(ring.current().admin_token())
    }

    /// The generation that a pod has applied.
    pub(super) async fn generation(&self, endpoint: &AdminEndpoint, token: &str) -> Result<u64> {
        let answer = self
            .http
            .get(format!("{}{GENERATION_PATH}", endpoint.address))
            .bearer_auth(token)
            .send()
            .await?;
        Ok(answer.error_for_status()?.json::<Generation>().await?.generation)
    }

    /// Waits until every router has applied at least this generation.
    pub(super) async fn wait_for_routers(&self, generation: u64, token: &str) -> Result<()> {
        let what = format!("all routers have applied generation {generation}");
        let applied = async || {
            let endpoints = self.admin_endpoints().await.unwrap_or_default();
            for router in endpoints.iter().filter(|endpoint| endpoint.component == "router") {
                let applied = self.generation(router, token).await;
                if !applied.is_ok_and(|applied| applied >= generation) {
                    return false;
                }
            }
            !endpoints.is_empty()
        };
        until(&what, Duration::from_mins(1), applied).await.map(drop)
    }

    /// The last time that a router began to forward a request to this revision, in Unix seconds.
    pub(super) async fn last_forward(&self, revision: &Revision) -> Result<Option<f64>> {
        let series = "mcp_router_last_forward_timestamp_seconds{";
        let label = format!("revision=\"{revision}\"");
        let mut last = None::<f64>;
        let endpoints = self.admin_endpoints().await?;
        for router in endpoints.iter().filter(|endpoint| endpoint.component == "router") {
            let text =
                self.http.get(format!("{}/metrics", router.address)).send().await?.text().await?;
            for line in
                text.lines().filter(|line| line.starts_with(series) && line.contains(&label))
            {
                let value: f64 = line.rsplit(' ').next().unwrap_or_default().parse()?;
                last = Some(last.map_or(value, |earlier| earlier.max(value)));
            }
        }
        Ok(last)
    }

    /// The start of the canary's epoch: `warmup` (4 s in the demo) after its first pod was Ready.
    pub(super) async fn epoch(&self, canary: &Revision) -> Result<Timestamp> {
        let ready = self
            .pods(&format!("mcphub.dev/revision={canary},app.kubernetes.io/component=hub"))
            .await?;
        let conditions = ready.into_iter().filter_map(|pod| pod.status?.conditions).flatten();
        let since = conditions
            .filter(|condition| condition.type_ == "Ready")
            .filter_map(|ready| ready.last_transition_time);
        let first = since.map(|time| time.0).min().context("the canary has no Ready pod")?;
        Ok(first + SignedDuration::from_secs(4))
    }

    async fn pods(&self, selector: &str) -> Result<Vec<Pod>> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let selector = format!("mcphub.dev/hub={},{selector}", self.name);
        Ok(pods.list(&ListParams::default().labels(&selector)).await?.items)
    }
}

/// The revision that has a role.
pub(super) fn with_role(dataplane: &Dataplane, role: Role) -> Option<Revision> {
    dataplane
        .revisions
        .iter()
        .find(|(_, state)| state.role == role)
        .map(|(revision, _)| revision.clone())
}
