//! Every kind of object as a whole. Each comment says which outage the unusual lines of the object
//! prevent.

use super::cluster::{Cluster, config_map};
use mcphub_operator_plan::api::Object;
use serde_json::Value;

/// A hub that uses every supported field.
const SPEC: &str = "
image: registry.example/own-hub:3
imagePullPolicy: Always
imagePullSecrets: [{name: registry}]
replicas: 3
resources: {limits: {memory: 256Mi}}
podTemplate:
  labels: {team: a}
  annotations: {example.com/owner: a}
  nodeSelector: {disk: ssd}
  tolerations: [{key: spot, operator: Exists}]
  affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: \
  [{matchFields: [{key: metadata.name, operator: In, values: [a]}]}]}}}
  priorityClassName: high
  serviceAccountName: own
router: {replicas: 4, resources: {requests: {cpu: 1}}}
servers:
- name: github
  toolPrefix: gh
  timeout: 5s
  remote:
    url: https://mcp.example.com/mcp
    headers:
    - {name: Authorization, valueFrom: {secretKeyRef: {name: github, key: token}}}
    - {name: X-Team, value: a}
  tools: {allow: ['get_*'], rename: {get_me: me}, timeout: {get_me: 1s}}
- name: off
  disabled: true
  container: {image: 'off:1', command: [off]}
- name: files
  isolation: Shared
  maxProcesses: 5
  container:
    image: files:1
    command: [mcp-files, /data]
    args: [--verbose]
    env: [{name: LEVEL, valueFrom: {configMapKeyRef: {name: settings, key: LEVEL}}}]
    volumes: [{name: data, emptyDir: {}}]
    volumeMounts: [{name: data, mountPath: /data}]
    idleTimeout: 1h30m
    sandbox: {runtimeClassName: gvisor, appArmorProfile: Localhost/mcp, runAsUser: 1000}
- name: web
  container:
    image: web:1
    transport: Http
    port: 3000
    path: /rpc
    strategy: Recreate
    maxExecutionTime: 2m
    resources: {limits: {cpu: 2, memory: 1Gi}}
    volumes: [{name: state, persistentVolumeClaim: {claimName: web}}]
    volumeMounts: [{name: state, mountPath: /home/mcp}]
filtering:
  mode: PromptBased
  static: {tools: ['gh__*']}
  categories: {custom: {'gh__*': version-control}}
  promptBased: {defaultExposure: Minimal, minScore: '0.35', maxTools: 5}
  views: [{name: files, servers: [files], categories: [filesystem], tools: ['files__read_*']}]
  toolBudget: {maxTools: 40}
  selector: {backend: Llm}
  goldenQuestions: [{query: who am I, tools: [gh__me]}]
  llm: {provider: Anthropic, model: small, apiKeySecretRef: {name: llm, key: key}, timeout: 2s, \
  retry: {maxRetries: 1}, cache: {prewarm: false}}
featureFlags: {custom: {compactAnswers: true}}
sessions: {requireId: true, ttl: 10m}
startupTimeout: 5s
limits: {maxRequestBytes: 2Mi, maxConcurrent: 10}
connectionPool: {keepAlive: 30s, maxConnections: 5}
expose: {service: {type: LoadBalancer, port: 80, annotations: {lb.example.com/zone: eu}}}
allowedOrigins: ['https://app.example.com']
rollout: {drainTimeout: 20s}
";

fn cluster() -> Cluster {
    let mut cluster = Cluster::new(SPEC);
    cluster
        .snapshot
        .config_maps
        .insert("settings".into(), Some(config_map("settings", &[("LEVEL", "1")])));
    cluster
}

/// The planned object with this kind and name. A name that ends in `-` is a prefix.
fn planned(kind: &str, name: &str) -> Value {
    let plan = cluster().plan();
    let found = plan.objects.iter().map(|write| &write.object);
    let found = found.filter(|object| object.kind() == kind && named(object.name(), name));
    found.map(Object::to_value).next().expect("a planned object")
}

fn named(name: &str, wanted: &str) -> bool {
    name == wanted || wanted.ends_with('-') && name.starts_with(wanted)
}

macro_rules! snapshot {
    ($value:expr) => {
        insta::with_settings!({sort_maps => true}, { insta::assert_yaml_snapshot!($value) })
    };
}

// Hub pods: without the preStop drain and a grace that covers it, every scale-down cuts sessions.
#[test]
fn revision_deployment() {
    snapshot!(planned("Deployment", "team-r-"));
}

// publishNotReadyAddresses would send new sessions to pods that cannot answer yet.
#[test]
fn revision_service() {
    snapshot!(planned("Service", "team-r-"));
}

