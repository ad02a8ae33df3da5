//! The serving pods of each live revision, from EndpointSlices. Until the API server has been
//! reached once, the router reaches pods by the name of their Service.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::runtime::watcher::{self, watcher};
use kube::runtime::{WatchStreamExt as _, reflector};
use kube::{Api, Client, ResourceExt as _};
use mcphub_hub_routing::decision::{Endpoints, Pod, Pods};
use mcphub_hub_wire::dataplane::{Dataplane, Revision};
use mcphub_hub_wire::paths;
use tokio::sync::watch;

use crate::dataplane::{Retry, WATCH_SECONDS};

/// How long the router waits at start for the first list of pods.
const FIRST_LIST_TIMEOUT: Duration = Duration::from_secs(2);

/// A pod that requests are forwarded to.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// The name of the pod, as in session ids, or the DNS name of a Service.
    pub name: String,
    /// `host:port`.
    pub authority: String,
    /// The pod takes new sessions.
    pub ready: bool,
    /// Requests in flight. Later lists that have the pod share this counter.
    pub in_flight: Arc<AtomicUsize>,
}

impl Upstream {
    pub fn new(name: String, authority: String, ready: bool) -> Self {
        Self { name, authority, ready, in_flight: Arc::default() }
    }
}

impl Pod for Upstream {
    fn name(&self) -> &str {
        &self.name
    }
    fn is_ready(&self) -> bool {
        self.ready
    }
    fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }
}

/// Serving pods by the name of their Service. `None` until the API server has responded once.
pub type PodList = Option<BTreeMap<String, Vec<Upstream>>>;

/// Where the list of pods comes from.
pub enum Discovery {
    /// The API server.
    Cluster { client: Client, namespace: String },
    /// The owner of the sender. Tests use it.
    External(watch::Receiver<PodList>),
    /// Nowhere: pods are reached by the name of their Service.
    None,
}

impl Discovery {
    /// Starts to watch. Waits for the first list, so that a router never uses Service names while
    /// the API server works.
    pub async fn start(self, hub: &str) -> watch::Receiver<PodList> {
        match self {
            Self::External(pods) => pods,
            Self::None => watch::channel(None).1,
            Self::Cluster { client, namespace } => {
                let (sender, mut pods) = watch::channel(None);
                tokio::spawn(watch_slices(client, namespace, hub.to_owned(), sender));
                if tokio::time::timeout(FIRST_LIST_TIMEOUT, pods.changed()).await.is_err() {
                    tracing::warn!(
                        "failed to list EndpointSlices in time; using Service names until the API \
                         server responds"
                    );
                }
                pods
            }
        }
    }
}

/// The pods of the live revisions. Pods that are in `before` keep their counter of requests in
/// flight.
pub(super) fn live_pods(
    dataplane: &Dataplane,
    pods: &PodList,
    names: &ServiceNames,
    before: &Pods<Upstream>,
) -> Pods<Upstream> {
    let endpoints = |revision: &Revision| {
        let service = names.service(revision);
        match pods {
            None => {
                Endpoints::Service(Upstream::new(service.clone(), names.authority(&service), true))
            }
            Some(by_service) => {
                Endpoints::Pods(by_service.get(&service).cloned().unwrap_or_default())
            }
        }
    };
    let mut pods: Pods<Upstream> = dataplane
        .revisions
        .keys()
        .map(|revision| (revision.clone(), endpoints(revision)))
        .collect();
    for (revision, endpoints) in &mut pods {
        let known = before.get(revision).map(upstreams).unwrap_or_default();
        for pod in upstreams_mut(endpoints) {
            if let Some(same) = known
                .iter()
                .find(|known| known.name == pod.name && known.authority == pod.authority)
            {
                pod.in_flight = Arc::clone(&same.in_flight);
            }
        }
    }
    pods
}

fn upstreams(endpoints: &Endpoints<Upstream>) -> &[Upstream] {
    match endpoints {
        Endpoints::Pods(pods) => pods,
        Endpoints::Service(service) => std::slice::from_ref(service),
    }
}

fn upstreams_mut(endpoints: &mut Endpoints<Upstream>) -> &mut [Upstream] {
    match endpoints {
        Endpoints::Pods(pods) => pods,
        Endpoints::Service(service) => std::slice::from_mut(service),
    }
}

/// Names of a hub's Services.
#[derive(Debug, Clone)]
pub struct ServiceNames {
    pub hub: String,
    pub namespace: String,
}

impl ServiceNames {
    fn service(&self, revision: &Revision) -> String {
        format!("{}-r-{revision}", self.hub)
    }

    fn authority(&self, service: &str) -> String {
        format!("{service}.{}.svc:{}", self.namespace, paths::PORT)
    }
}

/// EndpointSlices have the labels of their Service. One watch by the label of the hub therefore
/// covers the Services of all revisions, including future ones.
async fn watch_slices(
    client: Client,
    namespace: String,
    hub: String,
    sender: watch::Sender<PodList>,
) {
    let api: Api<EndpointSlice> = Api::namespaced(client, &namespace);
    let config =
        watcher::Config::default().labels(&format!("mcphub.dev/hub={hub}")).timeout(WATCH_SECONDS);
    let (store, writer) = reflector::store();
    let mut events = reflector(writer, watcher(api, config).backoff(Retry::default())).boxed();
    let mut complete = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::InitDone) => complete = true,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(
                    %error,
                    "failed to watch EndpointSlices, using the last list of pods"
                );
            }
        }
        if complete {
            let slices = store.state();
            sender.send_replace(Some(by_service(slices.iter().map(Arc::as_ref))));
        }
        if sender.is_closed() {
            return;
        }
    }
}

