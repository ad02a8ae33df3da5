//! The admin ports of a hub's pods, read as the operator reads them.

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

use crate::written::dataplane_of;

/// One hub of the cluster, looked at from outside.
#[derive(Clone)]
pub(super) struct Hub {
    client: Client,
    namespace: String,
    name: String,
    http: reqwest::Client,
}

/// A pod that has a generation: of a hub or a router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Admin {
    /// Name of the pod.
    pub(super) pod: String,
    /// `router` or `hub`.
    pub(super) component: String,
    address: String,
}

impl Hub {
    /// Looks at `name` in `namespace`.
    pub(super) fn new(client: Client, namespace: &str, name: &str) -> Result<Self> {
        let http =
            reqwest::Client::builder().timeout(Duration::from_secs(2)).tcp_nodelay(true).build()?;
        Ok(Self { client, namespace: namespace.into(), name: name.into(), http })
    }

    /// What the runtime ConfigMap says now.
    pub(super) async fn dataplane(&self) -> Result<Dataplane> {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        dataplane_of(&maps.get(&format!("{}-runtime", self.name)).await?)
            .context("no dataplane.json")
    }

    /// Running hub and router pods.
    pub(super) async fn admins(&self) -> Result<Vec<Admin>> {
        let found = self.pods("app.kubernetes.io/component in (hub,router)").await?;
        Ok(found
            .into_iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .filter_map(|pod| {
                let component =
                    pod.metadata.labels.as_ref()?.get("app.kubernetes.io/component")?.clone();
                let ip = pod.status?.pod_ip?;
                Some(Admin {
                    pod: pod.metadata.name?,
                    component,
                    address: format!("http://{ip}:{}", paths::ADMIN_PORT),
                })
            })
            .collect())
    }

    /// Uid and restarts of every pod that belongs to a revision.
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

    /// The token that opens the admin endpoints.
    pub(super) async fn token(&self) -> Result<String> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let secret = secrets.get(&format!("{}-keys", self.name)).await?;
        let data = secret.data.unwrap_or_default();
        let ring: KeyRing =
            serde_json::from_slice(&data.get(paths::KEYS_FILE).context("no keys.json")?.0)?;
        Ok(ring.current().admin_token())
    }

    /// The generation that a pod obeys.
    pub(super) async fn generation(&self, admin: &Admin, token: &str) -> Result<u64> {
        let asked = self
            .http
            .get(format!("{}{GENERATION_PATH}", admin.address))
            .bearer_auth(token)
            .send()
            .await?;
        Ok(asked.error_for_status()?.json::<Generation>().await?.generation)
    }

    /// Waits until every router reports at least this generation.
    pub(super) async fn routers_obey(&self, generation: u64, token: &str) -> Result<()> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            let mut obeying = true;
            for admin in self.admins().await?.iter().filter(|admin| admin.component == "router") {
                obeying &=
                    self.generation(admin, token).await.is_ok_and(|obeyed| obeyed >= generation);
            }
            if obeying {
                return Ok(());
            }
            anyhow::ensure!(
                tokio::time::Instant::now() < deadline,
                "routers do not obey generation {generation} after 20 s"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// When a router last began to forward a request to this revision, in Unix seconds.
    pub(super) async fn last_forward(&self, revision: &Revision) -> Result<Option<f64>> {
        let series = "mcp_router_last_forward_timestamp_seconds{";
        let label = format!("revision=\"{revision}\"");
        let mut last = None::<f64>;
        for admin in self.admins().await?.iter().filter(|admin| admin.component == "router") {
            let text =
                self.http.get(format!("{}/metrics", admin.address)).send().await?.text().await?;
            for line in
                text.lines().filter(|line| line.starts_with(series) && line.contains(&label))
            {
                let value: f64 = line.rsplit(' ').next().unwrap_or_default().parse()?;
                last = Some(last.map_or(value, |earlier| earlier.max(value)));
            }
        }
        Ok(last)
    }

    /// The instant before which no rule looks at a canary: `warmup` (4 s in the demo) after its first pod was Ready.
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
