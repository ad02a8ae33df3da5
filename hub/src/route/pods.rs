//! The serving pods of each live revision, from EndpointSlices; by Service name while the API server has never
//! been reached.

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
use mcphub_hub_routing::weights::{Endpoints, Pod, Pods};
use mcphub_hub_wire::dataplane::{Dataplane, Revision};
use mcphub_hub_wire::paths;
use tokio::sync::watch;

use crate::dataplane::{Retry, WATCH_SECONDS};

/// After so long without a first answer from the API server, pods are reached by their Service.
const FIRST_LIST: Duration = Duration::from_secs(2);

/// A pod that requests are forwarded to.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// As in session ids; of a Service, its DNS name.
    pub name: String,
    /// `host:port`.
    pub authority: String,
    /// Takes new sessions.
    pub ready: bool,
    /// Requests under way; the same counter in every later list that has the pod.
    pub in_flight: Arc<AtomicUsize>,
}

impl Upstream {
    /// One that nothing is under way to.
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

/// Serving pods by the name of their Service; `None` until the API server has answered once.
pub type Listed = Option<BTreeMap<String, Vec<Upstream>>>;

/// What tells which pods there are. Tests send their own list.
pub enum Discovery {
    /// The API server.
    Cluster {
        /// Access to the hub's namespace.
        client: Client,
        /// Namespace of the hub.
        namespace: String,
    },
    /// Somebody else.
    LlmCategories(watch::Receiver<Listed>),
    /// Nobody: by Service name.
    None,
}

impl Discovery {
    /// Starts looking. The first list is waited for, so that a router that starts with a working API server never
    /// uses Service names.
    pub async fn start(self, hub: &str) -> watch::Receiver<Listed> {
        match self {
            Self::LlmCategories(listed) => listed,
            Self::None => watch::channel(None).1,
            Self::Cluster { client, namespace } => {
                let (sender, mut listed) = watch::channel(None);
                tokio::spawn(follow(client, namespace, hub.to_owned(), sender));
                if tokio::time::timeout(FIRST_LIST, listed.changed()).await.is_err() {
                    tracing::warn!("no list of pods yet; they are reached by Service name");
                }
                listed
            }
        }
    }
}

/// The pods of the live revisions. Counters of requests under way are taken over from `before`.
pub fn of_live(
    dataplane: &Dataplane,
    listed: &Listed,
    address: &Names,
    before: &Pods<Upstream>,
) -> Pods<Upstream> {
    let endpoints = |revision: &Revision| {
        let service = address.service(revision);
        match listed {
            None => Endpoints::Service(Upstream::new(
                service.clone(),
                address.authority(&service),
                true,
            )),
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
        let known = before.get(revision).map(each).unwrap_or_default();
        for pod in each_mut(endpoints) {
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

fn each(endpoints: &Endpoints<Upstream>) -> &[Upstream] {
    match endpoints {
        Endpoints::Pods(pods) => pods,
        Endpoints::Service(service) => std::slice::from_ref(service),
    }
}

fn each_mut(endpoints: &mut Endpoints<Upstream>) -> &mut [Upstream] {
    match endpoints {
        Endpoints::Pods(pods) => pods,
        Endpoints::Service(service) => std::slice::from_mut(service),
    }
}

/// Names of a hub's Services.
#[derive(Debug, Clone)]
pub struct Names {
    /// Name of the hub.
    pub hub: String,
    /// Its namespace.
    pub namespace: String,
}

impl Names {
    fn service(&self, revision: &Revision) -> String {
        format!("{}-r-{revision}", self.hub)
    }

    fn authority(&self, service: &str) -> String {
        format!("{service}.{}.svc:{}", self.namespace, paths::PORT)
    }
}

/// EndpointSlices carry the labels of their Service, so one watch sees the Services of all revisions, future ones
/// included.
async fn follow(client: Client, namespace: String, hub: String, sender: watch::Sender<Listed>) {
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
                tracing::warn!(%error, "EndpointSlices cannot be watched; the last list of pods is used")
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
            // Dual-stack Services have a slice for each address family.
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

/// A pod that serves. One that is terminating does as long as it takes connections, whatever its probe says: a pod
/// that drains may well say that it is not ready, and losing its sessions for that is what draining is to prevent.
/// An absent condition `ready` means yes (`discovery/v1`).
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
            "metadata": {"name": format!("{service}-x"), "labels": {"kubernetes.io/service-name": service}},
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

    fn shown(pods: &[Upstream]) -> Vec<String> {
        let word = |pod: &Upstream| if pod.ready { "ready" } else { "keeps" };
        pods.iter().map(|pod| format!("{} {} {}", pod.name, pod.authority, word(pod))).collect()
    }

    #[test]
    fn ready_and_terminating_pods_are_known_and_others_are_not() {
        let endpoints = serde_json::json!([
            endpoint("ready", "10.0.0.1", [true, true, false]),
            endpoint("leaving", "10.0.0.2", [false, true, true]),
            endpoint("starting", "10.0.0.3", [false, false, false]),
            endpoint("draining", "10.0.0.4", [false, false, true]),
            {"addresses": ["fd00::5"], "targetRef": {"kind": "Pod", "name": "silent"}},
        ]);
        let found = by_service([slice("h-r-aaaaaaaa", &endpoints)].iter());
        assert_eq!(
            shown(&found["h-r-aaaaaaaa"]),
            [
                "draining 10.0.0.4:7000 keeps",
                "leaving 10.0.0.2:7000 keeps",
                "ready 10.0.0.1:7000 ready",
                "silent [fd00::5]:7000 ready"
            ]
        );
    }

    #[test]
    fn a_pod_in_two_slices_is_known_once_and_keeps_its_counter_in_later_lists() {
        let one = |ip: &str| serde_json::json!([endpoint("pod", ip, [true, true, false])]);
        let slices =
            [slice("h-r-aaaaaaaa", &one("10.0.0.1")), slice("h-r-aaaaaaaa", &one("fd00::1"))];
        let dataplane: Dataplane = serde_json::from_str(
            r#"{"schema":1,"generation":1,"revisions":{"aaaaaaaa":{"role":"stable","weight":100}}}"#,
        )
        .unwrap();
        let names = Names { hub: "h".into(), namespace: "ns".into() };
        let list = || Some(by_service(slices.iter()));
        let before = of_live(&dataplane, &list(), &names, &Pods::new());
        let pod = &each(&before[&"aaaaaaaa".parse().unwrap()])[0];
        pod.in_flight.fetch_add(3, Ordering::Relaxed);
        let after = of_live(&dataplane, &list(), &names, &before);
        let pods = each(&after[&"aaaaaaaa".parse().unwrap()]);
        assert_eq!((pods.len(), pods[0].in_flight()), (1, 3));
    }

    #[test]
    fn without_an_api_server_pods_are_reached_by_their_service() {
        let dataplane: Dataplane = serde_json::from_str(
            r#"{"schema":1,"generation":1,"revisions":{"aaaaaaaa":{"role":"stable","weight":100}}}"#,
        )
        .unwrap();
        let names = Names { hub: "h".into(), namespace: "ns".into() };
        let pods = of_live(&dataplane, &None, &names, &Pods::new());
        let Endpoints::Service(service) = &pods[&"aaaaaaaa".parse().unwrap()] else {
            panic!("not by service")
        };
        assert_eq!(service.authority, "h-r-aaaaaaaa.ns.svc:7000");
    }
}