fn by_service<'a>(
    slices: impl Iterator<Item = &'a EndpointSlice>,
) -> BTreeMap<String, Vec<Upstream>> {
    let mut services: BTreeMap<String, Vec<Upstream>> = BTreeMap::new();
    for slice in slices {
        let Some(service) = slice.labels().get("kubernetes.io/service-name") else { continue };
        let pods = services.entry(service.clone()).or_default();
        for pod in slice.endpoints.iter().filter_map(upstream) {
            // A dual-stack Service has a slice for each address family.
            if !pods.iter().any(|known| known.name == pod.name) {
                pods.push(pod);
            }
        }
    }
    for pods in services.values_mut() {
        pods.sort_by(|a, b| a.name.cmp(&b.name));
    }
    services
}

/// The pod of an endpoint, or `None` if it does not serve.
///
/// A terminating pod serves, whatever its readiness says: a draining pod reports that it is not
/// ready, and it must keep its sessions. A missing condition `ready` means ready (`discovery/v1`).
fn upstream(endpoint: &Endpoint) -> Option<Upstream> {
    let conditions = endpoint.conditions.as_ref();
    let ready = conditions.and_then(|c| c.ready).unwrap_or(true);
    let serving = conditions.and_then(|c| c.serving).unwrap_or(ready);
    let terminating = conditions.and_then(|c| c.terminating).unwrap_or(false);
    let name = endpoint.target_ref.as_ref()?.name.clone()?;
    let ip: IpAddr = endpoint.addresses.first()?.parse().ok()?;
    let authority = SocketAddr::new(ip, paths::PORT).to_string();
    (ready || serving || terminating).then(|| Upstream::new(name, authority, ready && !terminating))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(service: &str, endpoints: &serde_json::Value) -> EndpointSlice {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "name": format!("{service}-x"),
                "labels": {"kubernetes.io/service-name": service},
            },
            "endpoints": endpoints,
        }))
        .unwrap()
    }

    fn endpoint(
        pod: &str,
        ip: &str,
        [ready, serving, terminating]: [bool; 3],
    ) -> serde_json::Value {
        serde_json::json!({
            "addresses": [ip], "targetRef": {"kind": "Pod", "name": pod},
            "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
        })
    }

    fn stable_only() -> Dataplane {
        let revisions = serde_json::json!({"aaaaaaaa": {"role": "stable", "weight": 100}});
        let state = serde_json::json!({"schema": 1, "generation": 1, "revisions": revisions});
        serde_json::from_value(state).unwrap()
    }

    fn display(pods: &[Upstream]) -> Vec<String> {
        let state = |pod: &Upstream| if pod.ready { "ready" } else { "terminating" };
        pods.iter().map(|pod| format!("{} {} {}", pod.name, pod.authority, state(pod))).collect()
    }

    #[test]
    fn ready_and_terminating_pods_are_listed_and_others_are_not() {
        let endpoints = serde_json::json!([
            endpoint("ready", "10.0.0.1", [true, true, false]),
            endpoint("leaving", "10.0.0.2", [false, true, true]),
            endpoint("starting", "10.0.0.3", [false, false, false]),
            endpoint("draining", "10.0.0.4", [false, false, true]),
            {"addresses": ["fd00::5"], "targetRef": {"kind": "Pod", "name": "silent"}},
        ]);
        let found = by_service([slice("h-r-aaaaaaaa", &endpoints)].iter());
        assert_eq!(
            display(&found["h-r-aaaaaaaa"]),
            [
                "draining 10.0.0.4:7000 terminating",
                "leaving 10.0.0.2:7000 terminating",
                "ready 10.0.0.1:7000 ready",
                "silent [fd00::5]:7000 ready"
            ]
        );
    }

    #[test]
    fn a_pod_in_two_slices_is_listed_once_and_keeps_its_counter_in_later_lists() {
        let one = |ip: &str| serde_json::json!([endpoint("pod", ip, [true, true, false])]);
        let slices =
            [slice("h-r-aaaaaaaa", &one("10.0.0.1")), slice("h-r-aaaaaaaa", &one("fd00::1"))];
        let dataplane = stable_only();
        let names = ServiceNames { hub: "h".into(), namespace: "ns".into() };
        let list = || Some(by_service(slices.iter()));
        let before = live_pods(&dataplane, &list(), &names, &Pods::new());
        let pod = &upstreams(&before[&"aaaaaaaa".parse().unwrap()])[0];
        pod.in_flight.fetch_add(3, Ordering::Relaxed);
        let after = live_pods(&dataplane, &list(), &names, &before);
        let pods = upstreams(&after[&"aaaaaaaa".parse().unwrap()]);
        assert_eq!((pods.len(), pods[0].in_flight()), (1, 3));
    }

    #[test]
    fn without_an_api_server_pods_are_reached_by_their_service() {
        let dataplane = stable_only();
        let names = ServiceNames { hub: "h".into(), namespace: "ns".into() };
        let pods = live_pods(&dataplane, &None, &names, &Pods::new());
        let Endpoints::Service(service) = &pods[&"aaaaaaaa".parse().unwrap()] else {
            panic!("not reached by its Service")
        };
        assert_eq!(service.authority, "h-r-aaaaaaaa.ns.svc:7000");
    }
}