// Without AlwaysAllow, a canary that never becomes Ready blocks the drain of its node forever.
#[test]
fn revision_disruption_budget() {
    snapshot!(planned("PodDisruptionBudget", "team-r-"));
}

// If it were not immutable, an edit by hand would change what the next pod of a running revision
// reads.
#[test]
fn revision_config_map() {
    snapshot!(planned("ConfigMap", "team-r-"));
}

// What is missing here is rendered again by the next operator, which restarts pods.
#[test]
fn controller_revision() {
    snapshot!(planned("ControllerRevision", "team-r-"));
}

// A pod that cannot read its weight at start without the API server is down together with it.
#[test]
fn runtime_config_map() {
    snapshot!(planned("ConfigMap", "team-runtime"));
}

// Without an owner it would outlive the hub. With data of ours, every reconcile would delete what
// pods have learned.
#[test]
fn learned_config_map() {
    snapshot!(planned("ConfigMap", "team-learned"));
}

// Routers are replaced one at a time, and only after another one is Ready, because they are in
// front of everything.
#[test]
fn router_deployment() {
    snapshot!(planned("Deployment", "team-router"));
}

#[test]
fn router_disruption_budget() {
    snapshot!(planned("PodDisruptionBudget", "team-router"));
}

// The Service selects the routers. If it selected hub pods, weights would be bypassed.
#[test]
fn hub_service() {
    snapshot!(planned("Service", "team"));
}

// A stdio server gets the bridge, a writable HOME and a writable /tmp, and nothing else, because it
// runs third-party code.
#[test]
fn stdio_server_deployment() {
    snapshot!(planned("Deployment", "team-s-files-"));
}

// With a ReadWriteOnce volume, a second pod would wait for the node of the first one forever.
#[test]
fn http_server_deployment() {
    snapshot!(planned("Deployment", "team-s-web-"));
}

#[test]
fn server_service() {
    snapshot!(planned("Service", "team-s-web-"));
}

// The original can change under a running revision, but the copy cannot.
#[test]
fn server_config_map() {
    snapshot!(planned("ConfigMap", "team-s-files-"));
}

// A list or watch without resourceNames would let a hub pod read every ConfigMap of the namespace.
#[test]
fn hub_access() {
    snapshot!(["ServiceAccount", "Role", "RoleBinding"].map(|kind| planned(kind, "team")));
}

#[test]
fn router_access() {
    snapshot!(["ServiceAccount", "Role", "RoleBinding"].map(|kind| planned(kind, "team-router")));
}

// Its type prevents an apply from overwriting somebody else's Secret with the same name.
#[test]
fn key_secret_without_its_data() {
    let mut secret = planned("Secret", "team-keys");
    let keys = secret["data"].as_object_mut().expect("data");
    assert_eq!(keys.keys().collect::<Vec<_>>(), ["keys.json"]);
    secret["data"] = "…".into();
    snapshot!(secret);
}

#[test]
fn a_disabled_server_has_no_objects() {
    let plan = cluster().plan();
    assert!(plan.objects.iter().all(|write| !write.object.name().starts_with("team-s-off")));
}

// Plans are logged.
#[test]
fn debug_output_of_a_plan_shows_no_key() {
    let cluster = &mut cluster();
    let plan = cluster.plan();
    let secret = planned("Secret", "team-keys");
    let data = secret["data"]["keys.json"].as_str().expect("base64").to_owned();
    let text = format!("{plan:?}");
    assert!(text.contains("Secret(team-keys, …)"));
    assert!(!text.contains(&data));
}

// A ResourceQuota on limits refuses a pod of which one container has none.
#[test]
fn every_container_of_a_server_has_the_resources_that_the_user_gave_the_server() {
    let spec = "
servers:
- name: files
  container:
    image: files:1
    command: [a]
    resources: {requests: {cpu: 10m, memory: 64Mi}, limits: {cpu: '1', memory: 128Mi}}
- name: default
  container: {image: files:1, command: [a]}
";
    let cluster = Cluster::settled(spec);
    let servers = cluster.snapshot.objects.deployments.iter();
    let servers: Vec<_> = servers.filter(|(name, _)| name.starts_with("team-s-")).collect();
    assert_eq!(servers.len(), 2);
    for (name, deployment) in servers {
        let pod = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
        let pod = pod.expect("a pod template");
        let init = pod.init_containers.as_ref().expect("one that installs the bridge");
        assert_eq!((init.len(), pod.containers.len()), (1, 1));
        assert!(init[0].resources.as_ref().is_some_and(|all| all.limits.is_some()), "{name}");
        assert_eq!(init[0].resources, pod.containers[0].resources, "{name}");
    }
}
